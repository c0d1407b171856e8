//! Keeps panics on our side of the boundary.
//!
//! A panic that leaves an `extern "C"` function aborts the database server. Every body that the
//! server can call runs inside [`init`] or [`row`]; a panic becomes an error of the statement.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};

use udf::ProcessError;

use crate::error::Error;
use crate::host::diagnostics;

/// Room for an init message, with its final NUL: `MYSQL_ERRMSG_SIZE` of `mysql_com.h`.
const INIT_MESSAGE_BYTES: usize = 512;

/// Runs the body of a function's `init`; what it refuses is shown by the server as
/// `Can't initialize function '...'; <message>`.
pub(crate) fn init<T>(body: impl FnOnce() -> Result<T, Error>) -> Result<T, String> {
    caught(body).map_err(|error| {
        let mut message = error.to_string();
        message.truncate(message.floor_char_boundary(INIT_MESSAGE_BYTES - 1));
        message
    })
}

/// Runs the body of a function for one row.
///
/// An error is raised into the statement and the row's result is NULL. The `error` flag of the
/// UDF interface stays untouched: once set it silences every later row of the statement.
pub(crate) fn row<T>(
    function: &'static str,
    body: impl FnOnce() -> Result<Option<T>, Error>,
) -> Result<Option<T>, ProcessError> {
    Ok(caught(body).unwrap_or_else(|error| {
        diagnostics::raise(function, &error);
        None
    }))
}

/// Runs `body`, where an error can neither refuse a call nor end a row: the caller keeps it.
/// What it borrowed may be half changed after a panic; the callers' states hold
/// nothing but buffers that the next row clears, so going on with them is sound.
pub(crate) fn caught<T>(body: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    panic::catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|payload| Err(Error::Panic(message_of(payload.as_ref()).to_owned())))
}

fn message_of(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_init_is_a_refusal() {
        let result: Result<(), String> = init(|| panic!("no {}", 7));
        assert_eq!(
            result.unwrap_err(),
            "internal error, please report it with the error log: no 7"
        );
    }

    #[test]
    fn a_panic_in_a_row_is_null() {
        let result = row("f", || -> Result<Option<i64>, Error> { panic!("no") });
        assert_eq!(result.ok(), Some(None));
    }

    #[test]
    fn a_long_refusal_is_cut_between_characters() {
        let long = "é".repeat(400);
        let result: Result<(), String> = init(|| Err(Error::Input(long)));
        let message = result.unwrap_err();
        assert_eq!(message.len(), 510);
        assert!(message.chars().all(|c| c == 'é'));
    }
}
