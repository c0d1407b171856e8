//! Which server gets a job: health, pools, names and addresses.

pub mod check;
pub mod host_port;

pub(crate) mod failover;
pub(crate) mod health;
pub(crate) mod job_server;
pub(crate) mod lease;
pub(crate) mod pool;
pub(crate) mod refresher;
pub(crate) mod resolver;
