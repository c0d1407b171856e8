//! What is asked of the database server around us. Every structure of its ABI is here.

#![allow(unsafe_code)]

pub(crate) mod aggregate;
pub(crate) mod args;
pub(crate) mod charset;
pub(crate) mod commit_gate;
pub(crate) mod diagnostics;
#[cfg(all(feature = "test-switches", not(test)))]
pub(crate) mod failing_allocator;
pub(crate) mod function;
pub(crate) mod guard;
pub(crate) mod killed;
pub(crate) mod participant;
pub(crate) mod plugin_abi;
pub(crate) mod privileges;
pub(crate) mod programs;
pub(crate) mod server;
pub(crate) mod statement;
pub(crate) mod symbols;

mod registry;
mod session;
