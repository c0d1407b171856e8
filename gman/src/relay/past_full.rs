//! When to look for rows behind those of a lane that takes no more. Does no I/O.
//!
//! Such a search steps over every row that waits for the lane, which may be millions, and finds the few
//! of other functions, or none.

use std::time::{Duration, Instant};

/// A search that found all that there was takes a sixth of the time at most.
const PAUSE: u32 = 5;

#[derive(Debug)]
pub(super) struct PastFull {
    again: Instant,
}

impl PastFull {
    pub(super) fn new(now: Instant) -> Self {
        Self { again: now }
    }

    pub(super) fn may_look(&self, now: Instant) -> bool {
        now >= self.again
    }

    /// Such a search took so long. If it `found_all`, it came to the end of the table.
    pub(super) fn looked(&mut self, took: Duration, found_all: bool, now: Instant) {
        if found_all {
            self.again = now + took * PAUSE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_to_the_end_of_the_table_is_not_repeated_at_once() {
        let now = Instant::now();
        let took = Duration::from_millis(10);
        let mut past_full = PastFull::new(now);
        assert!(past_full.may_look(now));
        past_full.looked(took, false, now);
        assert!(past_full.may_look(now));
        past_full.looked(took, true, now);
        assert!(!past_full.may_look(now + 4 * took));
        assert!(past_full.may_look(now + 5 * took));
    }
}
