//! A table whose triggers send its rows, and the statements that ask for them.

use std::collections::BTreeSet;

use mysql::{Conn, Value};

use super::hand_over::{self, Body, HandOver, ROW, Way};
use super::place::{Key, Part, Place};
use crate::connections::{Ask, each, refused};
use crate::error::{Error, Result};
use crate::sql::{TableName, quoted};
use crate::triggers::describe::{self, Described};

/// What every statement here needs of its session. Without READ COMMITTED, InnoDB would lock gaps between
/// rows as well, and inserts would wait. Whoever waits for a row holds others meanwhile, so it must
/// not wait for long.
const SESSION: [&str; 5] = [
    "SET NAMES utf8mb4",
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
    "SET SESSION innodb_lock_wait_timeout = 1",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION group_concat_max_len = 1048576",
];

/// The most rows that one statement hands over: no part of a table is larger.
const MOST_ROWS: u64 = u32::MAX as u64;

/// `ER_UNKNOWN_SYSTEM_VARIABLE`
const ER_UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;

/// A table, and the jobs that its triggers send for a row.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) name: TableName,
    pub(crate) key: Key,
    pub(crate) way: Way,
    pub(crate) hand_overs: Vec<HandOver>,
    /// Conditions under which the triggers refuse a row.
    refusals: Vec<String>,
    /// Which rows; all of them without it.
    filter: Option<String>,
}

/// A job that a trigger would send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) function: Vec<u8>,
    /// `None` for a row that the triggers would refuse.
    pub(crate) workload: Option<Vec<u8>>,
}

/// The jobs of a row, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowJobs {
    pub(crate) place: Place,
    pub(crate) jobs: Vec<Job>,
}

/// Whether rows are locked until the transaction ends, so that nobody changes them meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    None,
    Shared,
}

impl RowJobs {
    /// The length of its workloads.
    pub(crate) fn bytes(&self) -> usize {
        let workloads = self.jobs.iter().filter_map(|job| job.workload.as_ref());
        workloads.map(Vec::len).sum()
    }
}

impl Lock {
    pub(crate) fn clause(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Shared => " LOCK IN SHARE MODE",
        }
    }
}

impl Source {
    /// Asks for the table and its triggers, and leaves the session as the other functions need it.
    ///
    /// # Errors
    ///
    /// If there is no such table, or no triggers whose jobs can be told from a row.
    pub(crate) fn read(conn: &mut Conn, name: &TableName, filter: Option<&str>) -> Result<Self> {
        let described = describe::describe(conn, name)?;
        let key = Key::new(&described.table.key);
        prepare(conn, name, &key)?;
        let Body {
            hand_overs,
            refusals,
        } = body(&described)?;
        let way = match hand_overs.first() {
            Some(first) if hand_overs.iter().all(|other| other.way == first.way) => {
                first.way.clone()
            }
            _ => {
                return Err(Error::failed(format!(
                    "the triggers of {} hand some jobs over by a function and others by a table; make them \
                     again with gman triggers --create",
                    name.quoted()
                )));
            }
        };
        Ok(Self {
            name: name.clone(),
            key,
            way,
            hand_overs,
            refusals,
            filter: filter.map(str::to_owned),
        })
    }

    /// Those of its rows that fulfil another condition as well.
    pub(crate) fn and(mut self, condition: &str) -> Self {
        self.filter = Some(match self.filter {
            Some(filter) => format!("({filter}) AND {condition}"),
            None => condition.to_owned(),
        });
        self
    }

    /// What the keys of its rows begin with, behind the worker's `prefix`, if the triggers say so.
    pub(crate) fn prefixes(&self, prefix: &str) -> BTreeSet<String> {
        let of_rows = self
            .hand_overs
            .iter()
            .filter(|hand_over| !hand_over.members.is_empty());
        of_rows
            .filter_map(|hand_over| hand_over.prefix.as_ref())
            .map(|of_table| format!("{prefix}{of_table}"))
            .collect()
    }

    /// `FROM` and `WHERE` for rows under a condition.
    pub(crate) fn from(&self, condition: &str) -> String {
        let filter = match &self.filter {
            Some(filter) => format!(" AND ({filter})"),
            None => String::new(),
        };
        format!(
            "FROM {} AS {ROW} FORCE INDEX (PRIMARY) WHERE {condition}{filter}",
            self.name.quoted()
        )
    }

    /// The workload of a hand-over: NULL for a row that the triggers would refuse.
    pub(crate) fn workload(&self, hand_over: &HandOver) -> String {
        match self.refusals.is_empty() {
            true => hand_over.workload.clone(),
            false => format!(
                "IF({}, NULL, {})",
                self.refusals.join(" OR "),
                hand_over.workload
            ),
        }
    }

    /// The jobs of rows under a condition, in the order of their keys.
    pub(crate) fn jobs(
        &self,
        conn: &mut Conn,
        condition: &str,
        lock: Lock,
    ) -> mysql::Result<Vec<RowJobs>> {
        let mut rows = Vec::new();
        self.each(conn, condition, lock, |row| rows.push(row))?;
        Ok(rows)
    }

    /// The jobs of the rows under any of these conditions.
    ///
    /// # Errors
    ///
    /// If the server fails.
    pub(crate) fn under_any(&self, conn: &mut Conn, conditions: &[String]) -> Result<Vec<RowJobs>> {
        if conditions.is_empty() {
            return Ok(Vec::new());
        }
        let condition = format!("({})", conditions.join(" OR "));
        self.jobs(conn, &condition, Lock::None)
            .map_err(|error| refused(format!("read {}", self.name.quoted()), &error))
    }

