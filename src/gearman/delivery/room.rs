//! Room in windows for jobs that transactions hold back.
//!
//! It is taken before a job is held and kept until a job server has it or the transaction has dropped
//! it, so that a commit needs no room of its own. A transaction may fill a share of its window; what
//! it holds beyond that comes out of one pool for all. So a huge transaction, while it lasts and while
//! its jobs are delivered, leaves the window to the others.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::gearman::wire::deadline::{Deadline, Spent};

/// The part of a window that one transaction may fill: one in so many.
const SHARE: usize = 4;

/// What one transaction has taken of one window.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// Bytes of the window.
    pub(crate) counted: usize,
    /// Bytes of the pool.
    pub(crate) pooled: Pooled,
    /// Segments that the window can take over.
    pub(crate) segments: usize,
    /// How many routes had left the window when the transaction took its first segments.
    pub(crate) departures: u64,
}

impl Room {
    pub(crate) fn bytes(&self) -> usize {
        self.counted + self.pooled.bytes()
    }

    /// How many bytes it may still take of a window of `window_bytes`.
    pub(crate) fn share_left(&self, window_bytes: usize) -> usize {
        (window_bytes / SHARE).saturating_sub(self.counted)
    }
}

/// Bytes of the pool that one transaction has taken, or its jobs. The pool has them again once this is
/// dropped.
#[derive(Debug, Default)]
pub(crate) struct Pooled(usize);

impl Pooled {
    /// Takes `bytes` more; as [`CommonRoom::take`].
    pub(crate) fn take(
        &mut self,
        bytes: usize,
        size: usize,
        deadline: &Deadline<'_>,
    ) -> Result<(), Spent> {
        COMMON.take(bytes, size, deadline)?;
        self.0 += bytes;
        Ok(())
    }

    /// How many bytes all have that there are.
    pub(crate) fn taken_by_all() -> usize {
        *COMMON.lock()
    }

    /// How many there are.
    pub(crate) fn bytes(&self) -> usize {
        self.0
    }

    /// Gives all but `bytes` of them back.
    pub(crate) fn keep(&mut self, bytes: usize) {
        let kept = self.0.min(bytes);
        COMMON.give_back(self.0 - kept);
        self.0 = kept;
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        COMMON.give_back(self.0);
    }
}

/// Bytes that may be taken by all transactions together beyond their shares.
#[derive(Debug)]
struct CommonRoom {
    taken: Mutex<usize>,
    given_back: Condvar,
}

/// The one pool of the process.
static COMMON: CommonRoom = CommonRoom::new();

impl CommonRoom {
    const fn new() -> Self {
        Self {
            taken: Mutex::new(0),
            given_back: Condvar::new(),
        }
    }

    /// Takes `bytes` of `size`; waits for others to give theirs back. More than the whole pool has is
    /// given to one that asks while nobody else has any.
    fn take(&self, bytes: usize, size: usize, deadline: &Deadline<'_>) -> Result<(), Spent> {
        let mut taken = self.lock();
        while *taken > 0 && *taken + bytes > size {
            let slice = deadline.slice()?;
            taken = self
                .given_back
                .wait_timeout(taken, slice)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *taken += bytes;
        Ok(())
    }

    /// Gives `bytes` back.
    fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            let mut taken = self.lock();
            *taken = taken.saturating_sub(bytes);
            self.given_back.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        // Nothing in here panics half way.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_pool_gives_no_more_than_it_has_to_several() {
        let pool = CommonRoom::new();
        let now = Deadline::after(Duration::ZERO);
        assert_eq!(pool.take(60, 100, &now), Ok(()));
        assert_eq!(pool.take(60, 100, &now), Err(Spent::TimedOut));
        assert_eq!(pool.take(40, 100, &now), Ok(()));
        pool.give_back(60);
        assert_eq!(pool.take(60, 100, &now), Ok(()));
    }

    #[test]
    fn one_that_needs_more_than_the_pool_has_it_alone() {
        let pool = CommonRoom::new();
        let now = Deadline::after(Duration::ZERO);
        assert_eq!(pool.take(200, 100, &now), Ok(()));
        assert_eq!(pool.take(1, 100, &now), Err(Spent::TimedOut));
    }

    #[test]
    fn who_waits_gets_what_another_gives_back() {
        let pool = CommonRoom::new();
        pool.take(100, 100, &Deadline::after(Duration::ZERO))
            .unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let patience = Deadline::after(Duration::from_secs(60));
                pool.take(100, 100, &patience)
            });
            pool.give_back(100);
            assert_eq!(waiting.join().unwrap(), Ok(()));
        });
    }

    #[test]
    fn a_transaction_may_fill_a_quarter_of_the_window() {
        let mut room = Room::default();
        assert_eq!(room.share_left(1000), 250);
        room.counted = 240;
        assert_eq!(room.share_left(1000), 10);
        assert_eq!(room.share_left(100), 0);
    }
}
