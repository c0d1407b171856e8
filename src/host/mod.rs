//! What is asked of the database server around us. The only place with `unsafe` code.

#![allow(unsafe_code)]

pub(crate) mod args;
pub(crate) mod charset;
pub(crate) mod diagnostics;
pub(crate) mod guard;
pub(crate) mod killed;
pub(crate) mod plugin;

mod native;
mod session;
mod symbols;
