//! How a job is submitted: one at a time, in a batch, or through the window and its sender.

pub mod background_batch;
pub mod batch_outcome;
pub mod client;
pub mod confirmed_batch;
pub mod events;
pub mod foreground_batch;

pub(crate) mod held;
pub(crate) mod window;

mod batch_connections;
mod batch_requests;
mod byte_queue;
mod pipeline;
mod room;
mod routing_table;
mod row_list;
mod sender;
mod spool;
