//! How a worker is: what it serves at its `--metrics`.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::Serialize;

use super::samples::Samples;
use super::worker_address::WorkerAddress;
use crate::connections::{self, Answer};

/// How long a worker may take for each of two answers: before the second it connects to every node of Redis,
/// which may take as long.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The histogram of how old changes are once Redis has them.
const AGES: &str = "gman_worker_change_age_seconds";

/// A worker, as this machine sees it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Worker {
    pub(super) address: String,
    /// Why its numbers are not known.
    pub(super) error: Option<String>,
    /// What it says is wrong: job servers that are not connected, nodes of Redis that refuse.
    pub(super) troubles: Vec<String>,
    /// Jobs that have ended, by outcome, since it started.
    pub(super) jobs: BTreeMap<String, u64>,
    /// By the second, of outcomes that there were lately.
    pub(super) rates: BTreeMap<String, f64>,
    pub(super) in_flight: u64,
    pub(super) in_flight_bytes: u64,
    /// How old changes are once Redis has them; `None` if no job says when its change was made.
    pub(super) ages: Option<Ages>,
    /// By how much at least the database's clock has been ahead of the worker's.
    pub(super) clock_skew_seconds: f64,
    /// Round trips that failed, by the first word of the error, since it started.
    pub(super) redis_errors: BTreeMap<String, u64>,
    /// The same, lately.
    pub(super) recent_redis_errors: BTreeMap<String, u64>,
    pub(super) redis_reconnects: u64,
    pub(super) gearmand_reconnects: u64,
    #[serde(skip)]
    samples: Samples,
}

/// Below which bounds ages lie, in seconds; `None` beyond the largest one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Ages {
    /// Of half of the changes.
    pub(super) p50_seconds: Option<f64>,
    pub(super) p99_seconds: Option<f64>,
    /// Of the changes since the look before, or since the worker started if there were none.
    pub(super) are_recent: bool,
}

/// Asks the workers; `before` has the looks before, in the same order.
pub(super) fn read(
    addresses: &[WorkerAddress],
    before: &[Worker],
    elapsed: Duration,
) -> Vec<Worker> {
    let nothing = Samples::default();
    let before = before.iter().map(|worker| Some(&worker.samples));
    let before = before.chain(std::iter::repeat(None));
    addresses
        .iter()
        .zip(before)
        .map(|(address, before)| match ask(address) {
            Ok((samples, troubles)) => Worker {
                address: address.to_string(),
                troubles,
                ..Worker::of(samples, before.unwrap_or(&nothing), elapsed)
            },
            Err(error) => Worker {
                address: address.to_string(),
                error: Some(error.to_string()),
                ..Worker::default()
            },
        })
        .collect()
}

/// Its numbers, and what it says is wrong.
fn ask(address: &WorkerAddress) -> io::Result<(Samples, Vec<String>)> {
    let get = |path| connections::get((address.host.as_str(), address.port), path, TIMEOUT);
    let samples = match get("/metrics")? {
        Answer {
            status: Some(200),
            body,
        } => Samples::parse(&body),
        _ => Samples::default(),
    };
    if !samples.has("gman_worker_jobs_in_flight") {
        return Err(io::Error::other("it is no worker of gman"));
    }
    let health = get("/healthz")?;
    let troubles = match health.status {
        Some(503) => health.body.lines().map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    Ok((samples, troubles))
}

impl Worker {
    fn of(samples: Samples, before: &Samples, elapsed: Duration) -> Self {
        let lately = samples.since(before);
        let by_label = |samples: &Samples, name: &str, label: &str| -> BTreeMap<String, u64> {
            let numbers = samples.by_label(name, label).into_iter();
            let numbers = numbers.filter(|(_, number)| *number > 0.0);
            numbers
                .map(|(value, number)| (value.to_owned(), number as u64))
                .collect()
        };
        let (jobs, errors) = ("gman_worker_jobs_total", "gman_worker_redis_errors_total");
        let rates = by_label(&lately, jobs, "outcome").into_iter();
        let rates = rates.map(|(outcome, jobs)| (outcome, jobs as f64 / elapsed.as_secs_f64()));
        let number = |name: &str| samples.get(&format!("gman_worker_{name}")) as u64;
        Self {
            jobs: by_label(&samples, jobs, "outcome"),
            rates: rates.collect(),
            in_flight: number("jobs_in_flight"),
            in_flight_bytes: number("jobs_in_flight_bytes"),
            ages: ages(&lately, true).or_else(|| ages(&samples, false)),
            clock_skew_seconds: samples.get("gman_worker_clock_skew_seconds"),
            redis_errors: by_label(&samples, errors, "error"),
            recent_redis_errors: by_label(&lately, errors, "error"),
            redis_reconnects: number("redis_reconnects_total"),
            gearmand_reconnects: number("gearmand_reconnects_total"),
            samples,
            ..Self::default()
        }
    }
}

fn ages(samples: &Samples, are_recent: bool) -> Option<Ages> {
    let bound = |part| {
        let bound = samples.quantile(AGES, part)?;
        Some(Some(bound).filter(|bound| bound.is_finite()))
    };
    Some(Ages {
        p50_seconds: bound(0.5)?,
        p99_seconds: bound(0.99)?,
        are_recent,
    })
}