    /// Hands over the jobs of each of these rows as it comes, so that not all are in memory.
    pub(crate) fn each(
        &self,
        conn: &mut Conn,
        condition: &str,
        lock: Lock,
        mut take: impl FnMut(RowJobs),
    ) -> mysql::Result<()> {
        let mut expressions = vec![self.key.texts()];
        for hand_over in &self.hand_overs {
            expressions.push(hand_over.function.clone());
            expressions.push(self.workload(hand_over));
        }
        let sql = format!(
            "SELECT {} {} ORDER BY {}{}",
            expressions.join(", "),
            self.from(condition),
            self.key.order("ASC"),
            lock.clause()
        );
        each(conn, &sql, MOST_ROWS, |row| take(self.row_jobs(row)))
    }

    fn row_jobs(&self, row: mysql::Row) -> RowJobs {
        let mut values = row.unwrap().into_iter();
        let texts: Vec<String> = values
            .by_ref()
            .take(self.key.columns().len())
            .map(text)
            .collect();
        let mut jobs = Vec::with_capacity(self.hand_overs.len());
        while let (Some(function), Some(workload)) = (values.next(), values.next()) {
            jobs.push(Job {
                function: bytes(function).unwrap_or_default(),
                workload: bytes(workload),
            });
        }
        RowJobs {
            place: self.key.place(texts),
            jobs,
        }
    }

    /// The last row of a table: those that are inserted behind it have their triggers.
    pub(crate) fn last(&self, conn: &mut Conn) -> Result<Option<Place>> {
        let order = self.key.order("DESC");
        self.place(conn, "TRUE", &format!("{order} LIMIT 1"))
    }

    /// Where a part of `rows` rows ends that begins as `rest` does; where `rest` ends, if it has no more.
    pub(crate) fn end_of(&self, conn: &mut Conn, rest: &Part, rows: u64) -> Result<Option<Place>> {
        let order = self.key.order("ASC");
        let skip = rows.saturating_sub(1);
        let end = self.place(
            conn,
            &self.key.is_in(rest),
            &format!("{order} LIMIT {skip}, 1"),
        )?;
        Ok(end.or_else(|| rest.up_to.clone()))
    }

    fn place(&self, conn: &mut Conn, condition: &str, order: &str) -> Result<Option<Place>> {
        let sql = format!(
            "SELECT {} FROM {} AS {ROW} FORCE INDEX (PRIMARY) WHERE {condition} ORDER BY {order}",
            self.key.texts(),
            self.name.quoted()
        );
        let row: Option<mysql::Row> = conn
            .ask_first(sql)
            .map_err(|error| refused(format!("read {}", self.name.quoted()), &error))?;
        Ok(row.map(|row| self.key.place(row.unwrap().into_iter().map(text))))
    }

    /// How many rows the server believes that the table has.
    pub(crate) fn estimate(&self, conn: &mut Conn) -> Result<u64> {
        let sql = "SELECT COALESCE(TABLE_ROWS, 0) FROM information_schema.TABLES
                   WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?";
        let names = (&self.name.database, &self.name.table);
        let rows: Option<u64> = conn
            .ask_first_with(sql, names)
            .map_err(|error| refused("ask for the size of the table", &error))?;
        Ok(rows.unwrap_or(0))
    }
}

/// What the triggers do for a row that has its present values: those for INSERT say it, or else those
/// for UPDATE.
fn body(described: &Described) -> Result<Body> {
    let name = described.table.name.quoted();
    for event in ["INSERT", "UPDATE"] {
        let mut all = Body::default();
        for trigger in &described.triggers {
            if trigger.event != event {
                continue;
            }
            let read = hand_over::read(&trigger.body).map_err(|reason| {
                Error::failed(format!(
                    "cannot tell the jobs of {name} from its trigger {}: {reason}; make the triggers with \
                     gman triggers --create",
                    quoted(&trigger.name.table)
                ))
            })?;
            all.hand_overs.extend(read.hand_overs);
            all.refusals.extend(read.refusals);
        }
        if !all.hand_overs.is_empty() {
            return Ok(all);
        }
    }
    Err(Error::failed(format!(
        "{name} has no triggers that send its rows, so what is written meanwhile would be missed; create \
         them first: gman triggers --create"
    )))
}

/// Makes the session one that the statements mean the same in as the triggers do.
fn prepare(conn: &mut Conn, name: &TableName, key: &Key) -> Result {
    let what = "prepare the session";
    let mut statements: Vec<String> = SESSION.map(str::to_owned).to_vec();
    statements.push(format!("USE {}", quoted(&name.database)));
    if key.has_timestamp() {
        // Elsewhere two times may read the same, when clocks are put back.
        statements.push("SET SESSION time_zone = '+00:00'".to_owned());
    }
    for sql in statements {
        match conn.run(&sql) {
            // A server without InnoDB.
            Err(mysql::Error::MySqlError(error)) if error.code == ER_UNKNOWN_SYSTEM_VARIABLE => {}
            done => done.map_err(|error| refused(what, &error))?,
        }
    }
    Ok(())
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        Value::NULL => None,
        other => Some(other.as_sql(true).into_bytes()),
    }
}

fn text(value: Value) -> String {
    String::from_utf8_lossy(&bytes(value).unwrap_or_default()).into_owned()
}
