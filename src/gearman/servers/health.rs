//! A server that failed is left alone for a growing while.
//!
//! The rest begins at [`FIRST_REST`] and doubles with every failure up to [`LONGEST_REST`]; it is
//! never shorter than the failure took, so that at most half of the time goes into waiting for a
//! server that is not there. When it is over one call tries the server; until that call knows, the
//! others still pass the server over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::status::{self, One};

/// How long a server is left alone after its first failure.
pub(crate) const FIRST_REST: Duration = Duration::from_millis(100);

/// How long a server is left alone at most.
pub(crate) const LONGEST_REST: Duration = Duration::from_secs(10);

/// Whether a server is worth trying.
#[derive(Debug, Default)]
pub(crate) struct Health {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Failures since the last success.
    failures: u32,
    /// Counts the changes of mind. Calls that began before the last one report old news.
    generation: u64,
    rest: Option<Rest>,
    /// A call is trying the server after its rest.
    probing: bool,
    /// When the server last did its part.
    last_success: Option<Instant>,
}

#[derive(Debug)]
struct Rest {
    until: Instant,
    _down: One,
    cause: Arc<Error>,
}

/// A server that is left alone: why, and for how much longer.
#[derive(Debug)]
pub(crate) struct Resting {
    pub(crate) cause: Arc<Error>,
    /// Zero while another call finds out whether the server is back.
    pub(crate) left: Duration,
}

/// The right to try a server. Reports how it went; dropped without a report, it was no try.
#[derive(Debug)]
#[must_use]
pub(crate) struct Attempt<'a> {
    health: &'a Health,
    generation: u64,
    began: Instant,
    probe: bool,
}

impl Health {
    /// Asks whether the server may be tried.
    pub(crate) fn attempt(&self, now: Instant) -> Result<Attempt<'_>, Resting> {
        let mut state = self.lock();
        let probe = match &state.rest {
            None => false,
            Some(rest) if now < rest.until || state.probing => {
                return Err(Resting {
                    cause: Arc::clone(&rest.cause),
                    left: rest.until.saturating_duration_since(now),
                });
            }
            Some(_) => true,
        };
        state.probing |= probe;
        Ok(Attempt {
            health: self,
            generation: state.generation,
            began: now,
            probe,
        })
    }

    /// Whether [`Health::attempt`] would say yes.
    pub(crate) fn is_available(&self, now: Instant) -> bool {
        let state = self.lock();
        match &state.rest {
            None => true,
            Some(rest) => now >= rest.until && !state.probing,
        }
    }

    /// For how much longer no call tries the server; zero if it is not resting.
    pub(crate) fn rest_left(&self, now: Instant) -> Duration {
        let state = self.lock();
        let until = state.rest.as_ref().map_or(now, |rest| rest.until);
        until.saturating_duration_since(now)
    }

    /// Forgets every failure.
    pub(crate) fn reset(&self) {
        let mut state = self.lock();
        state.generation += 1;
        state.recover();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn recover(&mut self) {
        self.failures = 0;
        self.rest = None;
        self.probing = false;
    }
}

impl Attempt<'_> {
    /// When it began.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Whether the server has done its part for somebody else in the second half of the attempt's time:
    /// what it did before that does not tell whether it is still there.
    pub(crate) fn was_overtaken(&self, now: Instant) -> bool {
        let half = now.saturating_duration_since(self.began) / 2;
        self.health.lock().last_success > Some(self.began + half)
    }

    /// The server did its part.
    pub(crate) fn succeeded(self, now: Instant) {
        let mut state = self.health.lock();
        state.last_success = Some(now);
        if state.rest.is_some() {
            state.generation += 1;
            state.recover();
        }
    }

    /// The server did not, which took a while to find out; it is left alone from `now` on. Returns
    /// whether that was news: one outage that many calls see at once is one failure.
    pub(crate) fn failed(self, cause: Arc<Error>, took: Duration, now: Instant) -> bool {
        let mut state = self.health.lock();
        if state.generation != self.generation {
            return false;
        }
        state.generation += 1;
        state.failures = state.failures.saturating_add(1);
        let rest = backoff(state.failures).max(took).min(LONGEST_REST);
        state.probing = false;
        state.rest = Some(Rest {
            until: now + rest,
            cause,
            _down: status::SERVERS_DOWN.one(),
        });
        true
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.probe {
            let mut state = self.health.lock();
            if state.generation == self.generation {
                state.probing = false;
            }
        }
    }
}

