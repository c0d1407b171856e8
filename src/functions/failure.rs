//! What a failure becomes: an SQL error, a warning and a line in the error log, or NULL.
//!
//! What the caller did is always an SQL error. What the network, a job server or a worker
//! did is `gman_on_failure`'s to decide.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::gearman::delivery::pipeline::Trouble;
use crate::host::diagnostics;
use crate::settings::{self, OnFailure};
use crate::status;

/// The error log gets one line per server in this time.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Who is to blame decides who hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The caller, who wants to wait no longer or made a mistake, or we: the statement fails.
    Caller,
    /// The system or somebody beyond the network: the setting decides.
    Delivery,
}

fn kind(error: &Error) -> Kind {
    match error {
        Error::Input(_) | Error::TransactionFull { .. } | Error::Stopped | Error::Panic(_) => {
            Kind::Caller
        }
        Error::System { .. }
        | Error::NoServers
        | Error::Network { .. }
        | Error::Protocol { .. }
        | Error::Refused { .. }
        | Error::Resting { .. }
        | Error::Undelivered(_)
        | Error::WindowFull { .. }
        | Error::Behind { .. }
        | Error::Job { .. } => Kind::Delivery,
    }
}

/// Ends a call of `function` that failed: with NULL, or with an error that the statement fails with.
pub(super) fn settle<T>(function: &str, error: Error) -> Result<Option<T>, Error> {
    match kind(&error) {
        Kind::Caller => return Err(error),
        Kind::Delivery => status::JOBS_FAILED.add(1),
    }
    let message = format!("{function}: {error}");
    status::LAST_ERROR.set(&message);
    match settings::on_failure() {
        OnFailure::Error => return Err(error),
        OnFailure::Null => {}
        OnFailure::Warning => {
            diagnostics::warn(&message);
            log(server_of(&error), &message);
        }
    }
    Ok(None)
}

/// Takes note of a call of `function` that ended well, after `passed_over` had failed.
pub(super) fn note_success(function: &str, passed_over: &[Arc<Error>]) {
    if settings::on_failure() != OnFailure::Null {
        for error in passed_over {
            let message = format!("{function}: {error}; the next job server took the job");
            log(server_of(error), &message);
        }
    }
    if LEFT_OUT.load(Ordering::Relaxed) {
        log_what_was_left_out();
    }
}

/// Takes note of what went wrong while nobody waited.
pub(super) fn note_trouble(trouble: Trouble<'_>) {
    let (message, error) = match trouble {
        Trouble::Refused { function, error } => (
            format!("a job for the Gearman function {function} is lost: {error}"),
            error,
        ),
        Trouble::Server(error) => (format!("{error}; its jobs stay in the window"), error),
    };
    status::LAST_ERROR.set(&message);
    log(server_of(error), &message);
}

/// Takes note of why `function` stopped before its last row: nothing is lost, its rows are kept.
pub(super) fn note_kept(function: &str, error: &Error) {
    let message = format!("{function}: {error}");
    status::LAST_ERROR.set(&message);
    if settings::on_failure() != OnFailure::Null {
        log(server_of(error), &message);
    }
}

/// The server whose line in the error log this is; empty where none was asked.
fn server_of(error: &Error) -> &str {
    match error {
        Error::Network { server, .. }
        | Error::Protocol { server, .. }
        | Error::Refused { server, .. }
        | Error::Resting { server, .. }
        | Error::Job { server, .. } => server,
        Error::Undelivered(causes) => causes.first().map_or("", |cause| server_of(cause)),
        Error::WindowFull { cause, .. } | Error::Behind { cause, .. } => {
            cause.as_deref().map_or("", server_of)
        }
        Error::Input(_)
        | Error::TransactionFull { .. }
        | Error::System { .. }
        | Error::NoServers
        | Error::Stopped
        | Error::Panic(_) => "",
    }
}

static THROTTLE: LazyLock<Mutex<Throttle>> = LazyLock::new(Mutex::default);

/// Whether the throttle has left anything out that no line has counted yet.
static LEFT_OUT: AtomicBool = AtomicBool::new(false);

fn throttle() -> MutexGuard<'static, Throttle> {
    // Nothing in here panics half way.
    THROTTLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn log(server: &str, message: &str) {
    let verdict = throttle().judge(server, Instant::now());
    match verdict {
        None => LEFT_OUT.store(true, Ordering::Relaxed),
        Some(0) => diagnostics::log("Warning", message),
        Some(left_out) => diagnostics::log(
            "Warning",
            &format!("{message} ({left_out} more failures since the line before)"),
        ),
    }
}

#[cold]
fn log_what_was_left_out() {
    let mut throttle = throttle();
    let settled = throttle.settle(Instant::now());
    LEFT_OUT.store(throttle.owes(), Ordering::Relaxed);
    drop(throttle);
    for (server, left_out) in settled {
        let message = format!("{server}: {left_out} more failures since the line before");
        diagnostics::log("Warning", &message);
    }
}

/// Decides which failures get a line.
#[derive(Debug, Default)]
struct Throttle {
    servers: HashMap<String, Lines>,
}

#[derive(Debug)]
struct Lines {
    last: Instant,
    left_out: u64,
}

impl Throttle {
    /// Whether a failure of `server` gets a line now; if so, how many went without since the last.
    fn judge(&mut self, server: &str, now: Instant) -> Option<u64> {
        let Some(lines) = self.servers.get_mut(server) else {
            let first = Lines {
                last: now,
                left_out: 0,
            };
            self.servers.insert(server.to_owned(), first);
            return Some(0);
        };
        if now.duration_since(lines.last) < LOG_EVERY {
            lines.left_out += 1;
            return None;
        }
        lines.last = now;
        Some(std::mem::take(&mut lines.left_out))
    }

    /// What is owed and may be logged now, by server.
    fn settle(&mut self, now: Instant) -> Vec<(String, u64)> {
        let mut settled = Vec::new();
        for (server, lines) in &mut self.servers {
            if lines.left_out > 0 && now.duration_since(lines.last) >= LOG_EVERY {
                lines.last = now;
                settled.push((server.clone(), std::mem::take(&mut lines.left_out)));
            }
        }
        settled
    }

    fn owes(&self) -> bool {
        self.servers.values().any(|lines| lines.left_out > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn one_line_per_server_and_second_with_a_count_of_the_rest() {
        let mut throttle = Throttle::default();
        let now = Instant::now();
        assert_eq!(throttle.judge("a", now), Some(0));
        assert_eq!(throttle.judge("b", now), Some(0));
        for ms in 0..999 {
            assert_eq!(throttle.judge("a", now + ms * MS), None);
        }
        assert_eq!(throttle.judge("a", now + 1000 * MS), Some(999));
        assert_eq!(throttle.judge("a", now + 2000 * MS), Some(0));
    }

    #[test]
    fn what_was_left_out_last_is_still_counted() {
        let mut throttle = Throttle::default();
        let now = Instant::now();
        throttle.judge("a", now);
        throttle.judge("a", now + MS);
        assert!(throttle.settle(now + 999 * MS).is_empty());
        assert!(throttle.owes());
        assert_eq!(throttle.settle(now + 1000 * MS), [("a".to_owned(), 1)]);
        assert!(!throttle.owes());
    }
}
