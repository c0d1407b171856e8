//! What happened since the library was loaded, and how things are now.
//!
//! Numbers are atomics; nothing on the way of a submission takes a lock for them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// A number that only grows.
#[derive(Debug)]
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

/// A number that goes up and down.
#[derive(Debug)]
pub struct Gauge {
    /// The name in SQL.
    pub name: &'static str,
    current: AtomicU64,
}

impl Gauge {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            current: AtomicU64::new(0),
        }
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.current.load(Ordering::Relaxed)
    }

    /// As [`Counter::storage`].
    pub(crate) fn storage(&self) -> *const u64 {
        self.current.as_ptr()
    }

    pub(crate) fn add(&self, amount: u64) {
        self.current.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, amount: u64) {
        self.current.fetch_sub(amount, Ordering::Relaxed);
    }

    /// One more, for as long as the answer lives.
    pub(crate) fn one(&'static self) -> One {
        self.add(1);
        One(self)
    }
}

/// One that a gauge counts.
#[derive(Debug)]
pub(crate) struct One(&'static Gauge);

impl Drop for One {
    fn drop(&mut self) {
        self.0.subtract(1);
    }
}

/// What the server shows of a [`Message`] at most, in bytes with the NUL at the end:
/// `SHOW_VAR_FUNC_BUFF_SIZE` of MySQL, which is half of MariaDB's.
pub(crate) const SHOWN_BYTES: usize = 1024;

/// A message, which the server asks for when it wants to show it.
#[derive(Debug)]
pub struct Message {
    /// The name in SQL.
    pub name: &'static str,
    /// Ends with a NUL.
    current: Mutex<[u8; SHOWN_BYTES]>,
}

impl Message {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            current: Mutex::new([0; SHOWN_BYTES]),
        }
    }

    /// Changes the message; what is beyond [`SHOWN_BYTES`] or a NUL is not shown.
    pub(crate) fn set(&self, message: &str) {
        let length = message.floor_char_boundary(SHOWN_BYTES - 1);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current[..length].copy_from_slice(&message.as_bytes()[..length]);
        current[length] = 0;
    }

    /// The message up to its NUL, and whatever follows.
    pub(crate) fn shown(&self) -> [u8; SHOWN_BYTES] {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `gman_jobs_submitted`: jobs that somebody wanted to submit, whatever became of them.
pub static JOBS_SUBMITTED: Counter = Counter::new("gman_jobs_submitted");

/// `gman_jobs_acknowledged`: jobs that a job server has said it has.
pub static JOBS_ACKNOWLEDGED: Counter = Counter::new("gman_jobs_acknowledged");

/// `gman_jobs_failed`: jobs that no job server took, or whose worker failed.
pub static JOBS_FAILED: Counter = Counter::new("gman_jobs_failed");

/// `gman_jobs_retried`: jobs that were sent again, on a fresh connection or to the next server.
pub static JOBS_RETRIED: Counter = Counter::new("gman_jobs_retried");

/// `gman_connections_opened`: connections to job servers that came about.
pub static CONNECTIONS_OPENED: Counter = Counter::new("gman_connections_opened");

/// `gman_server_failures`: how often a job server failed and was left alone for a while.
pub static SERVER_FAILURES: Counter = Counter::new("gman_server_failures");

/// `gman_bytes_sent`: bytes written to job servers.
pub static BYTES_SENT: Counter = Counter::new("gman_bytes_sent");

/// `gman_transactions_committed`: transactions that committed jobs.
pub static TRANSACTIONS_COMMITTED: Counter = Counter::new("gman_transactions_committed");

/// `gman_transactions_rolled_back`: transactions that dropped their jobs at the end.
pub static TRANSACTIONS_ROLLED_BACK: Counter = Counter::new("gman_transactions_rolled_back");

/// `gman_commit_waits_failed`: commits that returned before a job server had all of their jobs, although
/// `gman_commit_wait` is ON.
pub static COMMIT_WAITS_FAILED: Counter = Counter::new("gman_commit_waits_failed");

/// `gman_jobs_dropped`: jobs whose transaction, statement or savepoint was rolled back.
pub static JOBS_DROPPED: Counter = Counter::new("gman_jobs_dropped");

/// `gman_held_bytes`: what transactions hold back now.
pub static HELD_BYTES: Gauge = Gauge::new("gman_held_bytes");

/// `gman_connections_open`: connections to job servers, idle ones and those of senders included.
pub static CONNECTIONS_OPEN: Gauge = Gauge::new("gman_connections_open");

/// `gman_in_flight`: jobs that pipelined delivery has accepted and no job server has answered yet.
pub static IN_FLIGHT: Gauge = Gauge::new("gman_in_flight");

/// `gman_window_bytes_used`: the bytes that those jobs take, all windows together.
pub static WINDOW_BYTES_USED: Gauge = Gauge::new("gman_window_bytes_used");

/// `gman_servers_down`: job servers that failed when they were tried last.
pub static SERVERS_DOWN: Gauge = Gauge::new("gman_servers_down");

/// `gman_last_error`: the message of the last delivery that failed.
pub static LAST_ERROR: Message = Message::new("gman_last_error");

/// Every counter.
pub static COUNTERS: [&Counter; 11] = [
    &JOBS_SUBMITTED,
    &JOBS_ACKNOWLEDGED,
    &JOBS_FAILED,
    &JOBS_RETRIED,
    &CONNECTIONS_OPENED,
    &SERVER_FAILURES,
    &BYTES_SENT,
    &TRANSACTIONS_COMMITTED,
    &TRANSACTIONS_ROLLED_BACK,
    &COMMIT_WAITS_FAILED,
    &JOBS_DROPPED,
];

/// Every gauge.
pub static GAUGES: [&Gauge; 5] = [
    &CONNECTIONS_OPEN,
    &IN_FLIGHT,
    &WINDOW_BYTES_USED,
    &HELD_BYTES,
    &SERVERS_DOWN,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_between_characters_and_ends_with_a_nul() {
        let message = Message::new("m");
        message.set(&"é".repeat(SHOWN_BYTES));
        assert_eq!(&message.shown()[SHOWN_BYTES - 4..], "é\0\0".as_bytes());
        message.set("short");
        assert_eq!(&message.shown()[..6], b"short\0");
    }
}
