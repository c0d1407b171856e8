//! The options of `gman status`.

use std::time::Duration;

use clap::{Args, value_parser};

use super::worker_address::WorkerAddress;
use crate::connections::{GearmandOptions, MysqlOptions, RedisOptions};

/// Show the whole path of a change at a glance, and what is wrong with it
///
/// Looks at the database server and the library in it, at triggers, at the outbox, at the job servers that
/// the server names (or --gearmand, if it names none), at workers that --worker names, and at Redis. Exits
/// with 1 if something is broken.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Show it again every SECONDS
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2")]
    #[arg(value_parser = value_parser!(u32).range(1..))]
    watch: Option<u32>,

    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,

    #[command(flatten)]
    pub(super) mysql: MysqlOptions,

    #[command(flatten)]
    pub(super) gearmand: GearmandOptions,

    /// The workers, by the addresses of their --metrics: http://host:port,...
    #[arg(
        long = "worker",
        env = "GMAN_WORKER",
        value_name = "LIST",
        value_delimiter = ','
    )]
    pub(super) workers: Vec<WorkerAddress>,

    #[command(flatten)]
    pub(super) redis: RedisOptions,
}

impl Options {
    /// How long to wait before the next time; `None` if there is none.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.watch
            .map(|seconds| Duration::from_secs(seconds.into()))
    }
}
