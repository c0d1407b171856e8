//! The SQL surface: one file per family of functions.

mod client;
mod failure;
mod flush;
mod job_args;
mod json;
mod relay;
mod servers;
mod submit;
mod sum;
#[cfg(feature = "test-switches")]
mod switches;
pub(crate) mod variables;
