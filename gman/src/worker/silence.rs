//! How long a job server has left a question open. Does no I/O.

use std::time::{Duration, Instant};

/// A job server that has left a question open for this long is gone, whatever the connection says.
const LONGEST: Duration = Duration::from_secs(30);

/// When a question was answered last, or none was open. What comes without being asked for, such as NOOP,
/// ends no silence.
#[derive(Debug)]
pub(super) struct Silence {
    since: Instant,
}

impl Silence {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now }
    }

    /// Notes whether an answer has come just now, and how many questions are open.
    pub(super) fn note(&mut self, answered: bool, open: usize, now: Instant) {
        if answered || open == 0 {
            self.since = now;
        }
    }

    /// Whether it has lasted too long.
    pub(super) fn is_too_long(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) > LONGEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_ends_it_while_a_question_is_open() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut silence = Silence::new(began);
        for second in 0..100 {
            silence.note(false, 0, at(second));
        }
        assert!(!silence.is_too_long(at(100)));
        for second in 100..=130 {
            silence.note(false, 1, at(second));
        }
        assert!(silence.is_too_long(at(130)));
        silence.note(true, 1, at(131));
        assert!(!silence.is_too_long(at(160)));
    }
}
