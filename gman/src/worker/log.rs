//! What the worker tells its operator: lines on stderr, where systemd's journal takes them from.

use std::fmt::Display;
use std::io::{self, Write};

/// The longest part of a workload that is printed, in bytes.
const EXCERPT_BYTES: usize = 1000;

/// Prints one line. Where nobody can hear it the worker goes on.
pub(crate) fn say(message: impl Display) {
    let _ = writeln!(io::stderr(), "gman worker: {message}");
}

/// The beginning of a workload, as text.
pub(crate) fn excerpt(workload: &[u8]) -> String {
    match workload.get(..EXCERPT_BYTES) {
        Some(beginning) => format!("{}...", String::from_utf8_lossy(beginning)),
        None => String::from_utf8_lossy(workload).into_owned(),
    }
}
