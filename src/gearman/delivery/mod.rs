//! How a job is submitted: one at a time, a batch, gathered results, the window and its sender.

pub mod batch;
pub mod client;
pub mod events;
pub mod gathering;

pub(crate) mod held;
pub(crate) mod window;

mod byte_queue;
mod lists;
mod pipeline;
mod room;
mod sender;
mod spool;
