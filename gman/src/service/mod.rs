//! What the subcommands that run until they are stopped have in common.

mod backoff;
mod log;
mod metrics;
mod process;
mod stop;

pub(crate) use backoff::Backoff;
pub(crate) use log::{LINE_BYTES, report};
pub(crate) use metrics::{Watched, serve_metrics};
pub(crate) use process::{exit_with, exit_with_any_thread, handle_signals};
pub(crate) use stop::Stop;
