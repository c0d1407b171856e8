//! A row's jobs, and what Redis has of them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::cache::Found;
use crate::error::{Error, Result};
use crate::rows::source::{Job, RowJobs};
use crate::terminal::one_line;
use crate::worker::change::{Change, Fields, Left};
use crate::worker::format::{Format, Task};

/// How much of a value a report shows.
const SHOWN_BYTES: usize = 200;

/// Reads jobs as the worker does.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    format: Format,
    row_function: String,
}

/// How a key differs from its row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Difference {
    /// Redis does not have it.
    Missing,
    /// Redis has something else.
    Stale(Vec<ColumnDifference>),
}

/// A column with another value in Redis; `None` for none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ColumnDifference {
    pub(super) column: String,
    pub(super) table: Option<String>,
    pub(super) redis: Option<String>,
}

impl Reader {
    pub(super) fn new(format: Format, row_function: &str) -> Self {
        Self {
            format,
            row_function: row_function.to_owned(),
        }
    }

    /// What a row's jobs do to Redis: to keys of the row, and to those that lead to it.
    ///
    /// # Errors
    ///
    /// If the worker cannot read one.
    pub(super) fn changes(&self, row: &RowJobs) -> Result<Vec<Change>> {
        let mut changes = Vec::with_capacity(row.jobs.len());
        for job in &row.jobs {
            let task = self.task(job)?;
            changes.push(task.change);
            changes.extend(task.lookups);
        }
        Ok(changes)
    }

    fn task(&self, job: &Job) -> Result<Task> {
        let workload = job.workload.as_deref().unwrap_or_default();
        let task = match self.is_keyed(&job.function) {
            true => self.format.keyed_row(workload),
            false => self.format.row(workload),
        };
        task.map_err(|problem| {
            let text = String::from_utf8_lossy(workload);
            Error::failed(format!(
                "a job of {} is none that the worker can read: {problem}; it is {}",
                String::from_utf8_lossy(&job.function),
                one_line(&text, SHOWN_BYTES)
            ))
        })
    }

    /// Whether jobs of a function name their key: those of the row function, and of its lanes.
    pub(super) fn is_keyed(&self, function: &[u8]) -> bool {
        match function.strip_prefix(self.row_function.as_bytes()) {
            Some(rest) => rest.is_empty() || rest.starts_with(b"."),
            None => false,
        }
    }
}

/// How what was found differs from what a change leaves.
pub(super) fn difference(change: &Change, found: &Found) -> Option<Difference> {
    match (change.leaves(), found) {
        (Left::Nothing, Found::Nothing) => None,
        (Left::Nothing, _) => Some(whole(None, Some("another value"))),
        (_, Found::Nothing) => Some(Difference::Missing),
        (Left::Text(text) | Left::Name(text), Found::Text(found)) if text.as_bytes() == found => {
            None
        }
        (Left::Document(json), Found::Text(found)) if is_same_json(json, found) => None,
        (Left::Text(text) | Left::Name(text) | Left::Document(text), Found::Text(found)) => {
            Some(whole(Some(text), Some(&String::from_utf8_lossy(found))))
        }
        (Left::Hash(fields), Found::Hash(found)) => stale(fields, found, true),
        (Left::Fields(fields), Found::Hash(found)) => stale(fields, found, false),
        _ => Some(whole(None, Some("a value of another type"))),
    }
}

/// RedisJSON writes a document in its own way.
fn is_same_json(json: &str, found: &[u8]) -> bool {
    let value = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok();
    value(json.as_bytes()).is_some_and(|json| value(found) == Some(json))
}

/// A difference of what has no columns.
fn whole(table: Option<&str>, redis: Option<&str>) -> Difference {
    let shown = |text: &str| one_line(text, SHOWN_BYTES).into_owned();
    Difference::Stale(vec![ColumnDifference {
        column: String::new(),
        table: table.map(shown),
        redis: redis.map(shown),
    }])
}

fn stale(fields: &Fields, found: &[(Vec<u8>, Vec<u8>)], alone: bool) -> Option<Difference> {
    if are_the_fields(fields, found) {
        return None;
    }
    let found: BTreeMap<&[u8], &[u8]> = found
        .iter()
        .map(|(name, value)| (name.as_slice(), value.as_slice()))
        .collect();
    let shown = |bytes: &[u8]| one_line(&String::from_utf8_lossy(bytes), SHOWN_BYTES).into_owned();
    let mut columns: Vec<ColumnDifference> = fields
        .iter()
        .filter_map(|(column, value)| {
            let redis = found.get(column.as_bytes()).copied();
            let table = value.as_ref().map(String::as_bytes);
            (redis != table).then(|| ColumnDifference {
                column: column.clone(),
                table: table.map(shown),
                redis: redis.map(shown),
            })
        })
        .collect();
    let is_known = |name: &[u8]| str::from_utf8(name).is_ok_and(|name| fields.contains_key(name));
    if alone {
        let others = found.into_iter().filter(|(name, _)| !is_known(name));
        columns.extend(others.map(|(name, value)| ColumnDifference {
            column: shown(name),
            table: None,
            redis: Some(shown(value)),
        }));
    }
    (!columns.is_empty()).then_some(Difference::Stale(columns))
}

/// Whether a hash has these fields and no others. Both are in the order of the names.
fn are_the_fields(fields: &Fields, found: &[(Vec<u8>, Vec<u8>)]) -> bool {
    let of_row = fields
        .iter()
        .filter_map(|(name, value)| Some((name.as_bytes(), value.as_ref()?.as_bytes())));
    of_row.eq(found.iter().map(|(name, value)| (&name[..], &value[..])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::format::Mode;

    fn change(workload: &str) -> Change {
        let format = Format::new(Mode::Set, "");
        let task = format.keyed_row(workload.as_bytes());
        task.expect("a task").change
    }

    fn hash(fields: &[(&str, &str)]) -> Found {
        let bytes = |text: &str| text.as_bytes().to_vec();
        Found::Hash(
            fields
                .iter()
                .map(|(name, value)| (bytes(name), bytes(value)))
                .collect(),
        )
    }

    #[test]
    fn every_difference_is_seen() {
        let row = change(r#"{"key":"k","row":{"a":1,"b":"x","c":null}}"#);
        assert_eq!(difference(&row, &hash(&[("a", "1"), ("b", "x")])), None);
        assert_eq!(difference(&row, &Found::Nothing), Some(Difference::Missing));
        let columns = |found: &Found| match difference(&row, found) {
            Some(Difference::Stale(columns)) => columns
                .into_iter()
                .map(|one| (one.column, one.table, one.redis))
                .collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            columns(&hash(&[("a", "2"), ("c", "y"), ("d", "z")])),
            [
                ("a".to_owned(), text("1"), text("2")),
                ("b".to_owned(), text("x"), None),
                ("c".to_owned(), None, text("y")),
                ("d".to_owned(), None, text("z")),
            ]
        );
        assert_eq!(columns(&Found::OtherType).len(), 1);
        let empty = change(r#"{"key":"k","row":{"c":null}}"#);
        assert_eq!(difference(&empty, &Found::Nothing), None);
    }
}
