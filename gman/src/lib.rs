//! `gman`, the command beside the library, as a library of its own: so fuzzers reach what it reads.
//!
//! # Layout
//!
//! - [`command_line`]: the subcommands, each in a file or folder of its own;
//! - [`connections`]: how the servers are named, and reached; [`redis_client`]: Redis, of every kind;
//!   [`sql`]: how names stand in statements;
//! - [`service`]: what the subcommands that run until they are stopped have in common;
//! - [`whole_file`]: files that nobody sees half of; [`threads`]: threads, or an error;
//! - [`terminal`] and [`error`]: what a subcommand prints, and how it ends.

mod command_line;
mod connections;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod health;
mod installation;
mod load;
mod manual;
mod migrate;
mod redis_client;
mod relay;
mod rows;
mod service;
mod sql;
mod status;
mod terminal;
mod threads;
mod triggers;
mod verify;
mod whole_file;
mod worker;

use std::process::ExitCode;

/// Does what the command line says; the exit status of the process.
pub fn run() -> ExitCode {
    match command_line::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::complain(&error);
            error.exit_code()
        }
    }
}
