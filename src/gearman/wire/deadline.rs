//! The one bound on a call: made once, asked by every layer for what is left.

use std::fmt;
use std::time::{Duration, Instant};

/// How often a call that can be interrupted looks whether it has been: well below the 100 ms
/// within which `KILL QUERY` ends a waiting call.
const STOP_POLL: Duration = Duration::from_millis(50);

/// A point in time at which a call ends, whatever the network does.
#[derive(Clone, Copy)]
pub struct Deadline<'a> {
    started: Instant,
    ends: Instant,
    /// For a wait that lasts as long as there is progress: how long there may be none, and when it
    /// ends in spite of it.
    patience: Option<(Duration, Instant)>,
    should_stop: Option<&'a dyn Fn() -> bool>,
}

/// Why a call may wait no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    /// The time has run out.
    TimedOut,
    /// The caller's `should_stop` said so.
    Stopped,
}

impl<'a> Deadline<'a> {
    /// A call that begins now and may take `limit`.
    pub fn after(limit: Duration) -> Self {
        let started = Instant::now();
        Self {
            started,
            ends: started + limit,
            patience: None,
            should_stop: None,
        }
    }

    /// The same, ended early once `should_stop` returns true. It is asked again and again while
    /// the call waits, so it should be cheap.
    pub fn unless_stopped(limit: Duration, should_stop: &'a dyn Fn() -> bool) -> Self {
        Self {
            should_stop: Some(should_stop),
            ..Self::after(limit)
        }
    }

    /// A part of the same call that may take `limit`, and no longer than the call itself.
    pub fn within(&self, limit: Duration) -> Self {
        Self {
            ends: self.ends.min(Instant::now() + limit),
            patience: None,
            ..*self
        }
    }

    /// A part of the same call that goes on as long as something happens: it ends after `limit` in
    /// which nothing did, or with the call.
    pub fn while_progressing(&self, limit: Duration) -> Self {
        Self {
            patience: Some((limit, self.ends)),
            ..self.within(limit)
        }
    }

    /// Something has happened.
    pub(crate) fn progressed(&mut self) {
        if let Some((limit, call_ends)) = self.patience {
            self.ends = call_ends.min(Instant::now() + limit);
        }
    }

    /// A part of the same call that may take one of `parts` equal shares of what is left.
    pub fn share(&self, parts: usize) -> Self {
        let parts = u32::try_from(parts.max(1)).unwrap_or(u32::MAX);
        self.within(self.left() / parts)
    }

    /// How long the whole call has taken so far.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What is left; zero once it is spent.
    pub fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// How long to wait before asking again.
    ///
    /// # Errors
    ///
    /// When the time is up or the caller wants to stop.
    pub fn slice(&self) -> Result<Duration, Spent> {
        let left = self.left();
        if left.is_zero() {
            return Err(Spent::TimedOut);
        }
        match self.should_stop {
            None => Ok(left),
            Some(should_stop) if should_stop() => Err(Spent::Stopped),
            Some(_) => Ok(left.min(STOP_POLL)),
        }
    }
}

impl fmt::Debug for Deadline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline")
            .field("elapsed", &self.elapsed())
            .field("left", &self.left())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_deadline_is_an_error_at_once() {
        let deadline = Deadline::after(Duration::ZERO);
        assert_eq!(deadline.slice(), Err(Spent::TimedOut));
    }

    #[test]
    fn a_part_never_outlives_the_call() {
        let call = Deadline::after(Duration::from_secs(1));
        let part = call.within(Duration::from_secs(60));
        assert!(part.left() <= Duration::from_secs(1));
    }

    #[test]
    fn progress_moves_the_end_but_not_beyond_the_call() {
        let call = Deadline::after(Duration::from_secs(60));
        let mut part = call.while_progressing(Duration::from_millis(1));
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(part.slice(), Err(Spent::TimedOut));
        part.progressed();
        assert!(part.slice().is_ok());
        let mut part = call
            .within(Duration::ZERO)
            .while_progressing(Duration::from_secs(1));
        part.progressed();
        assert_eq!(part.slice(), Err(Spent::TimedOut));
    }

    #[test]
    fn a_share_leaves_time_for_the_others() {
        let call = Deadline::after(Duration::from_secs(4));
        let half = call.share(2).left();
        assert!(half > Duration::from_secs(1) && half <= Duration::from_secs(2));
    }

    #[test]
    fn a_call_that_can_be_stopped_looks_often() {
        let deadline = Deadline::unless_stopped(Duration::from_secs(60), &|| false);
        assert!(deadline.slice().is_ok_and(|slice| slice <= STOP_POLL));
    }

    #[test]
    fn a_call_stops_when_it_is_told() {
        let deadline = Deadline::unless_stopped(Duration::from_secs(60), &|| true);
        assert_eq!(deadline.slice(), Err(Spent::Stopped));
    }
}
