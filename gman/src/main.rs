//! `gman`: the command beside the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    gman::run()
}
