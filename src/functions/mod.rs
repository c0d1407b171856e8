//! The SQL surface: one file per family of functions.

mod client;
mod failure;
pub(crate) mod flush;
mod job_args;
mod json;
mod relay;
pub(crate) mod servers;
mod submit;
mod sum;
#[cfg(feature = "test-switches")]
mod switches;
pub(crate) mod transaction;
