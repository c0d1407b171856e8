//! A loadable function library for MySQL and MariaDB: JSON from rows, and Gearman jobs from triggers.
//!
//! # Layout
//!
//! - `plugin`: the library as a plugin; what the server calls on its own account comes in here.
//! - `functions`: the SQL surface, one file per family; knows SQL arguments and results.
//! - [`json`]: JSON text from values; knows neither SQL nor the server.
//! - [`gearman`]: the Gearman client; knows no SQL; usable by itself.
//! - [`old_sql`]: the C plugins' calls in a statement; knows neither the server nor the functions.
//! - `host`: what is asked of the database server around us; every structure of its ABI.
//! - [`settings`]: every setting with its default, unit and range.
//! - [`mod@status`]: counters of what happened.
//! - [`error`]: the one error type.
//! - [`installation`]: the files that install the library in a server.
//! - `memory`: asked for where its size is somebody else's to decide.
//!
//! Imports run downwards: `plugin` uses everything, `functions` all but `plugin`; `json`, `gearman` and `old_sql`
//! neither those nor `host`. `unsafe` is in `host` and `plugin` alone.

pub mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod gearman;
pub mod installation;
pub mod json;
pub mod old_sql;
pub mod settings;
pub mod status;

mod functions;
mod host;
mod memory;
mod plugin;
