//! The options; each has an environment variable.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, value_parser};

use crate::connections::{GearmandOptions, MysqlOptions};

/// Submit the jobs of an outbox, from outside the database server
///
/// Does what the event of outbox.sql does, over an ordinary connection: for servers on which nothing
/// can be loaded, such as managed ones. outbox-plain.sql makes the tables. A job is submitted if and
/// only if its transaction committed, in the order of the commits of each row, and its row is deleted
/// once the job server has the job; or, after UPDATE gman_outbox_state SET confirm = 'worker', once a
/// worker has done it.
///
/// Any number of processes may run for one outbox: one relays, and another takes over within ten
/// seconds if it dies, and at once if it stops.
///
/// A server that is unreachable, read-only or not in sync with its cluster is waited for. SIGUSR1
/// prints statistics to stderr. SIGTERM and SIGINT stop the relay cleanly.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The database that has the table gman_outbox
    #[arg(value_name = "DATABASE")]
    pub(super) database: String,

    #[command(flatten)]
    pub(super) mysql: MysqlOptions,

    #[command(flatten)]
    pub(super) gearmand: GearmandOptions,

    /// How long to wait before looking for new rows again, in milliseconds
    #[arg(
        long,
        env = "GMAN_RELAY_POLL_MS",
        value_name = "MS",
        default_value_t = 2
    )]
    #[arg(value_parser = value_parser!(u64).range(1..=60_000))]
    poll_ms: u64,

    /// How many rows are submitted before the first of them is deleted
    #[arg(
        long,
        env = "GMAN_RELAY_BATCH",
        value_name = "ROWS",
        default_value_t = 3000
    )]
    #[arg(value_parser = value_parser!(u32).range(1..=100_000))]
    pub(super) batch: u32,

    /// Serve numbers for Prometheus at http://ADDRESS/metrics, and /healthz
    ///
    /// /healthz returns 200 unless something stands in the way of the rows, else 503 and what that is. A
    /// relay that waits for another one is well.
    #[arg(long, env = "GMAN_RELAY_METRICS", value_name = "ADDRESS:PORT")]
    pub(super) metrics: Option<SocketAddr>,

    /// How long the relay may take to settle what it has submitted when asked to stop, in seconds
    #[arg(
        long,
        env = "GMAN_RELAY_STOP_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = 5
    )]
    #[arg(value_parser = value_parser!(u16).range(..))]
    stop_timeout: u16,
}

impl Options {
    /// The pause between two looks.
    pub(super) fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }

    /// How long stopping may take.
    pub(super) fn stop_timeout(&self) -> Duration {
        Duration::from_secs(self.stop_timeout.into())
    }
}
