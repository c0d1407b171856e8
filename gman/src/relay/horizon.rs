//! Below which id no row can appear any more, so that a poll need not search there. Does no I/O.
//!
//! InnoDB keeps deleted rows for as long as some transaction could see them, and a search from the
//! first id steps over all of them. But a transaction that commits late has lower ids than others
//! that were submitted long ago, and a change of the same row may already wait behind it: a search
//! that begins between the two would find the newer one alone.
//!
//! Rows that are written and not committed are seen by a dirty read. What no read sees is an id that a
//! session has taken and not yet written, which takes microseconds; therefore an id is passed only
//! [`SETTLING`] after a higher one was seen.

use std::time::{Duration, Instant};

/// How old an id must be.
const SETTLING: Duration = Duration::from_secs(5);

/// How often all ids are searched, in case a row did appear below the horizon.
const LOOK: Duration = Duration::from_secs(10);

/// Searching all ids takes a hundredth of the time at most.
const LOOK_SHARE: u32 = 100;

#[derive(Debug)]
pub(super) struct Horizon {
    /// A cluster commits transactions of other nodes, which no dirty read shows here: all ids are
    /// searched, always.
    is_fixed: bool,
    at: u64,
    /// One more than the highest id that had been seen at that time.
    candidate: Option<(u64, Instant)>,
    look_at: Instant,
}

impl Horizon {
    pub(super) fn new(is_cluster: bool, now: Instant) -> Self {
        Self {
            is_fixed: is_cluster,
            at: 0,
            candidate: None,
            look_at: now + LOOK,
        }
    }

    /// Where the next search begins.
    pub(super) fn search_from(&self, now: Instant) -> u64 {
        if now >= self.look_at { 0 } else { self.at }
    }

    /// Whether new rows with this id are not looked for any more.
    pub(super) fn has_passed(&self, id: u64) -> bool {
        id < self.at
    }

    /// A search from `from` took so long, and found these ids, in their order: all that are there up to the
    /// last one, which are under way now.
    pub(super) fn searched(&mut self, from: u64, took: Duration, found: &[u64], now: Instant) {
        if from < self.at {
            self.look_at = now + LOOK.max(took * LOOK_SHARE);
        }
        let Some((&first, &last)) = found.first().zip(found.last()) else {
            return;
        };
        self.at = self.at.min(first);
        if self.is_fixed {
            return;
        }
        // Without a gap there is nobody who could come late.
        if first == self.at && last - first == found.len() as u64 - 1 {
            self.at = last + 1;
        }
        self.candidate.get_or_insert((last + 1, now));
    }

    /// A row is to be submitted again, or has come late.
    pub(super) fn given_back(&mut self, id: u64) {
        self.at = self.at.min(id);
        self.candidate = None;
    }

    /// The id from which on a dirty read is to search now.
    pub(super) fn wants_dirty_read(&self, now: Instant) -> Option<u64> {
        let (top, since) = self.candidate?;
        (top > self.at && now.duration_since(since) >= SETTLING).then_some(self.at)
    }

    /// The lowest id that the dirty read has found.
    pub(super) fn dirty_read(&mut self, lowest: Option<u64>) {
        if let Some((top, _)) = self.candidate.take() {
            self.at = self.at.max(lowest.map_or(top, |lowest| lowest.min(top)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn horizon() -> (Horizon, Instant) {
        let now = Instant::now();
        (Horizon::new(false, now), now)
    }

    #[test]
    fn it_passes_ids_without_a_gap_at_once() {
        let (mut horizon, now) = horizon();
        horizon.at = 1;
        horizon.searched(1, Duration::ZERO, &[1, 2, 3], now);
        assert_eq!(horizon.search_from(now), 4);
        horizon.searched(4, Duration::ZERO, &[4, 6], now);
        assert_eq!(horizon.search_from(now), 4);
    }

    #[test]
    fn it_passes_a_gap_once_that_is_old_and_nobody_writes_there() {
        let (mut horizon, now) = horizon();
        horizon.searched(0, Duration::ZERO, &[4, 6], now);
        assert_eq!(horizon.wants_dirty_read(now), None);
        let later = now + SETTLING;
        assert_eq!(horizon.wants_dirty_read(later), Some(0));
        horizon.dirty_read(Some(5));
        assert_eq!(horizon.search_from(later), 5);
        horizon.searched(5, Duration::ZERO, &[8], later);
        horizon.dirty_read(None);
        assert_eq!(horizon.search_from(later), 9);
    }

    #[test]
    fn it_goes_back_for_a_row_that_is_given_back_or_late() {
        let (mut horizon, now) = horizon();
        horizon.at = 10;
        horizon.given_back(7);
        assert_eq!(horizon.search_from(now), 7);
        horizon.searched(0, Duration::ZERO, &[3, 7], now);
        assert_eq!(horizon.search_from(now), 3);
    }

    #[test]
    fn all_ids_are_searched_now_and_then_and_more_seldom_if_that_takes_long() {
        let (mut horizon, now) = horizon();
        horizon.at = 10;
        let due = now + LOOK;
        assert_eq!(horizon.search_from(due), 0);
        horizon.searched(0, Duration::from_secs(1), &[], due);
        assert_eq!(horizon.search_from(due + LOOK), 10);
        assert_eq!(horizon.search_from(due + Duration::from_secs(100)), 0);
    }

    #[test]
    fn in_a_cluster_all_ids_are_searched_always() {
        let now = Instant::now();
        let mut horizon = Horizon::new(true, now);
        horizon.searched(0, Duration::ZERO, &[1, 2, 3], now);
        let later = now + SETTLING;
        assert_eq!(horizon.wants_dirty_read(later), None);
        assert_eq!(horizon.search_from(later), 0);
    }
}
