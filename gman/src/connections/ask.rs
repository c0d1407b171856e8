//! Questions to a database server, with a bound on what it can answer: one that never comes to an end would keep
//! us for ever, or fill our memory.

use std::io;
use std::mem;

use mysql::prelude::{FromRow, Protocol, Queryable};
use mysql::{Conn, Params, QueryResult, Row, Value, from_row_opt};

/// The most rows that are taken for an answer: more than any server has tables, routines or triggers.
const MOST_ROWS: usize = 10_000_000;

/// The most bytes of them: the definitions of all routines are the most that is asked for.
const MOST_BYTES: usize = 256 << 20;

/// As the crate's own `Queryable`, with these bounds; and a value of another type than was asked for is an
/// error and no panic.
pub(crate) trait Ask {
    /// All rows.
    fn ask<T: FromRow>(&mut self, sql: impl AsRef<str>) -> mysql::Result<Vec<T>>;

    /// All rows of a statement with parameters.
    fn ask_with<T: FromRow>(
        &mut self,
        sql: impl AsRef<str>,
        params: impl Into<Params>,
    ) -> mysql::Result<Vec<T>>;

    /// The first row.
    fn ask_first<T: FromRow>(&mut self, sql: impl AsRef<str>) -> mysql::Result<Option<T>>;

    /// The first row of a statement with parameters.
    fn ask_first_with<T: FromRow>(
        &mut self,
        sql: impl AsRef<str>,
        params: impl Into<Params>,
    ) -> mysql::Result<Option<T>>;

    /// Runs a statement whose answer is of no interest.
    fn run(&mut self, sql: impl AsRef<str>) -> mysql::Result<()>;
}

impl Ask for Conn {
    fn ask<T: FromRow>(&mut self, sql: impl AsRef<str>) -> mysql::Result<Vec<T>> {
        converted(rows(self.query_iter(sql)?)?)
    }

    fn ask_with<T: FromRow>(
        &mut self,
        sql: impl AsRef<str>,
        params: impl Into<Params>,
    ) -> mysql::Result<Vec<T>> {
        converted(rows(self.exec_iter(sql.as_ref(), params)?)?)
    }

    fn ask_first<T: FromRow>(&mut self, sql: impl AsRef<str>) -> mysql::Result<Option<T>> {
        Ok(self.ask(sql)?.into_iter().next())
    }

    fn ask_first_with<T: FromRow>(
        &mut self,
        sql: impl AsRef<str>,
        params: impl Into<Params>,
    ) -> mysql::Result<Option<T>> {
        Ok(self.ask_with(sql, params)?.into_iter().next())
    }

    fn run(&mut self, sql: impl AsRef<str>) -> mysql::Result<()> {
        rows(self.query_iter(sql)?).map(drop)
    }
}

/// Hands rows over as they come.
///
/// # Errors
///
/// As the crate, and if there are more than `most`.
pub(crate) fn each(
    conn: &mut Conn,
    sql: &str,
    most: u64,
    mut take: impl FnMut(Row),
) -> mysql::Result<()> {
    let mut result = conn.query_iter(sql)?;
    let mut taken = 0;
    while let Some(row) = result.next() {
        take(row?);
        taken += 1;
        if taken > most {
            mem::forget(result);
            return Err(endless());
        }
    }
    Ok(())
}

/// All rows.
fn rows<P: Protocol>(mut result: QueryResult<'_, '_, '_, P>) -> mysql::Result<Vec<Row>> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(row) = result.next() {
        let row = row?;
        bytes += size(&row);
        rows.push(row);
        if rows.len() > MOST_ROWS || bytes > MOST_BYTES {
            // Dropped, it would read what is left. The connection is of no use any more.
            mem::forget(result);
            return Err(endless());
        }
    }
    Ok(rows)
}

fn endless() -> mysql::Error {
    io::Error::other("it sends rows without end").into()
}

/// How much memory a row takes, about.
fn size(row: &Row) -> usize {
    let values = (0..row.len()).filter_map(|column| row.as_ref(column));
    let bytes = values.map(|value| match value {
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    });
    size_of::<Row>() + row.len() * size_of::<Value>() + bytes.sum::<usize>()
}

fn converted<T: FromRow>(rows: Vec<Row>) -> mysql::Result<Vec<T>> {
    rows.into_iter()
        .map(|row| from_row_opt(row).map_err(|error| mysql::Error::FromRowError(error.0)))
        .collect()
}
