//! Keeps panics on our side of the boundary.
//!
//! A panic that leaves an `extern "C"` function aborts the database server. Every body that the
//! server can call runs inside [`caught`]; a panic becomes an error like any other.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};

use crate::error::Error;

/// Runs `body`; a panic in it is an error.
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
    fn a_panic_is_an_error() {
        let result: Result<(), Error> = caught(|| panic!("no {}", 7));
        assert_eq!(
            result.unwrap_err().to_string(),
            "internal error, please report it with the error log: no 7"
        );
    }
}
