//! What a process tells its operator: lines on stderr, where systemd's journal takes them from.
//!
//! A line never has a control character or more than about a kilobyte, whatever a job brings.

use std::fmt::Display;
use std::io::{self, Write};

use crate::terminal;

/// The longest line, in bytes before what says that it was cut.
pub(crate) const LINE_BYTES: usize = 1000;

/// Prints one line to stderr, after the name of the subcommand. If nobody can hear it, the process
/// goes on.
pub(crate) fn report(subcommand: &str, message: impl Display) {
    let message = message.to_string();
    let line = terminal::one_line(&message, LINE_BYTES);
    let _ = writeln!(io::stderr(), "gman {subcommand}: {line}");
}
