//! How a job is said: packets, one connection, deadlines.

pub mod connection;
pub mod deadline;
pub mod job;
pub mod packet;

pub(crate) mod protocol;

mod receive_buffer;
