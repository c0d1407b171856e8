//! How the jobs of a part's rows are handed over, while its rows are locked.

use std::fmt::{self, Display};
use std::thread;
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use crate::connections::refused;
use crate::error::{Error, Result};
use crate::rows::hand_over::Way;
use crate::rows::source::{Lock, RowJobs, Source};
use crate::sql;

// Numbers of errors, the same for both families.
const ER_UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;
const ER_LOCK_WAIT_TIMEOUT: u16 = 1205;
const ER_LOCK_DEADLOCK: u16 = 1213;
const ER_SP_DOES_NOT_EXIST: u16 = 1305;
const ER_SP_WRONG_NO_OF_ARGS: u16 = 1318;
/// What the functions fail with.
const ER_UNKNOWN_ERROR: u16 = 1105;

/// How long one statement for the outbox may be, unless the server takes less.
const STATEMENT_BYTES: usize = 1 << 20;

/// How long a window may stay as it is before its jobs count as stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a part was not handed over.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It may go better in a while.
    Passing(String),
    Final(Error),
}

/// How a table's jobs leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// In batches that the job server acknowledges before the rows are unlocked.
    Batch,
    /// By the function that the triggers call, one job at a time; in the window, if there is one.
    Call(&'static str),
    /// By rows of this table, in the transaction that locks the rows.
    Outbox(String),
}

impl Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch => f.write_str("to the job server in batches"),
            Self::Call(function) => write!(f, "to the job server by {function}"),
            Self::Outbox(table) => write!(f, "by the outbox {table}"),
        }
    }
}

impl Delivery {
    /// That of the table's triggers, as the server is set now.
    ///
    /// # Errors
    ///
    /// If the server lacks a function.
    pub(crate) fn of(conn: &mut Conn, source: &Source) -> Result<Self> {
        let function = match &source.way {
            Way::Outbox(table) => return Ok(Self::Outbox(table.clone())),
            Way::Call(function) => *function,
        };
        match error_of(conn, &format!("DO {function}()"))? {
            // A loadable function says that in its own words.
            Some(ER_SP_WRONG_NO_OF_ARGS) => return Ok(Self::Outbox("`gman_outbox`".to_owned())),
            Some(ER_SP_DOES_NOT_EXIST) => return Err(missing(function)),
            _ => {}
        }
        if function != "gman_do_background" || has_window(conn)? {
            return Ok(Self::Call(function));
        }
        match error_of(conn, "SELECT gman_relay()")? {
            Some(ER_SP_DOES_NOT_EXIST) => Err(missing("gman_relay")),
            _ => Ok(Self::Batch),
        }
    }

    /// Hands over the jobs of the rows under a condition; returns how many rows they are.
    ///
    /// # Errors
    ///
    /// Why not all of them left. Then some may have: they can be sent again.
    pub(crate) fn hand_over(
        &self,
        conn: &mut Conn,
        source: &Source,
        condition: &str,
    ) -> std::result::Result<u64, Trouble> {
        match self {
            Self::Batch => batch(conn, source, condition),
            Self::Call(function) => call(conn, source, function, condition),
            Self::Outbox(table) => {
                let written = outbox(conn, source, table, condition);
                if written.is_err() {
                    // If this fails too, the session has ended, and the transaction with it.
                    let _ = conn.query_drop("ROLLBACK");
                }
                written
            }
        }
    }

