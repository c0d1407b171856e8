//! Starts threads; that the system has none left is an error like any other, and no panic.

use std::io;
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

use crate::error::{Error, Result};

/// Starts a thread.
///
/// # Errors
///
/// If the system has none left.
pub(crate) fn start<T: Send + 'static>(
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    Builder::new().spawn(body).map_err(none_left)
}

/// Starts a thread that ends within `scope`.
///
/// # Errors
///
/// As [`start`].
pub(crate) fn start_in<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    body: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    let started = Builder::new().spawn_scoped(scope, body);
    started.map_err(none_left)
}

fn none_left(error: io::Error) -> Error {
    Error::failed(format!(
        "the system has no thread left: {error}; raise TasksMax= of the unit, or `ulimit -u`"
    ))
}
