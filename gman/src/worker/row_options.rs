//! The options that decide what a row is in Redis: those of the worker that writes it, and of whoever
//! compares it.

use clap::Args;

use super::format::{Format, Mode};

/// How rows are kept.
#[derive(Debug, Args)]
pub(crate) struct RowOptions {
    /// What a job of the worker's --function does, and in what form json and redis-json keep every row
    #[arg(long, env = "GMAN_WORKER_MODE", value_enum, default_value_t = Mode::Set)]
    mode: Mode,

    /// Put this before every key, such as "shop:"
    #[arg(
        long,
        env = "GMAN_WORKER_PREFIX",
        value_name = "TEXT",
        default_value = ""
    )]
    pub(crate) prefix: String,

    /// The Gearman function whose jobs name the key, {"key":"test:1","row":{...}}; "" for none
    #[arg(
        long,
        env = "GMAN_WORKER_ROW_FUNCTION",
        value_name = "NAME",
        default_value = "syncRowToRedis"
    )]
    pub(crate) row_function: String,

    /// Skip changes older than the one in Redis, by this member of the row: a whole number below 2^64
    /// that grows with every change
    ///
    /// Redis keeps it in the row's hash, and under a key of its own that outlives the row. A job of
    /// --row-function that deletes a row can have it beside the key. Without it, the row is deleted
    /// whatever Redis has.
    #[arg(long, env = "GMAN_WORKER_VERSION_FIELD", value_name = "NAME")]
    version_field: Option<String>,
}

impl RowOptions {
    /// How jobs are read, whatever the versions.
    pub(crate) fn format(&self) -> Format {
        Format::new(self.mode, &self.prefix)
    }

    /// The member that is a row's version. An empty variable in an environment file means none.
    pub(crate) fn version_field(&self) -> Option<&str> {
        self.version_field
            .as_deref()
            .filter(|name| !name.is_empty())
    }
}
