//! The parts of `scripts/bench rivals`.

pub(crate) mod binlog_reader;
pub(crate) mod changes;
pub(crate) mod commits;
mod foreign;
pub(crate) mod poller;
pub(crate) mod report;
pub(crate) mod running;
pub(crate) mod servers;
pub(crate) mod way;

use std::path::PathBuf;

use clap::Args;
use mysql::{Conn, OptsBuilder};

/// Where a reader reads and writes.
#[derive(Args)]
pub(crate) struct Place {
    /// The socket of the database server.
    socket: PathBuf,
    /// `host:port` of Redis.
    redis: String,
}

impl Place {
    fn connect(&self) -> Conn {
        let options = OptsBuilder::new()
            .user(Some("root"))
            .db_name(Some("test"))
            .socket(Some(self.socket.display().to_string()));
        Conn::new(options).expect("a database server")
    }
}
