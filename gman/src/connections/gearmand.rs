//! The Gearman job servers.

use clap::Args;
use gearman_mysql_udf::gearman::servers::host_port::{self, HostPort};

/// Several job servers; a name of its own keeps clap from taking it for several values.
type JobServers = Vec<HostPort>;

/// Which job servers.
#[derive(Debug, Clone, Args)]
pub(crate) struct GearmandOptions {
    /// The Gearman job servers: host:port,[::1]:4730,...
    #[arg(
        long = "gearmand",
        env = "GMAN_GEARMAND",
        value_name = "LIST",
        default_value = "127.0.0.1:4730"
    )]
    #[arg(value_parser = host_port::parse)]
    pub(crate) job_servers: JobServers,
}
