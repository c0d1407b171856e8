//! The middle of several measurements, which a single slow or fast one does not move.

use std::time::Duration;

/// The median of `times`; nothing of none.
pub(crate) fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
