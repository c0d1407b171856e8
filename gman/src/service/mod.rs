//! What the subcommands that run until they are stopped have in common.

mod backoff;
mod log;
mod stop;

pub(crate) use backoff::Backoff;
pub(crate) use log::{LINE_BYTES, report};
pub(crate) use stop::Stop;
