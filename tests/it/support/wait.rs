//! Waiting for something that another process does.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

/// How long between two looks.
pub(super) const PAUSE: Duration = Duration::from_millis(5);

/// Calls `probe` until it returns `Ok`, and returns that value.
///
/// # Panics
///
/// When `within` has passed; shows the last value that `probe` answered as `Err`.
#[track_caller]
pub(crate) fn wait_until<T, Seen: Debug>(
    within: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<T, Seen>,
) -> T {
    let started = Instant::now();
    loop {
        let seen = match probe() {
            Ok(value) => return value,
            Err(seen) => seen,
        };
        assert!(
            started.elapsed() < within,
            "waited {within:?} for {what}; last seen: {seen:?}"
        );
        thread::sleep(PAUSE);
    }
}
