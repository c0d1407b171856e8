//! How often something happens in a second.

use std::time::Duration;

/// How many tenths of a second have a second.
const TENTHS: usize = 10;

/// Counts by tenths of a second.
#[derive(Debug, Default)]
pub(crate) struct Rate(Vec<u64>);

impl Rate {
    pub(crate) fn count(&mut self, at: Duration, events: u64) {
        let tenth = usize::try_from(at.as_millis() / 100).unwrap_or(usize::MAX);
        if self.0.len() <= tenth {
            self.0.resize(tenth + 1, 0);
        }
        self.0[tenth] += events;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        for (sum, events) in self.0.iter_mut().zip(&other.0) {
            *sum += events;
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The events of the busiest second.
    pub(crate) fn peak(&self) -> u64 {
        let seconds = self.0.windows(TENTHS.min(self.0.len()).max(1));
        seconds.map(|tenths| tenths.iter().sum()).max().unwrap_or(0)
    }
}
