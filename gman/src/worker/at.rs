//! When a change was made, by the clock of its database.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At(u64);

impl At {
    /// `None` for what is no time.
    pub(super) fn from_milliseconds(milliseconds: f64) -> Option<Self> {
        let microseconds = milliseconds * 1000.0;
        // The largest that every step of the way keeps exactly; it is in the year 2255.
        let is_time = (0.0..=9_007_199_254_740_992.0).contains(&microseconds);
        is_time.then_some(Self(microseconds as u64))
    }

    /// How long ago that was, or how far in the future it is.
    pub(super) fn age(self) -> Result<Duration, Duration> {
        let at = UNIX_EPOCH + Duration::from_micros(self.0);
        let age = SystemTime::now().duration_since(at);
        age.map_err(|error| error.duration())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_milliseconds_and_their_fraction() {
        assert_eq!(At::from_milliseconds(1.5), Some(At(1500)));
        let now = At::from_milliseconds(1_732_999_999_123.456);
        assert_eq!(now, Some(At(1_732_999_999_123_456)));
        for none in [-1.0, f64::NAN, f64::INFINITY, 1e18] {
            assert_eq!(At::from_milliseconds(none), None);
        }
    }
}
