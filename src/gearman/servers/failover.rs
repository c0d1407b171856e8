//! What follows from a failure: the one place that decides whether a job server is left alone, and
//! where the job goes next. A new kind of error has to decide here.
//!
//! A request may have been carried out although its answer was lost. The job's unique id is the same
//! in every attempt, so a job server that has the job does not queue it twice.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Phase};
use crate::gearman::servers::health::Attempt;
use crate::gearman::servers::job_server::JobServer;
use crate::status;

/// How far a connection had got when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It was left from an earlier call, and had not answered in this one.
    Kept,
    /// It was being opened, or had not answered yet.
    Fresh,
    /// It had answered in this call, and then nothing happened for this long.
    Proven(Duration),
    /// The job server had the job, and the worker's result was waited for.
    Working,
}

/// What to do after a failure.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Try the same server again, on a fresh connection: the failure says nothing against it.
    Again(Error),
    /// Try the next server.
    PassOver(Arc<Error>),
    /// Trying again is of no use.
    GiveUp(Error),
}

/// What a failure says about the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// It is to be left alone for a while.
    Failed,
    /// It is there, but does not want the job.
    Refused,
    /// Nothing.
    Nothing,
}

/// Where the job goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Again,
    PassOver,
    GiveUp,
}

/// The table. `works_for_others`: the server answered somebody else in the meantime.
fn conclude(error: &Error, stage: Stage, works_for_others: bool) -> (Finding, Next) {
    match error {
        Error::Network { phase, source, .. } => match (stage, source.kind()) {
            // Closed while it was idle, or the server was restarted: worth trying at once.
            (Stage::Kept | Stage::Proven(_), _) if error.is_hang_up() => {
                (Finding::Nothing, Next::Again)
            }
            // It takes what its listen queue has room for.
            (_, ErrorKind::TimedOut)
                if matches!(phase, Phase::Connect | Phase::Handshake) && works_for_others =>
            {
                (Finding::Nothing, Next::Again)
            }
            // The worker is slow, or the connection has gone with the job: it must not run twice.
            (Stage::Working, _) => (Finding::Nothing, Next::GiveUp),
            // It has more to do than it can: a rest would fail everybody's jobs.
            (_, ErrorKind::TimedOut) if works_for_others => (Finding::Nothing, Next::PassOver),
            _ => (Finding::Failed, Next::PassOver),
        },
        Error::Tls { .. } | Error::Protocol { .. } => match stage {
            Stage::Working => (Finding::Failed, Next::GiveUp),
            _ => (Finding::Failed, Next::PassOver),
        },
        Error::Refused { .. } => (Finding::Refused, Next::PassOver),
        // Another server may have a connection that is open already.
        Error::Resting { .. } | Error::Busy { .. } | Error::System { .. } => {
            (Finding::Nothing, Next::PassOver)
        }
        Error::Input(_)
        | Error::NoServers
        | Error::Undelivered(_)
        | Error::WindowFull { .. }
        | Error::PoolFull { .. }
        | Error::TransactionFull { .. }
        | Error::Behind { .. }
        | Error::Job { .. }
        | Error::Stopped
        | Error::Panic(_) => (Finding::Nothing, Next::GiveUp),
    }
}

impl JobServer {
    /// Draws the conclusions from a failure. `attempt` is taken if the failure settles it; without
    /// one, a server that rests already is not counted again.
    pub(crate) fn judge<'a>(
        &'a self,
        attempt: &mut Option<Attempt<'a>>,
        stage: Stage,
        error: Error,
    ) -> Verdict {
        let now = Instant::now();
        let works_for_others = attempt
            .as_ref()
            .is_some_and(|attempt| attempt.was_overtaken(now));
        let (finding, next) = conclude(&error, stage, works_for_others);
        let error = Arc::new(error);
        let judged = match finding {
            Finding::Nothing => None,
            Finding::Failed | Finding::Refused => {
                attempt.take().or_else(|| self.health.attempt(now).ok())
            }
        };
        match (finding, judged) {
            (Finding::Failed, Some(attempt)) => self.rest(attempt, stage, &error, now),
            (Finding::Refused, Some(attempt)) => attempt.succeeded(now),
            (Finding::Nothing, _) | (_, None) => {}
        }
        match next {
            Next::PassOver => Verdict::PassOver(error),
            Next::Again => Verdict::Again(alone(error)),
            Next::GiveUp => Verdict::GiveUp(alone(error)),
        }
    }

    fn rest(&self, attempt: Attempt<'_>, stage: Stage, error: &Arc<Error>, now: Instant) {
        let took = match stage {
            Stage::Proven(quiet) => quiet,
            Stage::Kept | Stage::Fresh | Stage::Working => {
                now.saturating_duration_since(attempt.began())
            }
        };
        if attempt.failed(Arc::clone(error), took, now) {
            self.pool.clear();
            self.refresher.ask();
            status::SERVER_FAILURES.add(1);
        }
    }
}

