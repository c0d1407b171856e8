//! TLS to a job server: certificates, sessions, and why one did not come about.

pub mod files;

pub(crate) mod credentials;
pub(crate) mod explain;
pub(crate) mod session;
