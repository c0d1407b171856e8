//! Redis, alone, as a cluster, or behind Sentinels.
//!
//! - [`servers`]: what the user names;
//! - [`routes`]: which node has which key; [`slots`]: what a cluster calls a key's slot;
//! - [`connection`]: one connection, with [`tls`] or without; [`answer`]: what it is told; [`fault`]: what goes wrong.

mod address;
mod answer;
mod connection;
mod fault;
mod routes;
mod servers;
mod slots;
mod tls;

pub(crate) use address::Address;
pub(crate) use answer::{Answer, Refusal};
pub(crate) use connection::{Connection, begin, pack, word};
pub(crate) use fault::Fault;
pub(crate) use routes::{Node, Routes};
pub(crate) use servers::Servers;
pub(crate) use slots::{SLOTS, hash_tag, slot};
pub(crate) use tls::Certificates;
