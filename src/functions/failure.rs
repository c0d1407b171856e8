//! What a failure becomes: an SQL error, a warning and a line in the error log, or NULL.
//!
//! What the caller did is always an SQL error. What the network, a job server or a worker
//! did is `gman_on_failure`'s to decide.

use std::sync::Arc;

use crate::error::Error;
use crate::functions::log_throttle;
use crate::gearman::delivery::events::Event;
use crate::host::diagnostics;
use crate::settings::{self, OnFailure};
use crate::status;

/// Who is to blame decides who hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The caller, who made a mistake or stopped waiting, or the library itself: the statement fails.
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
        | Error::Tls { .. }
        | Error::Protocol { .. }
        | Error::Refused { .. }
        | Error::Resting { .. }
        | Error::Busy { .. }
        | Error::Undelivered(_)
        | Error::WindowFull { .. }
        | Error::PoolFull { .. }
        | Error::Behind { .. }
        | Error::Job { .. } => Kind::Delivery,
    }
}

/// Ends a call of `function` that failed: with NULL, or with an error that the statement fails with.
pub(super) fn answer<T>(function: &str, error: Error) -> Result<Option<T>, Error> {
    match kind(&error) {
        Kind::Caller => return Err(error),
        Kind::Delivery => status::JOBS_FAILED.add(1),
    }
    let message = format!("{function}: {error}");
    status::LAST_ERROR.set(&diagnostics::on_one_line(&message));
    match settings::on_failure() {
        OnFailure::Error => return Err(error),
        OnFailure::Null => {}
        OnFailure::Warning => {
            diagnostics::warn(&message);
            log_throttle::log(server_of(&error), &message);
        }
    }
    Ok(None)
}

/// Takes note of a call of `function` that ended well, after `passed_over` had failed.
pub(super) fn note_success(function: &str, passed_over: &[Arc<Error>]) {
    if settings::on_failure() != OnFailure::Null {
        for error in passed_over {
            let message = format!("{function}: {error}; the next job server took the job");
            log_throttle::log(server_of(error), &message);
        }
    }
    log_throttle::report_left_out();
}

/// Takes note of what went wrong while nobody waited.
pub(super) fn note_event(event: Event<'_>) {
    let (message, server) = match event {
        Event::Refused { function, error } => (
            format!("a job for the Gearman function {function} is lost: {error}"),
            server_of(error),
        ),
        Event::SetAside {
            function,
            attempts,
            error,
        } => (
            format!(
                "a job for the Gearman function {function} is lost: its connection failed \
                 {attempts} times in a row although the job server was well: {error}"
            ),
            server_of(error),
        ),
        Event::ServerFailed(error) => (
            format!("{error}; its jobs stay in the window"),
            server_of(error),
        ),
        Event::TlsFilesUnusable(problem) => (problem.to_owned(), ""),
    };
    status::LAST_ERROR.set(&diagnostics::on_one_line(&message));
    log_throttle::log(server, &message);
}

/// Takes note of a commit that returned before a job server had all of its jobs; they stay in the window.
pub(super) fn note_late_jobs(error: &Error) {
    status::COMMIT_WAITS_FAILED.add(1);
    let message =
        format!("gman_commit_wait: COMMIT returned before its jobs were delivered: {error}");
    status::LAST_ERROR.set(&diagnostics::on_one_line(&message));
    if settings::on_failure() != OnFailure::Null {
        log_throttle::log(server_of(error), &message);
    }
}

/// Takes note of why `function` stopped before its last row: nothing is lost, its rows are kept.
pub(super) fn note_kept(function: &str, error: &Error) {
    let message = format!("{function}: {error}");
    status::LAST_ERROR.set(&diagnostics::on_one_line(&message));
    if settings::on_failure() != OnFailure::Null {
        log_throttle::log(server_of(error), &message);
    }
}

/// The server whose line in the error log this is; empty if none was asked.
fn server_of(error: &Error) -> &str {
    match error {
        Error::Network { server, .. }
        | Error::Tls { server, .. }
        | Error::Protocol { server, .. }
        | Error::Refused { server, .. }
        | Error::Resting { server, .. }
        | Error::Busy { server, .. }
        | Error::Job { server, .. } => server,
        Error::Undelivered(causes) => causes.first().map_or("", |cause| server_of(cause)),
        Error::WindowFull { cause, .. }
        | Error::PoolFull { cause, .. }
        | Error::Behind { cause, .. } => cause.as_deref().map_or("", server_of),
        Error::Input(_)
        | Error::TransactionFull { .. }
        | Error::System { .. }
        | Error::NoServers
        | Error::Stopped
        | Error::Panic(_) => "",
    }
}