/// The error itself, if nobody else keeps it.
fn alone(error: Arc<Error>) -> Error {
    Arc::try_unwrap(error).unwrap_or_else(|shared| Error::Undelivered(vec![shared]))
}

impl Verdict {
    /// The failure, for a caller that tries nothing again by itself.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Again(error) | Self::GiveUp(error) => error,
            Self::PassOver(error) => Error::Undelivered(vec![error]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn network(phase: Phase, kind: ErrorKind) -> Error {
        Error::Network {
            server: Arc::from("server:1"),
            phase,
            elapsed: Duration::ZERO,
            source: kind.into(),
        }
    }

    const HUNG_UP: ErrorKind = ErrorKind::UnexpectedEof;
    const PROVEN: Stage = Stage::Proven(Duration::ZERO);

    #[test]
    fn a_connection_that_had_worked_may_end_and_is_tried_again_at_once() {
        let error = network(Phase::Receive, HUNG_UP);
        for stage in [Stage::Kept, PROVEN] {
            let verdict = conclude(&error, stage, false);
            assert_eq!(verdict, (Finding::Nothing, Next::Again));
        }
        let verdict = conclude(&error, Stage::Fresh, false);
        assert_eq!(verdict, (Finding::Failed, Next::PassOver));
    }

    #[test]
    fn a_connect_that_times_out_says_nothing_while_others_are_answered() {
        let error = network(Phase::Connect, ErrorKind::TimedOut);
        let verdict = conclude(&error, Stage::Fresh, true);
        assert_eq!(verdict, (Finding::Nothing, Next::Again));
        let verdict = conclude(&error, Stage::Fresh, false);
        assert_eq!(verdict, (Finding::Failed, Next::PassOver));
    }

    #[test]
    fn a_server_that_says_nothing_has_failed_even_if_it_had_answered() {
        let error = network(Phase::Receive, ErrorKind::TimedOut);
        for stage in [Stage::Kept, Stage::Fresh, PROVEN] {
            let verdict = conclude(&error, stage, false);
            assert_eq!(verdict, (Finding::Failed, Next::PassOver));
        }
    }

    #[test]
    fn a_server_that_answers_others_in_the_meantime_is_slow_and_does_not_rest() {
        let error = network(Phase::Receive, ErrorKind::TimedOut);
        for stage in [Stage::Kept, Stage::Fresh, PROVEN] {
            let verdict = conclude(&error, stage, true);
            assert_eq!(verdict, (Finding::Nothing, Next::PassOver));
        }
    }

    #[test]
    fn a_job_that_a_server_has_is_never_submitted_again() {
        for error in [
            network(Phase::Receive, HUNG_UP),
            network(Phase::Receive, ErrorKind::TimedOut),
        ] {
            let verdict = conclude(&error, Stage::Working, true);
            assert_eq!(verdict, (Finding::Nothing, Next::GiveUp));
        }
    }

    #[test]
    fn a_lack_of_the_systems_own_is_no_servers_fault() {
        let error = Error::no("file descriptor", io::Error::from_raw_os_error(24));
        let verdict = conclude(&error, Stage::Fresh, false);
        assert_eq!(verdict, (Finding::Nothing, Next::PassOver));
    }
}
