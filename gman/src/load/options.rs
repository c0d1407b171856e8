//! The options of `gman load`.

use std::path::PathBuf;

use clap::{Args, value_parser};

use crate::connections::MysqlOptions;
use crate::rows::tables::Tables;

/// Send the rows that tables hold already, while writes go on
///
/// Every row is sent as the table's triggers would send it: the same Gearman function, the same JSON,
/// the same delivery. Afterwards each key has its row's newest value, whatever was written meanwhile.
/// Create the triggers first: gman triggers --create.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gman load shop.orders
  gman load shop.orders shop.items --rate 5000 --resume /var/tmp/load
  gman load shop.orders --where 'created > NOW() - INTERVAL 1 DAY'
  gman load shop.orders --dry-run")]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) tables: Tables,

    /// How many rows are locked at once at most; fewer if their locks would be held for more than 50 ms
    #[arg(long, value_name = "ROWS", default_value_t = 10_000)]
    #[arg(value_parser = value_parser!(u32).range(1..))]
    pub(super) chunk: u32,

    /// Send at most this many rows a second
    #[arg(long, value_name = "ROWS", value_parser = value_parser!(u32).range(1..))]
    pub(super) rate: Option<u32>,

    /// Record in this file how far the load is, and continue from there
    #[arg(long, value_name = "FILE")]
    pub(super) resume: Option<PathBuf>,

    /// Send only the rows for which this expression of SQL is true
    #[arg(long = "where", value_name = "CONDITION")]
    pub(super) filter: Option<String>,

    /// Send nothing; print how many rows there are, and the first jobs
    #[arg(long)]
    pub(super) dry_run: bool,

    #[command(flatten)]
    pub(super) mysql: MysqlOptions,
}
