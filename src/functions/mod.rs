//! The SQL surface: one file per family of functions.

mod json;
#[cfg(feature = "test-switches")]
mod switches;
