//! The options of `gman verify`.

use clap::{Args, value_parser};

use crate::connections::{MysqlOptions, RedisOptions};
use crate::error::Result;
use crate::sql::TableName;
use crate::worker::format::{Format, Mode};

/// Compare tables with Redis, while writes go on
///
/// Every row is compared with what a worker with the same options makes of its job. What differs is looked
/// at again once the jobs that were under way have arrived, so that only lasting differences are
/// reported: rows that are missing in Redis, rows that are stale, and keys without a row. Exits with 1
/// if there are any.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gman verify shop.orders
  gman verify shop.orders --sample 5 --json      for cron: a twentieth of the rows
  gman verify shop.orders --repair               sends the rows again; asks before it deletes keys")]
pub(crate) struct Options {
    /// The tables; put a name with a dot in backticks
    #[arg(value_name = "DATABASE.TABLE", required = true)]
    tables: Vec<String>,

    /// Compare so many of a hundred rows, chosen at random
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub(super) sample: Option<f64>,

    /// Compare only the rows for which this expression of SQL is true; looks for no keys without a row
    #[arg(long = "where", value_name = "CONDITION")]
    pub(super) filter: Option<String>,

    /// Keys may go by themselves, by the worker's --expire or because Redis evicts them: what is missing is
    /// counted, and is no difference
    #[arg(long)]
    pub(super) expires: bool,

    /// Send the rows that differ again, and delete keys without a row
    #[arg(long)]
    pub(super) repair: bool,

    /// With --repair: delete keys without asking
    #[arg(long, requires = "repair")]
    pub(super) yes: bool,

    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,

    /// How long to wait at most for the jobs that are under way, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    #[arg(value_parser = value_parser!(u32).range(1..))]
    pub(super) patience: u32,

    /// The worker's --mode
    #[arg(long, env = "GMAN_WORKER_MODE", value_enum, default_value_t = Mode::Set)]
    mode: Mode,

    /// The worker's --prefix
    #[arg(
        long,
        env = "GMAN_WORKER_PREFIX",
        value_name = "TEXT",
        default_value = ""
    )]
    pub(super) prefix: String,

    /// The worker's --row-function
    #[arg(
        long,
        env = "GMAN_WORKER_ROW_FUNCTION",
        value_name = "NAME",
        default_value = "syncRowToRedis"
    )]
    pub(super) row_function: String,

    /// The worker's --version-field
    #[arg(long, env = "GMAN_WORKER_VERSION_FIELD", value_name = "NAME")]
    pub(super) version_field: Option<String>,

    #[command(flatten)]
    pub(super) mysql: MysqlOptions,

    #[command(flatten)]
    pub(super) redis: RedisOptions,
}

impl Options {
    /// # Errors
    ///
    /// If a name is none.
    pub(super) fn tables(&self) -> Result<Vec<TableName>> {
        self.tables
            .iter()
            .map(|text| TableName::parse(text))
            .collect()
    }

    /// How the worker reads jobs. Versions are of no interest: they decide which job wins, not what it
    /// leaves.
    pub(super) fn format(&self) -> Format {
        Format::new(self.mode, &self.prefix)
    }
}

fn percent(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent),
        _ => Err("expected a number above 0, and 100 at most".to_owned()),
    }
}
