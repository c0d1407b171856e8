//! A clock that no operator sets, and that goes on while the machine sleeps.

use std::ops::Add;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A point in time: the time since the machine was booted, `CLOCK_BOOTTIME`.
///
/// `Instant` stands still while a machine is suspended. A relay that went by it would take a lease for its
/// own that another machine has taken meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(Duration);

impl Moment {
    pub(super) fn now() -> Self {
        let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME);
        Self(
            since_boot
                .expect("Linux has had this clock since 2.6.39")
                .into(),
        )
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0 + time)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// proc(5): the uptime "including time spent in suspend".
    #[test]
    fn it_counts_what_the_kernel_calls_the_uptime() {
        let uptime = fs::read_to_string("/proc/uptime").expect("proc");
        let seconds = uptime.split(' ').next().expect("a number");
        let uptime = Duration::from_secs_f64(seconds.parse().expect("a number"));
        let Moment(now) = Moment::now();
        assert!(
            now.abs_diff(uptime) < Duration::from_secs(5),
            "{now:?} {uptime:?}"
        );
    }
}
