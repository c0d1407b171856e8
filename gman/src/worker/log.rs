//! What the worker tells its operator: lines on stderr, where systemd's journal takes them from.
//!
//! A line never has a control character or more than about a kilobyte, whatever a job brings.

use std::fmt::Display;
use std::io::{self, Write};

use crate::terminal;

/// The longest line, in bytes before what says that it was cut.
const LINE_BYTES: usize = 1000;

/// Prints one line to stderr. If nobody can hear it, the worker goes on.
pub(super) fn say(message: impl Display) {
    let message = message.to_string();
    let line = terminal::one_line(&message, LINE_BYTES);
    let _ = writeln!(io::stderr(), "gman worker: {line}");
}

/// Prints a job to stdout, for `--verbose`.
pub(super) fn show(function: &str, workload: &[u8]) {
    let job = format!("{function} {}", String::from_utf8_lossy(workload));
    let _ = writeln!(io::stdout(), "{}", terminal::one_line(&job, LINE_BYTES));
}
