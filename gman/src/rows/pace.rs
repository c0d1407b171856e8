//! How many rows to take at once: as many as keep their locks for a bounded time, and no more a second
//! than was asked for.

use std::thread;
use std::time::{Duration, Instant};

/// How long the rows of one part may be locked.
const MOST: Duration = Duration::from_millis(50);

/// What is aimed at: the next part may take longer than the last one.
const AIM: Duration = Duration::from_millis(35);

/// How many rows the first part has.
const FIRST: u64 = 100;

/// With a rate, how often a second rows are taken at least.
const PARTS_A_SECOND: f64 = 20.0;

/// The pace of one run.
#[derive(Debug)]
pub(crate) struct Pace {
    rows: u64,
    most: u64,
    rate: Option<f64>,
    /// When the next part may begin.
    next: Instant,
}

impl Pace {
    /// Takes `most` rows at once at most, and `rate` of them a second.
    pub(crate) fn new(most: u64, rate: Option<u64>) -> Self {
        let rate = rate.map(|rate| rate as f64);
        let by_rate = rate.map_or(most, |rate| (rate / PARTS_A_SECOND) as u64);
        let most = most.min(by_rate).max(1);
        Self {
            rows: FIRST.min(most),
            most,
            rate,
            next: Instant::now(),
        }
    }

    /// How many rows to take next.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Waits until more rows may be taken.
    pub(crate) fn wait(&self) {
        thread::sleep(self.next.saturating_duration_since(Instant::now()));
    }

    /// So many rows were locked for so long.
    pub(crate) fn took(&mut self, rows: u64, time: Duration) {
        let share = AIM.as_secs_f64() / time.as_secs_f64().max(1e-6);
        let aim = (self.rows as f64 * share) as u64;
        let slowest = if time > MOST { 1 } else { self.rows / 2 };
        self.rows = aim.clamp(slowest.max(1), self.rows * 2).min(self.most);
        if let Some(rate) = self.rate {
            // What was missed is not made up for: writers would feel it.
            let since = self.next.max(Instant::now() - Duration::from_secs(1));
            self.next = since + Duration::from_secs_f64(rows as f64 / rate);
        }
    }

    /// The part could not be taken: fewer rows the next time.
    pub(crate) fn failed(&mut self) {
        self.rows = (self.rows / 4).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_part_grows_until_it_takes_what_is_aimed_at() {
        let mut pace = Pace::new(10_000, None);
        for _ in 0..20 {
            let rows = pace.rows();
            pace.took(rows, MS * rows as u32 / 100);
        }
        assert_eq!(pace.rows(), 3_500);
        for _ in 0..20 {
            pace.took(pace.rows(), MS / 10);
        }
        assert_eq!(pace.rows(), 10_000);
    }

    #[test]
    fn a_part_that_took_too_long_is_followed_by_a_small_one() {
        let mut pace = Pace::new(1_000, None);
        pace.took(100, MS * 3_500);
        assert_eq!(pace.rows(), 1);
        pace.failed();
        assert_eq!(pace.rows(), 1);
    }

    #[test]
    fn a_rate_makes_parts_small_and_pauses_between_them() {
        let mut pace = Pace::new(10_000, Some(1_000));
        for _ in 0..5 {
            pace.took(pace.rows(), MS);
        }
        assert_eq!(pace.rows(), 50);
        let began = Instant::now();
        pace.took(50, MS);
        pace.wait();
        assert!(began.elapsed() >= MS * 40, "{:?}", began.elapsed());
        assert_eq!(Pace::new(10_000, Some(1)).rows(), 1);
    }
}
