//! The subcommands.

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser, Subcommand};

use crate::error::Result;
use crate::terminal::printable;
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
    match parse().command {
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

/// Ends the process if the command line is wrong.
fn parse() -> Arguments {
    Arguments::try_parse().unwrap_or_else(|mut error| {
        escape(&mut error);
        error.exit()
    })
}

/// What was typed stands in the message, and may come from an environment file or a script.
fn escape(error: &mut clap::Error) {
    let texts = error.context().filter_map(|(kind, value)| match value {
        ContextValue::String(text) => Some((kind, printable(text).into_owned())),
        _ => None,
    });
    let texts: Vec<(ContextKind, String)> = texts.collect();
    for (kind, text) in texts {
        error.insert(kind, ContextValue::String(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_about_what_was_typed_does_nothing_to_a_terminal() {
        for arguments in [
            &["gman", "\u{1b}[2J"][..],
            &["gman", "status", "--watch=\u{1b}[2J\nall is well"],
            &["gman", "status", "--\u{9b}31m"],
            &["gman", "status", "--gearmand=\u{1b}[2J\nall is well"],
            &["gman", "status", "--worker=\u{1b}[2J\nall is well"],
            &["gman", "load", "a.b", "--rate=\u{1b}[2J"],
            &["gman", "verify", "a.b", "--mode=\u{1b}[2J\nall is well"],
            &["gman", "worker", "--lane=\u{1b}[2J\nall is well"],
            &["gman", "worker", "--metrics=\u{1b}[2J\nall is well"],
        ] {
            let mut error = Arguments::try_parse_from(arguments).expect_err("a refusal");
            escape(&mut error);
            let text = error.to_string();
            let harmful = |letter: char| letter.is_control() && letter != '\n';
            assert!(!text.contains(harmful), "{text:?}");
            assert!(
                !text.lines().any(|line| line.starts_with("all is well")),
                "{text}"
            );
        }
    }
}
