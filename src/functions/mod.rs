//! The SQL surface: one file per family of functions.

pub(crate) mod allowed;
pub(crate) mod callers;
mod check;
mod client;
pub(crate) mod commit_wait;
mod failure;
mod flush;
mod job_args;
mod json;
mod log_throttle;
mod outboxes;
mod relay;
pub(crate) mod servers_set;
pub(crate) mod shutdown;
mod submit;
mod sum;
#[cfg(feature = "test-switches")]
mod test_switches;
mod text_value;
pub(crate) mod tls;
pub(crate) mod transaction;
mod wake;
