//! The SQL surface: one file per family of functions.

mod client;
mod failure;
mod json;
mod servers;
mod submit;
#[cfg(feature = "test-switches")]
mod switches;
