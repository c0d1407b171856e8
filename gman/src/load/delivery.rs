//! How the jobs of a part's rows are handed over, while its rows are locked.

use std::fmt::{self, Display};
use std::thread;
use std::time::{Duration, Instant};

use mysql::{Conn, Value};

use super::parcels::parcels;
use super::statements::Target;
use crate::connections::{Ask, refused};
use crate::error::{Error, Result};
use crate::rows::hand_over::Way;
use crate::rows::place::Place;
use crate::rows::source::{Lock, RowJobs, Source};

// Numbers of errors, the same for both families.
const ER_UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;
const ER_LOCK_WAIT_TIMEOUT: u16 = 1205;
const ER_LOCK_DEADLOCK: u16 = 1213;
const ER_SP_DOES_NOT_EXIST: u16 = 1305;
/// What the functions fail with.
const ER_UNKNOWN_ERROR: u16 = 1105;

/// How long one statement for the outbox may be, unless the server takes less.
const STATEMENT_BYTES: usize = 1 << 20;

/// How many bytes of workloads are taken into memory at once, and those of one row.
const PART_BYTES: usize = 8 << 20;

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
pub(crate) struct Delivery {
    route: Route,
    rows_per_job: usize,
}

/// Which way jobs take.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Route {
    /// In batches that the job server acknowledges before the rows are unlocked.
    Batch,
    /// Through the window, if there is one; or in the transaction that locks the rows.
    To(Target),
}

/// What was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) rows: u64,
    /// The last row, if there were too many bytes to take those behind it, too.
    pub(crate) cut_at: Option<Place>,
}

impl Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.route {
            Route::Batch => f.write_str("to the job server in batches")?,
            Route::To(Target::Function(function)) => {
                write!(f, "to the job server by {function}")?;
            }
            Route::To(Target::Outbox(table)) => write!(f, "by the outbox {table}")?,
        }
        match self.rows_per_job {
            1 => Ok(()),
            rows => write!(f, ", {rows} rows in a job"),
        }
    }
}

impl Delivery {
    /// That of the table's triggers, as the server is set now.
    ///
    /// # Errors
    ///
    /// If the server lacks a function.
    pub(crate) fn of(conn: &mut Conn, source: &Source, rows_per_job: usize) -> Result<Self> {
        Ok(Self {
            route: route(conn, source, rows_per_job)?,
            rows_per_job,
        })
    }

    /// Hands over the jobs of the rows under a condition.
    ///
    /// # Errors
    ///
    /// Why not all of them left. Then some may have: they can be sent again.
    pub(crate) fn hand_over(
        &self,
        conn: &mut Conn,
        source: &Source,
        condition: &str,
    ) -> std::result::Result<Sent, Trouble> {
        match &self.route {
            Route::Batch => batch(conn, source, condition),
            Route::To(Target::Function(function)) if self.rows_per_job == 1 => {
                call(conn, source, function, condition)
            }
            Route::To(target) => {
                let sent = self.in_a_transaction(conn, source, target, condition);
                if sent.is_err() {
                    // If this fails too, the session has ended, and the transaction with it.
                    let _ = conn.run("ROLLBACK");
                }
                sent
            }
        }
    }

    /// All rows are locked before the first job is handed over. For the outbox, an INSERT ... SELECT would
    /// hold the lock of the counter, which writers need, while it waits for a row that one of them has.
    fn in_a_transaction(
        &self,
        conn: &mut Conn,
        source: &Source,
        target: &Target,
        condition: &str,
    ) -> std::result::Result<Sent, Trouble> {
        let failed = |error: mysql::Error| trouble(source, &error);
        conn.run("START TRANSACTION").map_err(failed)?;
        let (mut rows, mut bytes, mut is_cut) = (Vec::new(), 0, false);
        source
            .each(conn, condition, Lock::Shared, |row| {
                is_cut = is_cut || bytes > PART_BYTES;
                if !is_cut {
                    bytes += row.bytes();
                    rows.push(row);
                }
            })
            .map_err(failed)?;
        let parcels = parcels(&rows, self.rows_per_job)
            .map_err(|row| Trouble::Final(refused_by_the_triggers(source, row)))?;
        let most: Option<usize> = conn
            .ask_first("SELECT @@max_allowed_packet")
            .map_err(failed)?;
        let most = most.map_or(STATEMENT_BYTES, |most| STATEMENT_BYTES.min(most / 2));
        for sql in target.statements(source, &parcels, most) {
            let failures: Option<mysql::Row> = conn.ask_first(sql).map_err(failed)?;
            let failures = failures.map(mysql::Row::unwrap).unwrap_or_default();
            if failures
                .iter()
                .any(|failed| *failed != Value::Bytes(b"0".to_vec()))
            {
                return Err(Trouble::Passing(not_taken()));
            }
        }
        conn.run("COMMIT").map_err(failed)?;
        let last = rows.last().map(|row| row.place.clone());
        Ok(Sent {
            rows: rows.len() as u64,
            cut_at: last.filter(|_| is_cut),
        })
    }

