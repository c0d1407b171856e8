//! What the relay counts.

use std::sync::atomic::{AtomicU64, Ordering};
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
    /// Rows that were confirmed and deleted.
    pub(super) relayed: Counter,
    /// Rows that were set aside.
    pub(super) dead: Counter,
    /// How often the lease was taken.
    pub(super) terms: Counter,
    started: Instant,
}

impl Default for Statistics {
    fn default() -> Self {
        Self {
            relayed: Counter::default(),
            dead: Counter::default(),
            terms: Counter::default(),
            started: Instant::now(),
        }
    }
}

impl Statistics {
    /// The line for the log.
    pub(super) fn line(&self) -> String {
        let relayed = self.relayed.get();
        let seconds = self.started.elapsed().as_secs_f64();
        format!(
            "statistics: relayed={relayed} dead={} terms={} per_second={:.1} seconds={seconds:.1}",
            self.dead.get(),
            self.terms.get(),
            relayed as f64 / seconds
        )
    }
}
