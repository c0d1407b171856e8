//! Which rows are under way, and which lanes may get more. Does no I/O.
//!
//! A lane is all that belongs to one Gearman function: its rows stay in the order of their ids, and
//! wait for no other function's.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many batches a lane may have: one under way, and one that follows without a pause.
const BATCHES: usize = 2;

/// The name of a Gearman function.
pub(super) type Function = Vec<u8>;

/// Shared by the reader, the lanes and the settler.
#[derive(Debug, Default)]
pub(super) struct Flight {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rows: BTreeSet<u64>,
    lanes: HashMap<Function, LaneState>,
    /// Rows that came back since the reader asked last.
    given_back: BTreeSet<u64>,
    /// Bytes of the rows that are too large to be read with others.
    large_bytes: u64,
}

/// What is known of a lane.
#[derive(Debug, Clone, Copy)]
struct LaneState {
    batches: usize,
    /// Grows when rows are given back: a batch from before must not overtake them.
    generation: u64,
    /// Whether the last batch failed: the next one is one row, until something goes through.
    is_failing: bool,
}

/// What the reader has to know before it searches.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) rows: BTreeSet<u64>,
    /// Lanes that take no more.
    pub(super) full: BTreeSet<Function>,
    generations: HashMap<Function, u64>,
    failing: BTreeSet<Function>,
    busy: BTreeSet<Function>,
    pub(super) has_large: bool,
    pub(super) given_back: Option<u64>,
}

impl Snapshot {
    pub(super) fn generation(&self, function: &[u8]) -> u64 {
        self.generations.get(function).copied().unwrap_or(0)
    }

    /// Whether the function's lane has nothing to do.
    pub(super) fn is_idle(&self, function: &[u8]) -> bool {
        !self.busy.contains(function)
    }

    /// How many rows a batch of the function may have.
    pub(super) fn span(&self, function: &[u8], most: usize) -> usize {
        if self.failing.contains(function) {
            1
        } else {
            most
        }
    }
}

impl Flight {
    /// What is under way now. Takes what was given back as known.
    pub(super) fn snapshot(&self) -> Snapshot {
        let mut state = self.lock();
        let given_back = std::mem::take(&mut state.given_back);
        let mut snapshot = Snapshot {
            rows: state.rows.clone(),
            has_large: state.large_bytes > 0,
            given_back: given_back.first().copied(),
            ..Snapshot::default()
        };
        for (function, lane) in &state.lanes {
            snapshot
                .generations
                .insert(function.clone(), lane.generation);
            if lane.batches > 0 {
                snapshot.busy.insert(function.clone());
            }
            if lane.is_failing {
                snapshot.failing.insert(function.clone());
            }
            if lane.batches >= BATCHES || (lane.is_failing && lane.batches > 0) {
                snapshot.full.insert(function.clone());
            }
        }
        snapshot
    }

    /// A batch is handed to a lane.
    pub(super) fn depart(&self, function: &[u8], rows: impl Iterator<Item = u64>, large: u64) {
        let mut state = self.lock();
        state.rows.extend(rows);
        state.large_bytes += large;
        let lane = state.lanes.entry(function.to_vec()).or_insert(LaneState {
            batches: 0,
            generation: 0,
            is_failing: false,
        });
        lane.batches += 1;
    }

    /// Whether nothing was given back since the batch was read.
    pub(super) fn is_current(&self, function: &[u8], generation: u64) -> bool {
        let state = self.lock();
        state
            .lanes
            .get(function)
            .is_none_or(|lane| lane.generation == generation)
    }

    /// A lane is done with a batch; what it gives back is submitted again, before all that is behind.
    pub(super) fn arrive(&self, function: &[u8], given_back: &[u64], large: u64, has_failed: bool) {
        let mut state = self.lock();
        for row in given_back {
            state.rows.remove(row);
        }
        state.given_back.extend(given_back);
        state.large_bytes -= large;
        if let Some(lane) = state.lanes.get_mut(function) {
            lane.batches -= 1;
            lane.is_failing = has_failed;
            lane.generation += u64::from(!given_back.is_empty());
        }
        self.changed.notify_all();
    }

