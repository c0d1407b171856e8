//! Whether the process has been asked to stop, and how long stopping may take.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Shared by all threads.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    /// When the time for a clean stop is over; `None` while nobody has asked.
    deadline: Mutex<Option<Instant>>,
    asked: Condvar,
}

impl Stop {
    /// Asks to stop within `patience`; asking again ends it at once.
    pub(crate) fn request(&self, patience: Duration) {
        let mut deadline = self.lock();
        let now = Instant::now();
        *deadline = Some(deadline.map_or(now + patience, |_| now));
        self.asked.notify_all();
    }

    /// Whether somebody has asked: no new jobs then.
    pub(crate) fn requested(&self) -> bool {
        self.lock().is_some()
    }

    /// Whether the time for finishing what is held is over.
    pub(crate) fn expired(&self) -> bool {
        self.lock()
            .is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Pauses; for less when somebody asks to stop.
    pub(crate) fn pause_unless_requested(&self, pause: Duration) {
        let _ = self
            .asked
            .wait_timeout_while(self.lock(), pause, |deadline| deadline.is_none());
    }

    /// Pauses; for less when the time to stop runs out.
    pub(crate) fn pause_unless_expired(&self, pause: Duration) {
        let end = Instant::now() + pause;
        let mut deadline = self.lock();
        loop {
            let until = deadline.map_or(end, |deadline| deadline.min(end));
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.asked.wait_timeout(deadline, left);
            deadline = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