fn backoff(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST_REST * (1 << doublings)).min(LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn cause(text: &str) -> Arc<Error> {
        Arc::new(Error::Input(text.to_owned()))
    }

    fn fail(health: &Health, now: Instant, took: Duration) {
        health
            .attempt(now)
            .expect("the server may be tried")
            .failed(cause("x"), took, now + took);
    }

    #[test]
    fn the_rest_grows_from_a_tenth_of_a_second_to_ten_seconds() {
        let health = Health::default();
        let mut now = Instant::now();
        for expected in [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            fail(&health, now, Duration::ZERO);
            assert!(!health.is_available(now + (expected - 1) * MS));
            now += expected * MS;
            assert!(health.is_available(now));
        }
    }

    #[test]
    fn the_rest_is_at_least_as_long_as_the_failure_took() {
        let health = Health::default();
        let now = Instant::now();
        fail(&health, now, 250 * MS);
        assert!(!health.is_available(now + 499 * MS));
        assert!(health.is_available(now + 500 * MS));
    }

    #[test]
    fn while_it_rests_the_last_cause_is_told() {
        let health = Health::default();
        let now = Instant::now();
        health
            .attempt(now)
            .unwrap()
            .failed(cause("gone"), Duration::ZERO, now);
        let resting = health.attempt(now + 40 * MS).unwrap_err();
        assert_eq!(resting.cause.to_string(), "gone");
        assert_eq!(resting.left, 60 * MS);
    }

    #[test]
    fn after_the_rest_one_call_probes_at_a_time() {
        let health = Health::default();
        let now = Instant::now();
        fail(&health, now, Duration::ZERO);
        let later = now + 100 * MS;
        let probe = health.attempt(later).unwrap();
        assert!(health.attempt(later).is_err());
        probe.succeeded(later);
        assert!(health.attempt(later).is_ok());
    }

    #[test]
    fn a_probe_that_ends_without_a_report_makes_room_for_another() {
        let health = Health::default();
        let now = Instant::now();
        fail(&health, now, Duration::ZERO);
        let later = now + 100 * MS;
        drop(health.attempt(later).unwrap());
        assert!(health.attempt(later).is_ok());
    }

    #[test]
    fn an_outage_that_many_calls_see_at_once_is_one_failure() {
        let health = Health::default();
        let now = Instant::now();
        let calls: Vec<_> = (0..32).map(|_| health.attempt(now).unwrap()).collect();
        let mut told = false;
        for call in calls {
            let news = call.failed(cause("x"), Duration::ZERO, now);
            assert_eq!(news, !std::mem::replace(&mut told, true));
        }
        assert!(health.is_available(now + 100 * MS));
    }

    #[test]
    fn a_success_ends_the_growth() {
        let health = Health::default();
        let now = Instant::now();
        fail(&health, now, Duration::ZERO);
        fail(&health, now + 100 * MS, Duration::ZERO);
        let now = now + 300 * MS;
        health.attempt(now).unwrap().succeeded(now);
        fail(&health, now, Duration::ZERO);
        assert!(health.is_available(now + 100 * MS));
    }

    #[test]
    fn an_attempt_knows_whether_the_server_worked_for_others_meanwhile() {
        let health = Health::default();
        let now = Instant::now();
        health.attempt(now).unwrap().succeeded(now);
        let slow = health.attempt(now + MS).unwrap();
        assert!(!slow.was_overtaken(now + 2 * MS));
        health.attempt(now + MS).unwrap().succeeded(now + 2 * MS);
        assert!(slow.was_overtaken(now + 2 * MS));
        assert!(!slow.was_overtaken(now + 4 * MS), "it may have died since");
    }

    #[test]
    fn a_reset_makes_the_server_worth_trying_again() {
        let health = Health::default();
        let now = Instant::now();
        fail(&health, now, Duration::ZERO);
        health.reset();
        assert!(health.attempt(now).is_ok());
    }
}
