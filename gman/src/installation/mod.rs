//! `gman install` and `gman uninstall`: the library in the database server of this machine.
//!
//! A running server keeps the library that it has loaded: files are replaced by rename, and a new
//! version is active after the next start of the server.

mod configuration;
mod files;
mod install;
mod report;
mod script;
mod server;
mod uninstall;

pub(crate) use install::{Install, install};
pub(crate) use uninstall::{Uninstall, uninstall};
