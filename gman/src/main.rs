//! `gman`: the command beside the library.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Row changes from MySQL and MariaDB into Redis, by triggers and Gearman.
#[derive(Debug, Parser)]
#[command(name = "gman", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// One variant for each subcommand, each in a file or folder of its own.
#[derive(Debug, Subcommand)]
enum Command {}

fn main() -> ExitCode {
    match Arguments::parse().command {}
}
