//! Reads rows of the outbox.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use mysql::prelude::Queryable;
use mysql::{Conn, Row as Columns};

use super::flight::{Function, Snapshot};

/// Rows up to this size are read with others; a larger one by itself. So what a batch takes is bounded.
const INLINE_BYTES: u64 = 16 * 1024;

/// How many ids go into one list: MariaDB makes a join of a longer one, which promises no order.
pub(super) const LIST: usize = 900;

/// How many runs of rows that are under way a search steps over: each makes the statement longer.
const MOST_RUNS: usize = 16;

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
    let runs = longest_runs(&under_way.rows);
    let stepped_over: u64 = runs.iter().map(|run| run.end() - run.start() + 1).sum();
    let limit = (most + under_way.rows.len()) as u64 - stepped_over;
    let (except, not_among) = (except(&under_way.full), not_among(&runs));
    let sql = format!(
        "SELECT id, `function`, IF(id > {known} AND LENGTH(workload) <= {INLINE_BYTES}, workload, NULL), LENGTH(workload)
           FROM gman_outbox FORCE INDEX (PRIMARY)
          WHERE id >= {from}{not_among}{except} AND NOT @@GLOBAL.read_only ORDER BY id LIMIT {limit}"
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
    found.add_under_way(from, under_way);
    // What is gone was deleted by somebody else.
    let is_there = |row: &Row| row.workload.is_some() || row.is_large();
    found.rows.retain(is_there);
    Ok(found)
}

impl Found {
    /// Adds what the search has stepped over, up to the last row that it found.
    fn add_under_way(&mut self, from: u64, under_way: &Snapshot) {
        if let Some(&last) = self.ids.last()
            && from <= last
        {
            self.ids.extend(under_way.rows.range(from..=last));
            self.ids.sort_unstable();
            self.ids.dedup();
        }
    }
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

/// The longest runs of ids without a gap, in their order. No other row can be in one: its ids are all taken.
fn longest_runs(ids: &BTreeSet<u64>) -> Vec<RangeInclusive<u64>> {
    let mut runs: Vec<RangeInclusive<u64>> = Vec::new();
    for &id in ids {
        match runs.last_mut() {
            Some(run) if run.end() + 1 == id => *run = *run.start()..=id,
            _ => runs.push(id..=id),
        }
    }
    runs.sort_unstable_by_key(|run| std::cmp::Reverse(run.end() - run.start()));
    runs.truncate(MOST_RUNS);
    runs.sort_unstable_by_key(|run| *run.start());
    runs
}

fn not_among(runs: &[RangeInclusive<u64>]) -> String {
    runs.iter()
        .map(|run| format!(" AND id NOT BETWEEN {} AND {}", run.start(), run.end()))
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_runs_are_stepped_over() {
        assert_eq!(longest_runs(&BTreeSet::new()), []);
        let ids = BTreeSet::from([3, 4, 5, 7, 9, 10]);
        assert_eq!(longest_runs(&ids), [3..=5, 7..=7, 9..=10]);
        assert_eq!(
            not_among(&longest_runs(&ids)),
            " AND id NOT BETWEEN 3 AND 5 AND id NOT BETWEEN 7 AND 7 AND id NOT BETWEEN 9 AND 10"
        );
        let odd: BTreeSet<u64> = (0..100).map(|n| 2 * n + 1).chain([2]).collect();
        let runs = longest_runs(&odd);
        assert_eq!((runs.len(), &runs[0]), (MOST_RUNS, &(1..=3)));
    }

    #[test]
    fn functions_whose_lanes_take_no_more_are_left_out() {
        assert_eq!(except(&BTreeSet::new()), "");
        let full = BTreeSet::from([b"f".to_vec(), b"'\x0f".to_vec()]);
        assert_eq!(
            except(&full),
            " AND `function` NOT IN (CONVERT(X'270f' USING utf8mb4),CONVERT(X'66' USING utf8mb4))"
        );
    }

    #[test]
    fn what_was_stepped_over_is_among_what_was_searched() {
        let mut under_way = Snapshot::default();
        under_way.rows.extend([1, 2, 3, 6, 9]);
        let mut found = Found {
            ids: vec![5, 6, 7],
            rows: Vec::new(),
        };
        found.add_under_way(2, &under_way);
        assert_eq!(found.ids, [2, 3, 5, 6, 7]);
        found.ids.clear();
        found.add_under_way(2, &under_way);
        assert_eq!(found.ids, [0; 0]);
    }
}
