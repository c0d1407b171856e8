//! How a job is said: packets, one connection, deadlines.

pub mod connection;
pub mod deadline;
pub mod job;
pub mod packet;
pub mod protection;
pub mod tls;

pub(crate) mod protocol;

mod failure;
mod receive_buffer;
mod socket;
mod stream;
