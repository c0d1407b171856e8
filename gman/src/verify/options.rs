//! The options of `gman verify`.

use clap::{Args, value_parser};

use crate::connections::{MysqlOptions, RedisOptions};
use crate::rows::tables::Tables;
use crate::worker::RowOptions;

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
    #[command(flatten)]
    pub(super) tables: Tables,

    /// Compare this percentage of the rows, chosen at random
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub(super) sample: Option<f64>,

    /// Compare only the rows for which this expression of SQL is true; looks for no keys without a row
    #[arg(long = "where", value_name = "CONDITION")]
    pub(super) filter: Option<String>,

    /// Keys may expire, by the worker's --expire, or be evicted by Redis: what is missing is
    /// counted, and does not count as a difference
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

    #[command(flatten, next_help_heading = "How the worker keeps rows")]
    pub(super) rows: RowOptions,

    #[command(flatten)]
    pub(super) mysql: MysqlOptions,

    #[command(flatten)]
    pub(super) redis: RedisOptions,
}

fn percent(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent),
        _ => Err("expected a number above 0, and 100 at most".to_owned()),
    }
}
