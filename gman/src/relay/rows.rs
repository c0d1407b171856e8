//! Reads rows of the outbox.

use std::collections::BTreeSet;

use mysql::prelude::Queryable;
use mysql::{Conn, Row as Columns};

use super::flight::{Function, Snapshot};

/// Rows up to this size are read with others; a larger one by itself. So what a batch takes is bounded.
const INLINE_BYTES: u64 = 16 * 1024;

/// How many ids go into one list: MariaDB makes a join of a longer one, which promises no order.
pub(super) const LIST: usize = 900;

/// A row, with its workload or without.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: u64,
    pub(super) function: Function,
    /// `None` until it has been read.
    pub(super) workload: Option<Vec<u8>>,
    /// Of the workload.
    pub(super) bytes: u64,
}

/// What a search has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// All ids, those that are under way among them.
    pub(super) ids: Vec<u64>,
    /// The rows that are not, in the order of their ids.
    pub(super) rows: Vec<Row>,
}

/// The rows from `from` on that lanes would take, `most` of them at most; none of a server that is
/// read-only. It is one statement, as only one sees either both or neither of two changes of a row.
pub(super) fn search(
    conn: &mut Conn,
    from: u64,
    most: usize,
    under_way: &Snapshot,
) -> mysql::Result<Found> {
    // What is under way has been read before, and most of what is new has higher ids.
    let known = under_way.rows.last().copied().unwrap_or(0);
    let limit = most + under_way.rows.len();
    let except = except(&under_way.full);
    let sql = format!(
        "SELECT id, `function`, IF(id > {known} AND LENGTH(workload) <= {INLINE_BYTES}, workload, NULL), LENGTH(workload)
           FROM gman_outbox FORCE INDEX (PRIMARY)
          WHERE id >= {from}{except} AND NOT @@GLOBAL.read_only ORDER BY id LIMIT {limit}"
    );
    let mut found = Found::default();
    let mut missing = Vec::new();
    for columns in conn.query_iter(sql)? {
        let (id, function, workload, bytes) = parse(columns?);
        found.ids.push(id);
        if under_way.rows.contains(&id) {
            continue;
        }
        let row = Row {
            id,
            function,
            workload,
            bytes,
        };
        if row.workload.is_none() && !row.is_large() {
            missing.push(id);
        }
        found.rows.push(row);
    }
    for ids in missing.chunks(LIST) {
        fill_in(conn, ids, &mut found.rows)?;
    }
    // What is gone was deleted by somebody else.
    let is_there = |row: &Row| row.workload.is_some() || row.is_large();
    found.rows.retain(is_there);
    Ok(found)
}

/// Reads the workload of a large row; it stays `None` if somebody has deleted the row.
pub(super) fn fetch(conn: &mut Conn, row: &mut Row) -> mysql::Result<()> {
    fill_in(conn, &[row.id], std::slice::from_mut(row))
}

impl Row {
    /// Whether it is read, and submitted, by itself.
    pub(super) fn is_large(&self) -> bool {
        self.bytes > INLINE_BYTES
    }
}

/// The lowest id from `from` on, of any transaction, committed or not.
pub(super) fn dirty_lowest(conn: &mut Conn, from: u64) -> mysql::Result<Option<u64>> {
    conn.query_drop("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")?;
    // Every server looks a MIN up in the index.
    let lowest = conn.query_first(format!(
        "SELECT MIN(id) FROM gman_outbox WHERE id >= {from}"
    ))?;
    Ok(lowest.flatten())
}

/// Reads the workloads of rows, which are in the order of their ids.
fn fill_in(conn: &mut Conn, ids: &[u64], rows: &mut [Row]) -> mysql::Result<()> {
    let list = list(ids);
    let sql = format!("SELECT id, workload FROM gman_outbox WHERE id IN ({list})");
    for row in conn.query_iter(sql)? {
        let (id, workload): (u64, Vec<u8>) = mysql::from_row(row?);
        if let Ok(place) = rows.binary_search_by_key(&id, |row| row.id) {
            rows[place].workload = Some(workload);
        }
    }
    Ok(())
}

/// Ids with commas between them.
pub(super) fn list(ids: &[u64]) -> String {
    let texts: Vec<String> = ids.iter().map(u64::to_string).collect();
    texts.join(",")
}

fn except(functions: &BTreeSet<Function>) -> String {
    if functions.is_empty() {
        return String::new();
    }
    let names: Vec<String> = functions
        .iter()
        .map(|name| format!("CONVERT(X'{}' USING utf8mb4)", hexadecimal(name)))
        .collect();
    format!(" AND `function` NOT IN ({})", names.join(","))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse(columns: Columns) -> (u64, Function, Option<Vec<u8>>, u64) {
    mysql::from_row(columns)
}
