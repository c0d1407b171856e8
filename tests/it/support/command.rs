//! `gman`, run against a database as a user would.

use std::process::{Command, Output};

use super::cargo::gman_program;
use super::database::Database;

/// What a run of `gman` printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) printed: String,
    /// To stderr.
    pub(crate) said: String,
}

/// `gman SUBCOMMAND` with the options that name the database.
pub(crate) fn gman_command(database: &Database, arguments: &[&str]) -> Command {
    let socket = database.socket();
    let server = format!("mysql://root@localhost?socket={}", socket.display());
    let mut command = Command::new(gman_program());
    command
        .args(arguments)
        .args(["--mysql", &server])
        .env_remove("HOME");
    command
}

/// Runs [`gman_command`] to its end.
pub(crate) fn run_gman(database: &Database, arguments: &[&str]) -> Ran {
    let output = gman_command(database, arguments).output();
    ran(output.expect("gman starts"))
}

/// As [`run_gman`], for what has to succeed; returns what was printed.
#[track_caller]
pub(crate) fn gman_succeeds(database: &Database, arguments: &[&str]) -> String {
    let ran = run_gman(database, arguments);
    assert_eq!(ran.status, Some(0), "{arguments:?}: {ran:?}");
    ran.printed
}

pub(crate) fn ran(output: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran {
        status: output.status.code(),
        printed: text(output.stdout),
        said: text(output.stderr),
    }
}