    /// The rows are deleted.
    pub(super) fn settled(&self, rows: &[u64]) {
        let mut state = self.lock();
        for row in rows {
            state.rows.remove(row);
        }
        self.changed.notify_all();
    }

    /// Waits until something changes.
    pub(super) fn pause(&self, pause: Duration) {
        // A wait that ends early is an early look.
        let _ = self.changed.wait_timeout(self.lock(), pause);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().rows.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depart(flight: &Flight, function: &str, rows: &[u64]) {
        flight.depart(function.as_bytes(), rows.iter().copied(), 0);
    }

    fn functions(names: &[&str]) -> BTreeSet<Function> {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_lane_takes_one_batch_besides_the_one_under_way() {
        let flight = Flight::default();
        depart(&flight, "f", &[1, 2]);
        let one = flight.snapshot();
        assert_eq!(one.full, functions(&[]));
        assert!(!one.is_idle(b"f") && one.is_idle(b"g"));
        depart(&flight, "f", &[3]);
        assert_eq!(flight.snapshot().full, functions(&["f"]));
        flight.arrive(b"f", &[], 0, false);
        assert_eq!(flight.snapshot().full, functions(&[]));
        flight.arrive(b"f", &[], 0, false);
        assert!(flight.snapshot().is_idle(b"f"));
    }

    #[test]
    fn rows_are_under_way_until_they_are_deleted_or_given_back() {
        let flight = Flight::default();
        assert!(flight.is_empty());
        depart(&flight, "f", &[1, 2, 3]);
        flight.arrive(b"f", &[3], 0, true);
        assert_eq!(flight.snapshot().rows, [1, 2].into());
        flight.settled(&[2]);
        assert_eq!(flight.snapshot().rows, [1].into());
        assert!(!flight.is_empty());
        flight.settled(&[1]);
        assert!(flight.is_empty());
    }

    #[test]
    fn rows_that_come_back_are_told_once_and_overtaken_by_no_batch_from_before() {
        let flight = Flight::default();
        depart(&flight, "f", &[1, 2, 3]);
        let before = flight.snapshot();
        depart(&flight, "f", &[4]);
        assert!(flight.is_current(b"f", before.generation(b"f")));
        flight.arrive(b"f", &[3, 2], 0, true);
        assert!(!flight.is_current(b"f", before.generation(b"f")));
        assert!(flight.is_current(b"g", 0));
        let after = flight.snapshot();
        assert_eq!(after.given_back, Some(2));
        assert!(flight.is_current(b"f", after.generation(b"f")));
        assert_eq!(flight.snapshot().given_back, None);
        // Whatever arrives whole leaves others as they are.
        flight.arrive(b"f", &[], 0, false);
        assert!(flight.is_current(b"f", after.generation(b"f")));
    }

    #[test]
    fn a_lane_that_fails_takes_one_row_until_something_goes_through() {
        let flight = Flight::default();
        depart(&flight, "f", &[1, 2]);
        flight.arrive(b"f", &[1, 2], 0, true);
        let failing = flight.snapshot();
        assert_eq!((failing.span(b"f", 10), failing.span(b"g", 10)), (1, 10));
        assert_eq!(failing.full, functions(&[]));
        depart(&flight, "f", &[1]);
        assert_eq!(flight.snapshot().full, functions(&["f"]));
        flight.arrive(b"f", &[], 0, false);
        assert_eq!(flight.snapshot().span(b"f", 10), 10);
    }

    #[test]
    fn large_rows_count_until_their_batches_are_over() {
        let flight = Flight::default();
        assert!(!flight.snapshot().has_large);
        flight.depart(b"f", [1].into_iter(), 20_000);
        flight.depart(b"g", [2].into_iter(), 30_000);
        flight.arrive(b"f", &[], 20_000, false);
        assert!(flight.snapshot().has_large);
        flight.arrive(b"g", &[], 30_000, false);
        assert!(!flight.snapshot().has_large);
    }
}
