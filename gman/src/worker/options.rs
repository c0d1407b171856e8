//! The options; each has an environment variable.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, value_parser};

use super::expire::Expire;
use super::format::Format;
use super::lane::Lane;
use super::row_options::RowOptions;
use crate::connections::{GearmandOptions, RedisOptions};
use crate::error::{Error, Result};

/// Write changed rows from Gearman jobs to Redis
///
/// The worker serves two Gearman functions. --mode decides what a job of syncToRedis does. A job of
/// syncRowToRedis names its key: {"key":"test:1","row":{"id":1,"name":"sm"}} makes the hash test:1
/// exactly this row, and "row":null deletes the key.
///
/// No job is lost while Redis or a job server is unreachable: the worker retries a job until Redis
/// has confirmed the change, and only then finishes it. A job can be done twice.
///
/// Changes of one key are written in the order in which one job server got them, with any number of
/// threads, if only one worker runs, or one for each lane, and all jobs of the key have the same Gearman
/// function and priority. Otherwise use --version-field.
///
/// SIGUSR1 prints statistics to stderr. SIGTERM and SIGINT stop the worker cleanly: it finishes the
/// jobs it holds, for --stop-timeout at most, and leaves the rest to the job server.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) gearmand: GearmandOptions,

    #[command(flatten)]
    pub(super) redis: RedisOptions,

    #[command(flatten)]
    rows: RowOptions,

    /// The Gearman function whose jobs are rows, {"id":1,"name":"sm"}; "" for none
    #[arg(
        long,
        env = "GMAN_WORKER_FUNCTION",
        value_name = "NAME",
        default_value = "syncToRedis"
    )]
    function: String,

    /// Serve lane K of N alone: the jobs of ROW_FUNCTION.K that triggers made with --lanes N submit
    ///
    /// Run one worker for each lane. A key is always in the same lane, which keeps its changes in order.
    #[arg(long, env = "GMAN_WORKER_LANE", value_name = "K/N")]
    lane: Option<Lane>,

    /// Let keys expire after SECONDS, or up to a tenth earlier, so that they do not all expire at once
    #[arg(long, env = "GMAN_WORKER_EXPIRE", value_name = "SECONDS")]
    #[arg(value_parser = value_parser!(u32).range(1..=315_360_000))]
    expire: Option<u32>,

    /// Publish the key of every row that has changed to this channel of Redis
    #[arg(long, env = "GMAN_WORKER_PUBLISH", value_name = "CHANNEL")]
    publish: Option<String>,

    /// Finish a job only after N replicas of Redis have its change
    ///
    /// Redis confirms a change before its replicas have it: one that takes the place of a master that has
    /// died may not have the last ones. Raise the number to what each master has for certain.
    #[arg(
        long,
        env = "GMAN_WORKER_REPLICAS",
        value_name = "N",
        default_value_t = 0
    )]
    pub(super) replicas: u16,

    /// How many threads write to each node of Redis, each on its own connection; a key always gets the
    /// same thread
    #[arg(
        long,
        env = "GMAN_WORKER_THREADS",
        value_name = "N",
        default_value_t = 1
    )]
    #[arg(value_parser = value_parser!(u16).range(1..=256))]
    pub(super) threads: u16,

    /// How many jobs of each job server are held in memory at once
    #[arg(
        long,
        env = "GMAN_WORKER_IN_FLIGHT",
        value_name = "N",
        default_value_t = 256
    )]
    #[arg(value_parser = value_parser!(u16).range(1..))]
    pub(super) in_flight: u16,

    /// How many bytes of workloads of each job server are held in memory at once
    #[arg(
        long,
        env = "GMAN_WORKER_IN_FLIGHT_BYTES",
        value_name = "BYTES",
        default_value_t = 64 << 20
    )]
    pub(super) in_flight_bytes: usize,

    /// Fail a job whose workload has more bytes
    #[arg(
        long,
        env = "GMAN_WORKER_MAX_WORKLOAD",
        value_name = "BYTES",
        default_value_t = 64 << 20
    )]
    pub(super) max_workload: usize,

    /// Serve numbers for Prometheus at http://ADDRESS/metrics, and /healthz
    ///
    /// /healthz returns 200 if every job server is connected and every node of Redis takes connections, else
    /// 503 and what is wrong.
    #[arg(long, env = "GMAN_WORKER_METRICS", value_name = "ADDRESS:PORT")]
    pub(super) metrics: Option<SocketAddr>,

    /// How long the worker may take to finish its jobs when asked to stop, in seconds
    #[arg(
        long,
        env = "GMAN_WORKER_STOP_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = 5
    )]
    #[arg(value_parser = value_parser!(u16).range(..))]
    stop_timeout: u16,

    /// Print every job to stdout
    #[arg(long, env = "GMAN_WORKER_VERBOSE", value_parser = FalseyValueParser::new())]
    pub(super) verbose: bool,
}

impl Options {
    /// How rows become changes.
    pub(super) fn format(&self) -> Format {
        // An empty variable in an environment file means none.
        let publish = self.publish.as_deref().filter(|name| !name.is_empty());
        Format {
            version_field: self.rows.version_field().map(Arc::from),
            expire: self.expire.map(Expire),
            publish: publish.map(Arc::from),
            ..self.rows.format()
        }
    }

    /// The Gearman function whose jobs name the key, with the lane; empty for none.
    pub(super) fn row_function(&self) -> String {
        match &self.lane {
            Some(lane) => lane.function(&self.rows.row_function),
            None => self.rows.row_function.clone(),
        }
    }

    /// The Gearman functions that are served.
    ///
    /// # Errors
    ///
    /// Where both were left out.
    pub(super) fn functions(&self) -> Result<Vec<String>> {
        // Another worker would take jobs of the same function too, and out of order.
        let function = self.lane.as_ref().map_or(self.function.as_str(), |_| "");
        let served: Vec<String> = [function.to_owned(), self.row_function()]
            .into_iter()
            .filter(|name| !name.is_empty())
            .collect();
        if served.is_empty() {
            return Err(Error::usage(
                "--function and --row-function are empty, expected one of them",
            ));
        }
        Ok(served)
    }

    pub(super) fn stop_timeout(&self) -> Duration {
        Duration::from_secs(self.stop_timeout.into())
    }
}
