//! What the database server uses, sampled every second, and the rule by which it is flat.

use std::time::{Duration, Instant};

use crate::ledger::{Delivery, Ledger};
use crate::stop::Stop;
use crate::support::Database;

/// How long from one sample to the next.
const INTERVAL: Duration = Duration::from_secs(1);

/// The server at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    pub(crate) rss_bytes: u64,
    pub(crate) threads: u64,
    pub(crate) sockets: u64,
    /// Jobs delivered since the beginning, by [`Delivery`].
    pub(crate) delivered: [u64; Delivery::ALL.len()],
    /// Jobs that have been promised and are not delivered yet.
    pub(crate) outstanding: u64,
}

impl Sample {
    pub(crate) fn take(database: &Database, ledger: &Ledger) -> Self {
        Self {
            at: Instant::now(),
            rss_bytes: database.rss_bytes(),
            threads: database.threads() as u64,
            sockets: database.sockets() as u64,
            delivered: ledger.delivered(),
            outstanding: ledger.outstanding(),
        }
    }
}

/// Samples until `end`, or until it is time to end for another reason.
pub(crate) fn collect(
    database: &Database,
    ledger: &Ledger,
    end: Instant,
    stop: &Stop,
    mut watch: impl FnMut(&Sample),
) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut due = Instant::now();
    while due < end && stop.sleep_until(due) {
        let sample = Sample::take(database, ledger);
        watch(&sample);
        samples.push(sample);
        due += INTERVAL;
    }
    samples
}

/// What must not grow.
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    pub(crate) value: fn(&Sample) -> u64,
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
        let values: Vec<u64> = samples.iter().map(self.value).collect();
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