    /// Waits until a job server has what was left in the window.
    ///
    /// # Errors
    ///
    /// If nothing leaves.
    pub(crate) fn finish(&self, conn: &mut Conn) -> Result {
        if !matches!(self.route, Route::To(Target::Function(_))) {
            return Ok(());
        }
        let (mut left, mut since) = (u64::MAX, Instant::now());
        loop {
            let now: Option<u64> = conn
                .ask_first("SELECT gman_flush()")
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

impl Sent {
    /// Rows that the server has sent by itself.
    fn unseen(rows: u64) -> Self {
        Self { rows, cut_at: None }
    }
}

fn route(conn: &mut Conn, source: &Source, rows_per_job: usize) -> Result<Route> {
    let function = match &source.way {
        Way::Outbox(table) => return Ok(Route::To(Target::Outbox(table.clone()))),
        Way::Call(function) => *function,
    };
    if error_of(conn, &format!("SELECT {function}()"))? == Some(ER_SP_DOES_NOT_EXIST) {
        return Err(missing(function));
    }
    if is_stored(conn, function)? {
        return Ok(Route::To(Target::Outbox("`gman_outbox`".to_owned())));
    }
    if rows_per_job > 1 || function != "gman_do_background" || has_window(conn)? {
        return Ok(Route::To(Target::Function(function)));
    }
    match error_of(conn, "SELECT gman_relay()")? {
        Some(ER_SP_DOES_NOT_EXIST) => Err(missing("gman_relay")),
        _ => Ok(Route::Batch),
    }
}

/// One statement; the aggregate returns when every job is acknowledged.
fn batch(conn: &mut Conn, source: &Source, condition: &str) -> std::result::Result<Sent, Trouble> {
    let counters = (0..source.hand_overs.len()).map(|n| format!("@gman_load_{n}"));
    let counters: Vec<String> = counters.collect();
    let zero: Vec<String> = counters.iter().map(|name| format!("{name} = 0")).collect();
    conn.run(format!("SET {}", zero.join(", ")))
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
        return Ok(Sent::unseen(counts[0]));
    }
    let reason: Option<Option<String>> = conn
        .ask_first("SELECT gman_relay_error()")
        .map_err(|error| trouble(source, &error))?;
    Err(Trouble::Passing(reason.flatten().unwrap_or_else(not_taken)))
}

/// One statement, whose jobs leave as those of a trigger do.
fn call(
    conn: &mut Conn,
    source: &Source,
    function: &str,
    condition: &str,
) -> std::result::Result<Sent, Trouble> {
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
        true => Ok(Sent::unseen(counts[0])),
        false => Err(Trouble::Passing(not_taken())),
    }
}

fn not_taken() -> String {
    "no job server took all jobs; SELECT gman_check() says why".to_owned()
}

/// The numbers of a row, 0 for NULL.
fn counts(conn: &mut Conn, source: &Source, sql: &str) -> std::result::Result<Vec<u64>, Trouble> {
    let row: Option<mysql::Row> = conn
        .ask_first(sql)
        .map_err(|error| trouble(source, &error))?;
    let values = row.map(mysql::Row::unwrap).unwrap_or_default();
    let number = |value| mysql::from_value_opt::<Option<u64>>(value).ok().flatten();
    Ok(values
        .into_iter()
        .map(|value| number(value).unwrap_or(0))
        .collect())
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

/// Whether the function is the outbox's, which is stored in the table's schema.
fn is_stored(conn: &mut Conn, function: &str) -> Result<bool> {
    let sql = "SELECT COUNT(*) FROM information_schema.ROUTINES
               WHERE ROUTINE_SCHEMA = DATABASE() AND ROUTINE_NAME = ?";
    let found: Option<u64> = conn
        .ask_first_with(sql, (function,))
        .map_err(|error| refused("look for the functions", &error))?;
    Ok(found.unwrap_or(0) > 0)
}

/// The number of the error of a statement that needs no success.
fn error_of(conn: &mut Conn, sql: &str) -> Result<Option<u16>> {
    match conn.run(sql) {
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
    match conn.ask_first::<String>("SELECT @@GLOBAL.gman_delivery") {
        Ok(delivery) => Ok(delivery.is_some_and(|delivery| delivery != "acked")),
        // Without the plugin every job is acknowledged.
        Err(mysql::Error::MySqlError(error)) if error.code == ER_UNKNOWN_SYSTEM_VARIABLE => {
            Ok(false)
        }
        Err(error) => Err(refused("ask for gman_delivery", &error)),
    }
}
