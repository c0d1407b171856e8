//! What the processes of the path use, sampled every second, and the rule by which it is flat.

use std::time::{Duration, Instant};

use crate::ledger::{Delivery, Ledger};
use crate::stop::Stop;
use crate::support::Process;

/// How long from one sample to the next.
const INTERVAL: Duration = Duration::from_secs(1);

/// A process that must not grow.
#[derive(Clone, Copy)]
pub(crate) struct Watched<'a> {
    pub(crate) name: &'static str,
    pub(crate) process: &'a Process,
}

/// What a process uses at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) rss_bytes: u64,
    pub(crate) threads: u64,
    pub(crate) sockets: u64,
}

impl Usage {
    pub(crate) fn of(process: &Process) -> Self {
        Self {
            rss_bytes: process.rss_bytes(),
            threads: process.threads() as u64,
            sockets: process.sockets() as u64,
        }
    }
}

/// Everything at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    /// Of each watched process, in their order.
    pub(crate) usage: Vec<Usage>,
    /// Jobs delivered since the beginning, by [`Delivery`].
    pub(crate) delivered: [u64; Delivery::ALL.len()],
    /// Jobs that have been promised and are not delivered yet.
    pub(crate) outstanding: u64,
}

impl Sample {
    fn take(watched: &[Watched<'_>], ledger: &Ledger) -> Self {
        let usage = watched.iter().map(|watched| Usage::of(watched.process));
        Self {
            at: Instant::now(),
            usage: usage.collect(),
            delivered: ledger.delivered(),
            outstanding: ledger.outstanding(),
        }
    }
}

/// Samples until `end`, or until it is time to end for another reason.
pub(crate) fn collect(
    watched: &[Watched<'_>],
    ledger: &Ledger,
    end: Instant,
    stop: &Stop,
    mut watch: impl FnMut(&Sample),
) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut due = Instant::now();
    while due < end && stop.sleep_until(due) {
        let sample = Sample::take(watched, ledger);
        watch(&sample);
        samples.push(sample);
        due += INTERVAL;
    }
    samples
}

/// What must not grow.
pub(crate) struct Rule {
    /// The process's place among those that are watched.
    pub(crate) process: usize,
    pub(crate) process_name: &'static str,
    pub(crate) name: &'static str,
    pub(crate) value: fn(&Usage) -> u64,
    /// By how much the median of the last quarter may be above that of the second one. The first
    /// one is for the server's own caches to fill.
    pub(crate) growth: u64,
    /// What no sample may be above.
    pub(crate) limit: Option<u64>,
}

/// What a rule found.
pub(crate) struct Finding {
    pub(crate) second_quarter: u64,
    pub(crate) last_quarter: u64,
    pub(crate) highest: u64,
    pub(crate) is_flat: bool,
}

impl Rule {
    pub(crate) fn apply(&self, samples: &[Sample]) -> Finding {
        let usage = samples.iter().map(|sample| &sample.usage[self.process]);
        let values: Vec<u64> = usage.map(self.value).collect();
        let quarter = values.len() / 4;
        let second_quarter = median(&values[quarter..2 * quarter]);
        let last_quarter = median(&values[values.len() - quarter..]);
        let highest = values.iter().copied().max().unwrap_or(0);
        Finding {
            second_quarter,
            last_quarter,
            highest,
            is_flat: last_quarter <= second_quarter + self.growth
                && self.limit.is_none_or(|limit| highest <= limit),
        }
    }
}

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}
