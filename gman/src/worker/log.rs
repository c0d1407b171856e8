//! What the worker tells its operator.

use std::fmt::Display;
use std::io::{self, Write};

use crate::service::{LINE_BYTES, report};
use crate::terminal;

/// Prints one line to stderr.
pub(super) fn say(message: impl Display) {
    report("worker", message);
}

/// Prints a job to stdout, for `--verbose`.
pub(super) fn show(function: &str, workload: &[u8]) {
    let job = format!("{function} {}", String::from_utf8_lossy(workload));
    let _ = writeln!(io::stdout(), "{}", terminal::one_line(&job, LINE_BYTES));
}
