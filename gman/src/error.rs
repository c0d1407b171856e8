//! What ends a subcommand before it is done.

use std::fmt::Display;
use std::process::ExitCode;

/// The result of whatever a subcommand does.
pub(crate) type Result<T = ()> = std::result::Result<T, Error>;

/// One line: what failed, why, and what to do.
#[derive(Debug)]
pub(crate) enum Error {
    /// The command line, an environment variable or an option file is wrong.
    Usage(String),
    /// Something else failed.
    Failed(String),
}

impl Error {
    /// What is wrong and what was expected, such as `--redis: expected rediss://`.
    pub(crate) fn usage(text: impl Display) -> Self {
        Self::Usage(text.to_string())
    }

    /// What failed, and what to do.
    pub(crate) fn failed(text: impl Display) -> Self {
        Self::Failed(text.to_string())
    }

    /// The text for people.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Usage(text) | Self::Failed(text) => text,
        }
    }

    /// 1 or 2; clap ends with 2 as well.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
        }
    }
}
