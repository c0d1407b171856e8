//! Manual pages and completions for shells, made from the definitions of the command line.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::error::{Error, Result};
use crate::terminal;

/// Print completions for a shell: gman completions bash > /etc/bash_completion.d/gman
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

/// Write the manual pages, gman.1, gman-worker.1, ..., to a folder
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Man {
    /// The folder; created if missing
    folder: PathBuf,
}

/// # Errors
///
/// If stdout is closed.
pub(crate) fn print_completions(options: &Completions, command: &mut Command) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, command, "gman", &mut script);
    terminal::print_bytes(&script)
}

/// # Errors
///
/// If the folder cannot be written to.
pub(crate) fn write_pages(options: &Man, command: Command) -> Result {
    let folder = &options.folder;
    fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(command, folder))
        .map_err(|error| {
            let folder = folder.display();
            Error::failed(format!(
                "{folder}: {error}; name a folder that you can write to"
            ))
        })
}
