//! The database server: the library in it, settings, counters, triggers.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use mysql::Conn;
use mysql::prelude::FromRow;
use serde::{Deserialize, Serialize};

use super::outbox::Outbox;
use crate::connections::{Ask, refused};
use crate::error::Result;
use crate::sql::quoted;
use crate::triggers::check::{self, Finding, Scope};
use crate::triggers::lanes::Lanes;

/// The file of the library.
const LIBRARY: &str = "libgearman_mysql_udf.so";

/// Settings of the server that matter here.
const SETTINGS: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name LIKE 'gman\\_%'
  OR Variable_name IN ('event_scheduler', 'binlog_format', 'read_only', 'innodb_flush_log_at_trx_commit')";

const COUNTERS: &str = "SHOW GLOBAL STATUS LIKE 'gman\\_%'";

const PLUGINS: &str = "SELECT PLUGIN_NAME, PLUGIN_VERSION FROM information_schema.PLUGINS
  WHERE PLUGIN_NAME LIKE 'gman%' AND PLUGIN_STATUS = 'ACTIVE' ORDER BY PLUGIN_NAME";

/// Every table with a trigger that sends something, and whether into an outbox.
const TABLES: &str =
    "SELECT EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE, MAX(ACTION_STATEMENT LIKE '%gman\\_outbox%')
  FROM information_schema.TRIGGERS
  WHERE ACTION_STATEMENT LIKE '%gman\\_do%' OR ACTION_STATEMENT LIKE '%gman\\_outbox%'
  GROUP BY EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE ORDER BY 1, 2";

/// Triggers that spread their jobs over lanes.
const SPREADING: &str = "SELECT ACTION_STATEMENT FROM information_schema.TRIGGERS
  WHERE EVENT_MANIPULATION = 'INSERT' AND ACTION_STATEMENT LIKE '%, 1 + CRC32(%'";

/// What the server says of itself.
#[derive(Debug, Serialize)]
pub(super) struct Database {
    pub(super) version: String,
    pub(super) uptime_seconds: u64,
    /// The plugins of the library, with their versions.
    pub(super) plugins: BTreeMap<String, String>,
    /// Whether a job can be submitted by a call.
    pub(super) has_functions: bool,
    /// The library's file has been replaced since the server started; `None` if that cannot be seen.
    pub(super) awaits_restart: Option<bool>,
    pub(super) settings: BTreeMap<String, String>,
    pub(super) counters: BTreeMap<String, String>,
    /// By the second, of counters that have changed.
    pub(super) rates: BTreeMap<String, f64>,
    pub(super) tables: Vec<Table>,
    pub(super) findings: Vec<Finding>,
    /// Lanes by their Gearman function: how many the triggers fill.
    pub(super) lanes: BTreeMap<String, u16>,
    pub(super) outboxes: Vec<Outbox>,
    /// What `gman_check` says.
    pub(super) checks: Vec<Check>,
}

/// A table with triggers that send its rows.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    pub(super) table: String,
    pub(super) uses_outbox: bool,
}

/// A job server as the database server sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Check {
    #[serde(default)]
    pub(super) server: Option<String>,
    pub(super) state: String,
    #[serde(default)]
    pub(super) round_trip_ms: Option<f64>,
    #[serde(default)]
    pub(super) version: Option<String>,
    #[serde(default)]
    pub(super) error: Option<String>,
    #[serde(default)]
    pub(super) hint: Option<String>,
}

impl Database {
    /// # Errors
    ///
    /// If the server refuses, or is gone.
    pub(super) fn read(conn: &mut Conn) -> Result<Self> {
        let version = rows::<String>(conn, "SELECT VERSION()")?.concat();
        let uptime: Vec<(String, u64)> = rows(conn, "SHOW GLOBAL STATUS LIKE 'Uptime'")?;
        let uptime_seconds = uptime.first().map_or(0, |(_, seconds)| *seconds);
        let pid_file = rows::<String>(conn, "SELECT @@pid_file")?.concat();
        let checks = checks(conn);
        let tables: Vec<(String, String, bool)> = rows(conn, TABLES)?;
        Ok(Self {
            version,
            uptime_seconds,
            plugins: rows(conn, PLUGINS)?.into_iter().collect(),
            has_functions: checks.is_some(),
            awaits_restart: awaits_restart(&pid_file),
            settings: rows(conn, SETTINGS)?.into_iter().collect(),
            counters: rows(conn, COUNTERS)?.into_iter().collect(),
            rates: BTreeMap::new(),
            tables: tables
                .into_iter()
                .map(|(schema, table, uses_outbox)| Table {
                    table: format!("{}.{}", quoted(&schema), quoted(&table)),
                    uses_outbox,
                })
                .collect(),
            findings: check::findings(conn, &Scope::default())?,
            lanes: lanes(conn)?,
            outboxes: Outbox::read_all(conn)?,
            checks: checks.unwrap_or_default(),
        })
    }

    /// The rates, from what the counters were before.
    pub(super) fn count_since(&mut self, before: &Self, elapsed: Duration) {
        for (name, value) in &self.counters {
            let number = |text: &str| text.parse::<u64>().ok();
            let then = before.counters.get(name).and_then(|text| number(text));
            if let (Some(now), Some(then)) = (number(value), then)
                && now > then
            {
                let rate = (now - then) as f64 / elapsed.as_secs_f64();
                self.rates.insert(name.clone(), rate);
            }
        }
    }

    pub(super) fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }

    pub(super) fn counter(&self, name: &str) -> u64 {
        let text = self.counters.get(name);
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

/// What the functions say of the job servers; `None` without them.
fn checks(conn: &mut Conn) -> Option<Vec<Check>> {
    let text: Option<Vec<u8>> = conn.ask_first("SELECT gman_check()").ok()?;
    serde_json::from_slice(&text.unwrap_or_default()).ok()
}

/// Tables may share a function with other numbers of lanes: the largest counts.
fn lanes(conn: &mut Conn) -> Result<BTreeMap<String, u16>> {
    let mut lanes = BTreeMap::new();
    let bodies = rows::<Vec<u8>>(conn, SPREADING)?;
    for one in bodies
        .iter()
        .filter_map(|body| Lanes::of(&String::from_utf8_lossy(body)))
    {
        let count = lanes.entry(one.function).or_insert(0);
        *count = one.count.max(*count);
    }
    Ok(lanes)
}

/// Whether the server's process has a library open whose file has been replaced. One on another machine,
/// or of another account, cannot be looked at.
fn awaits_restart(pid_file: &str) -> Option<bool> {
    let pid: u32 = fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let mut ours = maps.lines().filter(|line| line.contains(LIBRARY));
    Some(ours.any(|line| line.ends_with(" (deleted)")))
}

pub(super) fn rows<T: FromRow>(conn: &mut Conn, sql: &str) -> Result<Vec<T>> {
    let what = "ask the database server how it is";
    let rows: Vec<mysql::Row> = conn.ask(sql).map_err(|error| refused(what, &error))?;
    rows.into_iter()
        .map(|row| {
            mysql::from_row_opt(row).map_err(|error| {
                crate::error::Error::failed(format!("cannot {what}: {error}: {sql}"))
            })
        })
        .collect()
}
