//! The subcommands.

use clap::{CommandFactory, Parser, Subcommand};

use crate::error::Result;
use crate::{health, installation, load, manual, migrate, relay, status, triggers, verify, worker};

/// Row changes from MySQL and MariaDB into Redis, by triggers and Gearman
#[derive(Debug, Parser)]
#[command(name = "gman", version, propagate_version = true)]
#[command(max_term_width = 100, infer_subcommands = false)]
#[command(after_help = "\
Exit status: 0 if all went well, 1 if something failed, 2 if the command line, an environment
variable or an option file is wrong.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// One variant for each subcommand.
#[derive(Debug, Subcommand)]
enum Command {
    Health(health::Options),
    Install(installation::Install),
    Uninstall(installation::Uninstall),
    Migrate(migrate::Options),
    Relay(relay::Options),
    Triggers(triggers::Options),
    Load(load::Options),
    Verify(verify::Options),
    Status(status::Options),
    Worker(worker::Options),
    Completions(manual::Completions),
    Man(manual::Man),
}

/// Does what the command line says.
pub(crate) fn run() -> Result {
    match Arguments::parse().command {
        Command::Health(options) => health::run(&options),
        Command::Install(options) => installation::install(&options),
        Command::Uninstall(options) => installation::uninstall(&options),
        Command::Migrate(options) => migrate::run(&options),
        Command::Relay(options) => relay::run(&options),
        Command::Triggers(options) => triggers::run(&options),
        Command::Load(options) => load::run(&options),
        Command::Verify(options) => verify::run(&options),
        Command::Status(options) => status::run(&options),
        Command::Worker(options) => worker::run(&options),
        Command::Completions(options) => {
            manual::print_completions(&options, &mut Arguments::command())
        }
        Command::Man(options) => manual::write_pages(&options, Arguments::command()),
    }
}
