//! What the worker counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters, all from the start of the process.
#[derive(Debug)]
pub(super) struct Statistics {
    /// Jobs that gearmand gave us.
    pub(super) taken: Counter,
    /// Jobs whose change Redis has, or has a newer one than.
    pub(super) done: Counter,
    /// Of those that are done: how many were older than what Redis has.
    pub(super) left_out: Counter,
    /// Jobs that cannot be done by anybody.
    pub(super) failed: Counter,
    /// Jobs that a job server has been left with, to give them to another worker.
    pub(super) given_back: Counter,
    pub(super) redis_round_trips: Counter,
    /// Connections that took the place of a lost one.
    pub(super) redis_reconnects: Counter,
    pub(super) gearmand_reconnects: Counter,
    started: Instant,
    /// When the line was made the last time, and how many jobs were done then.
    last: Mutex<(Instant, u64)>,
}

impl Default for Statistics {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            taken: Counter::default(),
            done: Counter::default(),
            left_out: Counter::default(),
            failed: Counter::default(),
            given_back: Counter::default(),
            redis_round_trips: Counter::default(),
            redis_reconnects: Counter::default(),
            gearmand_reconnects: Counter::default(),
            started: now,
            last: Mutex::new((now, 0)),
        }
    }
}

impl Statistics {
    /// The line for the log: `name=value`, and behind it the next one.
    ///
    /// `per_second` is since the line before, `per_second_overall` since the start.
    pub(super) fn line(&self) -> String {
        let done = self.done.get();
        let in_flight = self
            .taken
            .get()
            .saturating_sub(done + self.failed.get() + self.given_back.get());
        let running = self.started.elapsed();
        let overall = done as f64 / running.as_secs_f64();
        let lately = self.per_second_lately(done);
        [
            format!("statistics: done={done} failed={}", self.failed.get()),
            format!("left_out={} in_flight={in_flight}", self.left_out.get()),
            format!("given_back={}", self.given_back.get()),
            format!("per_second={lately:.1} per_second_overall={overall:.1}"),
            format!("redis_round_trips={}", self.redis_round_trips.get()),
            format!("redis_reconnects={}", self.redis_reconnects.get()),
            format!("gearmand_reconnects={}", self.gearmand_reconnects.get()),
            format!("seconds={:.1}", running.as_secs_f64()),
        ]
        .join(" ")
    }

    fn per_second_lately(&self, done: u64) -> f64 {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (then, before) = std::mem::replace(&mut *last, (now, done));
        (done - before) as f64 / (now - then).as_secs_f64()
    }
}
