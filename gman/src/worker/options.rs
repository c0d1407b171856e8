//! The options; each has an environment variable.

use std::sync::Arc;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, value_parser};

use super::change::{Format, Mode};
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
/// threads, if only one worker runs, all jobs of the key have the same Gearman function and priority,
/// and the connection to the job server holds. Otherwise use --version-field.
///
/// SIGUSR1 prints statistics to stderr. SIGTERM and SIGINT stop the worker cleanly: it finishes the
/// jobs it holds, for --stop-timeout at most, and leaves the rest to the job server.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) gearmand: GearmandOptions,

    #[command(flatten)]
    pub(super) redis: RedisOptions,

    /// What a job of --function does
    #[arg(long, env = "GMAN_WORKER_MODE", value_enum, default_value_t = Mode::Set)]
    mode: Mode,

    /// Put this before every key, such as "shop:"
    #[arg(
        long,
        env = "GMAN_WORKER_PREFIX",
        value_name = "TEXT",
        default_value = ""
    )]
    prefix: String,

    /// The Gearman function whose jobs are rows, {"id":1,"name":"sm"}; "" for none
    #[arg(
        long,
        env = "GMAN_WORKER_FUNCTION",
        value_name = "NAME",
        default_value = "syncToRedis"
    )]
    function: String,

    /// The Gearman function whose jobs name the key, {"key":"test:1","row":{...}}; "" for none
    #[arg(
        long,
        env = "GMAN_WORKER_ROW_FUNCTION",
        value_name = "NAME",
        default_value = "syncRowToRedis"
    )]
    pub(super) row_function: String,

    /// Skip changes older than the one in Redis, by this member of the row: a whole number below 2^64
    /// that grows with every change
    ///
    /// Redis keeps it in the row's hash, and under a key of its own that outlives the row. A job of
    /// --row-function that deletes a row can have it beside the key. Without it, the row is deleted
    /// whatever Redis has.
    #[arg(long, env = "GMAN_WORKER_VERSION_FIELD", value_name = "NAME")]
    version_field: Option<String>,

    /// Finish a job only after so many replicas of Redis have its change too
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
        Format {
            mode: self.mode,
            prefix: self.prefix.clone(),
            // An empty variable in an environment file means none.
            version_field: self
                .version_field
                .as_deref()
                .filter(|name| !name.is_empty())
                .map(Arc::from),
        }
    }

    /// The Gearman functions that are served.
    ///
    /// # Errors
    ///
    /// Where both were left out.
    pub(super) fn functions(&self) -> Result<Vec<String>> {
        let names = [&self.function, &self.row_function];
        let served: Vec<String> = names
            .into_iter()
            .filter(|name| !name.is_empty())
            .cloned()
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
