//! A loadable function library for MySQL and MariaDB: JSON from rows, and Gearman jobs from triggers.
//!
//! # Layout
//!
//! - `functions`: the SQL surface, one file per family; knows SQL arguments and results.
//! - [`json`]: JSON text from values; knows neither SQL nor the server.
//! - [`gearman`]: the Gearman client; knows no SQL; usable by itself.
//! - `host`: what is asked of the database server around us; the only `unsafe`.
//! - [`settings`]: every setting with its default, unit and range.
//! - [`mod@status`]: counters of what happened.
//! - [`error`]: the one error type.
//!
//! Imports run downwards: `functions` uses everything, `json` and `gearman` use neither `functions`
//! nor `host`.

pub mod error;
pub mod gearman;
pub mod json;
pub mod settings;
pub mod status;

mod functions;
mod host;
