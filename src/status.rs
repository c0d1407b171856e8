//! Counters of what happened since the library was loaded.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::settings::Text;

/// A number that only grows.
pub struct Counter {
    /// The name in SQL.
    pub name: &'static str,
    current: AtomicU64,
}

impl Counter {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            current: AtomicU64::new(0),
        }
    }

    /// The number so far.
    pub fn get(&self) -> u64 {
        self.current.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, amount: u64) {
        self.current.fetch_add(amount, Ordering::Relaxed);
    }

    /// Where the number lies, for the server, which reads it there.
    pub(crate) fn storage(&self) -> *const u64 {
        self.current.as_ptr()
    }
}

/// `gman_jobs_submitted`: jobs that a job server has answered with a handle.
pub static JOBS_SUBMITTED: Counter = Counter::new("gman_jobs_submitted");

/// `gman_jobs_failed`: calls that ended without a handle or without a result.
pub static JOBS_FAILED: Counter = Counter::new("gman_jobs_failed");

/// `gman_retries`: attempts after the first one, on a fresh connection or on the next server.
pub static RETRIES: Counter = Counter::new("gman_retries");

/// `gman_connections_opened`: connections to job servers that came about.
pub static CONNECTIONS_OPENED: Counter = Counter::new("gman_connections_opened");

/// `gman_server_failures`: how often a job server failed and was left alone for a while.
pub static SERVER_FAILURES: Counter = Counter::new("gman_server_failures");

/// `gman_bytes_sent`: bytes written to job servers.
pub static BYTES_SENT: Counter = Counter::new("gman_bytes_sent");

/// `gman_last_error`: the message of the last delivery that failed.
pub static LAST_ERROR: Text = Text::new(
    "gman_last_error",
    "The message of the last delivery that failed",
);

/// Every counter, in the order they are shown in.
pub static ALL: [&Counter; 6] = [
    &JOBS_SUBMITTED,
    &JOBS_FAILED,
    &RETRIES,
    &CONNECTIONS_OPENED,
    &SERVER_FAILURES,
    &BYTES_SENT,
];
