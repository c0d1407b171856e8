//! What waits in the job servers.

use std::time::Duration;

use gearman_mysql_udf::gearman::servers::host_port::{self, HostPort};
use gearman_mysql_udf::gearman::wire::protection::Protection;
use serde::Serialize;

use super::database::Database;
use crate::connections::{Queue, queues};

/// How long a job server may take to connect, and to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A job server, as this machine sees it.
#[derive(Debug, Serialize)]
pub(super) struct JobServer {
    pub(super) address: String,
    pub(super) queues: Vec<Queue>,
    /// Why its queues are not known.
    pub(super) error: Option<String>,
}

/// Asks the job servers that the database server names, or else `others`.
pub(super) fn read(
    database: &Database,
    others: &[HostPort],
    protection: &Protection,
) -> Vec<JobServer> {
    let named = database
        .checks
        .iter()
        .filter_map(|check| check.server.as_deref());
    let named: Vec<HostPort> = named.flat_map(host_port::parse).flatten().collect();
    let servers = match named.is_empty() {
        true => others,
        false => &named,
    };
    servers
        .iter()
        .map(|address| {
            let (queues, error) = match queues(address, protection, TIMEOUT) {
                Ok(queues) => (queues, None),
                Err(error) => (Vec::new(), Some(error.to_string())),
            };
            JobServer {
                address: address.to_string(),
                queues,
                error,
            }
        })
        .collect()
}
