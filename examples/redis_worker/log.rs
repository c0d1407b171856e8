//! What the worker tells its operator: lines on stderr, where systemd's journal takes them from.

use std::env;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::sync::LazyLock;

/// The longest part of a workload that is printed, in bytes.
const EXCERPT_BYTES: usize = 1000;

/// The name that the program was started under.
static PROGRAM: LazyLock<String> = LazyLock::new(|| {
    let path = env::args_os().next().unwrap_or_default();
    let name = Path::new(&path).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
});

/// Prints one line. Where nobody can hear it the worker goes on.
pub(crate) fn say(message: impl Display) {
    let _ = writeln!(io::stderr(), "{}: {message}", *PROGRAM);
}

/// The beginning of a workload, as text.
pub(crate) fn excerpt(workload: &[u8]) -> String {
    match workload.get(..EXCERPT_BYTES) {
        Some(beginning) => format!("{}...", String::from_utf8_lossy(beginning)),
        None => String::from_utf8_lossy(workload).into_owned(),
    }
}
