//! The SQL surface: one file per family of functions.

#[cfg(feature = "test-switches")]
mod switches;