    /// Waits until a job server has what was left in the window.
    ///
    /// # Errors
    ///
    /// If nothing leaves.
    pub(crate) fn finish(&self, conn: &mut Conn) -> Result {
        if !matches!(self, Self::Call(_)) {
            return Ok(());
        }
        let (mut left, mut since) = (u64::MAX, Instant::now());
        loop {
            let now: Option<u64> = conn
                .query_first("SELECT gman_flush()")
                .map_err(|error| refused("wait for the window", &error))?;
            match now.unwrap_or(0) {
                0 => return Ok(()),
                now if now < left => (left, since) = (now, Instant::now()),
                now if since.elapsed() > PATIENCE => {
                    return Err(Error::failed(format!(
                        "{now} jobs wait in the window and no job server takes them; SELECT gman_check() \
                         says why"
                    )));
                }
                _ => thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

/// One statement; the aggregate returns when every job is acknowledged.
fn batch(conn: &mut Conn, source: &Source, condition: &str) -> std::result::Result<u64, Trouble> {
    let counters = (0..source.hand_overs.len()).map(|n| format!("@gman_load_{n}"));
    let counters: Vec<String> = counters.collect();
    let zero: Vec<String> = counters.iter().map(|name| format!("{name} = 0")).collect();
    conn.query_drop(format!("SET {}", zero.join(", ")))
        .map_err(|error| trouble(source, &error))?;
    let relays: Vec<String> = source
        .hand_overs
        .iter()
        .zip(&counters)
        .map(|(hand_over, counter)| {
            let workload = source.workload(hand_over);
            format!(
                "gman_relay({counter} := {counter} + 1, {}, {workload})",
                hand_over.function
            )
        })
        .collect();
    let sql = format!(
        "SELECT COUNT(*), {} {}{}",
        relays.join(", "),
        source.from(condition),
        Lock::Shared.clause()
    );
    let counts = counts(conn, source, &sql)?;
    if counts.iter().all(|&count| count == counts[0]) {
        return Ok(counts[0]);
    }
    let reason: Option<Option<String>> = conn
        .query_first("SELECT gman_relay_error()")
        .map_err(|error| trouble(source, &error))?;
    Err(Trouble::Passing(reason.flatten().unwrap_or_else(not_taken)))
}

/// One statement, whose jobs leave as those of a trigger do.
fn call(
    conn: &mut Conn,
    source: &Source,
    function: &str,
    condition: &str,
) -> std::result::Result<u64, Trouble> {
    let calls: Vec<String> = source
        .hand_overs
        .iter()
        .map(|hand_over| {
            let workload = source.workload(hand_over);
            format!("COUNT({function}({}, {workload}))", hand_over.function)
        })
        .collect();
    let sql = format!(
        "SELECT COUNT(*), {} {}{}",
        calls.join(", "),
        source.from(condition),
        Lock::Shared.clause()
    );
    let counts = counts(conn, source, &sql)?;
    match counts.iter().all(|&count| count == counts[0]) {
        true => Ok(counts[0]),
        false => Err(Trouble::Passing(not_taken())),
    }
}

fn not_taken() -> String {
    "no job server took all jobs; SELECT gman_check() says why".to_owned()
}

/// The numbers of a row, 0 for NULL.
fn counts(conn: &mut Conn, source: &Source, sql: &str) -> std::result::Result<Vec<u64>, Trouble> {
    let row: Option<mysql::Row> = conn
        .query_first(sql)
        .map_err(|error| trouble(source, &error))?;
    let values = row.map(mysql::Row::unwrap).unwrap_or_default();
    let number = |value| mysql::from_value_opt::<Option<u64>>(value).ok().flatten();
    Ok(values
        .into_iter()
        .map(|value| number(value).unwrap_or(0))
        .collect())
}

/// One transaction. All rows are locked before the first job is written: an INSERT ... SELECT would hold
/// the lock of the outbox's counter, which writers need, while it waits for a row that one of them has.
fn outbox(
    conn: &mut Conn,
    source: &Source,
    table: &str,
    condition: &str,
) -> std::result::Result<u64, Trouble> {
    let failed = |error: &mysql::Error| trouble(source, error);
    conn.query_drop("START TRANSACTION")
        .map_err(|e| failed(&e))?;
    let rows = source
        .jobs(conn, condition, Lock::Shared)
        .map_err(|e| failed(&e))?;
    let most = conn.query_first::<usize, _>("SELECT @@max_allowed_packet");
    let most = most.map_err(|e| failed(&e))?.unwrap_or(STATEMENT_BYTES);
    for sql in
        inserts(source, table, &rows, STATEMENT_BYTES.min(most / 2)).map_err(Trouble::Final)?
    {
        conn.query_drop(sql).map_err(|e| failed(&e))?;
    }
    conn.query_drop("COMMIT").map_err(|e| failed(&e))?;
    Ok(rows.len() as u64)
}

/// The statements that write the jobs, each not much longer than `bytes`.
fn inserts(source: &Source, table: &str, rows: &[RowJobs], bytes: usize) -> Result<Vec<String>> {
    let into = format!("INSERT INTO {table} (`function`, `workload`) ");
    let (mut statements, mut values) = (Vec::new(), String::new());
    for row in rows {
        for (job, hand_over) in row.jobs.iter().zip(&source.hand_overs) {
            let Some(workload) = &job.workload else {
                return Err(refused_by_the_triggers(source, row));
            };
            // What the server would not take from us, it takes from itself.
            let is_too_long = workload.len() > bytes / 2;
            if !values.is_empty() && (is_too_long || values.len() > bytes / 2) {
                statements.push(format!("{into}VALUES {values}"));
                values.clear();
            }
            if is_too_long {
                statements.push(format!(
                    "{into}SELECT {}, {} {}",
                    hand_over.function,
                    source.workload(hand_over),
                    source.from(&source.key.is_at(&row.place))
                ));
                continue;
            }
            values.push_str(if values.is_empty() { "(" } else { ",(" });
            sql::push_bytes(&mut values, &job.function);
            values.push(',');
            sql::push_bytes(&mut values, workload);
            values.push(')');
        }
    }
    if !values.is_empty() {
        statements.push(format!("{into}VALUES {values}"));
    }
    Ok(statements)
}

fn refused_by_the_triggers(source: &Source, row: &RowJobs) -> Error {
    Error::failed(format!(
        "the triggers of {} refuse the row at {}: a value is too large; raise max_allowed_packet",
        source.name.quoted(),
        row.place.join(", ")
    ))
}

fn trouble(source: &Source, error: &mysql::Error) -> Trouble {
    if let mysql::Error::MySqlError(error) = error {
        match error.code {
            ER_LOCK_WAIT_TIMEOUT => {
                return Trouble::Passing("somebody holds a row for more than a second".to_owned());
            }
            ER_LOCK_DEADLOCK => return Trouble::Passing("a deadlock with a writer".to_owned()),
            ER_UNKNOWN_ERROR => return Trouble::Passing(error.message.clone()),
            _ => {}
        }
    }
    Trouble::Final(refused(format!("send {}", source.name.quoted()), error))
}

/// The number of the error of a statement that needs no success.
fn error_of(conn: &mut Conn, sql: &str) -> Result<Option<u16>> {
    match conn.query_drop(sql) {
        Ok(()) => Ok(None),
        Err(mysql::Error::MySqlError(error)) => Ok(Some(error.code)),
        Err(error) => Err(refused("look for the functions", &error)),
    }
}

fn missing(function: &str) -> Error {
    Error::failed(format!(
        "the function {function} is missing; install the library first, or run sql/install.sql again \
         after an upgrade"
    ))
}

/// Whether jobs go through a window, which a batch would overtake.
fn has_window(conn: &mut Conn) -> Result<bool> {
    match conn.query_first::<String, _>("SELECT @@GLOBAL.gman_delivery") {
        Ok(delivery) => Ok(delivery.is_some_and(|delivery| delivery != "acked")),
        // Without the plugin every job is acknowledged.
        Err(mysql::Error::MySqlError(error)) if error.code == ER_UNKNOWN_SYSTEM_VARIABLE => {
            Ok(false)
        }
        Err(error) => Err(refused("ask for gman_delivery", &error)),
    }
}
