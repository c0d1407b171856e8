//! How many rows of each slot are unfinished.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::redis_client::SLOTS;

/// A count for each slot.
pub(super) struct Unfinished(Vec<AtomicU32>);

impl Unfinished {
    pub(super) fn new() -> Self {
        Self((0..SLOTS).map(|_| AtomicU32::new(0)).collect())
    }

    /// Counts a row; whether it is the only one.
    pub(super) fn add(&self, slot: u16) -> bool {
        self.0[usize::from(slot)].fetch_add(1, Ordering::AcqRel) == 0
    }

    /// A row is done.
    pub(super) fn remove(&self, slot: u16) {
        self.0[usize::from(slot)].fetch_sub(1, Ordering::AcqRel);
    }
}
