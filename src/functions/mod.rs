//! The SQL surface: one file per family of functions.

mod client;
mod failure;
mod flush;
mod job_args;
mod json;
mod log_throttle;
mod relay;
pub(crate) mod servers;
pub(crate) mod shutdown;
mod submit;
mod sum;
#[cfg(feature = "test-switches")]
mod switches;
pub(crate) mod tls;
pub(crate) mod transaction;
