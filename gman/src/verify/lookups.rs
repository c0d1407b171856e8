//! Keys that lead to a row by another column. If two rows have the same value there, the key leads to
//! either of them.

use std::collections::{BTreeMap, BTreeSet};

use mysql::Conn;

use super::cache::Found;
use super::compare::Reader;
use super::key_text;
use crate::error::Result;
use crate::rows::source::Source;
use crate::triggers::copies;
use crate::worker::change::{Change, Left};

/// A lookup key, and the key of the row that it leads to.
pub(super) type Pair = (String, String);

/// How many rows one statement asks for.
const GROUP: usize = 500;

/// The table of the rows.
pub(super) struct Table<'a> {
    pub(super) source: &'a Source,
    pub(super) reader: &'a Reader,
    /// What the keys of its rows begin with.
    pub(super) prefixes: &'a BTreeSet<String>,
}

/// What the lookup keys of a table begin with, behind the worker's prefix.
pub(super) fn prefixes(source: &Source, prefix: &str) -> Vec<String> {
    let lists = source.hand_overs.iter().filter_map(|hand_over| {
        let (_, list) = hand_over.workload.split_once("lookups")?;
        Some(copies::prefixes(list))
    });
    lists
        .flatten()
        .map(|lookup| format!("{prefix}{lookup}"))
        .collect()
}

/// What a key was found to lead to, if that is another row than the one of the change.
pub(super) fn leads_elsewhere(change: &Change, found: &Found) -> Option<Pair> {
    match (change.leaves(), found) {
        (Left::Name(row), Found::Text(text)) if text != row.as_bytes() => {
            let other = String::from_utf8(text.clone()).ok()?;
            Some((change.key.clone(), other))
        }
        _ => None,
    }
}

/// Those of the pairs that the rows agree with now.
pub(super) fn agreed(
    conn: &mut Conn,
    table: &Table<'_>,
    pairs: &BTreeSet<Pair>,
) -> Result<BTreeSet<Pair>> {
    let conditions: Vec<String> = conditions(conn, table, pairs)?.into_values().collect();
    let mut agreed = BTreeSet::new();
    for group in conditions.chunks(GROUP) {
        for row in table.source.under_any(conn, group)? {
            for change in table.reader.changes(&row)? {
                if let Left::Name(row) = change.leaves() {
                    let row = row.to_owned();
                    agreed.insert((change.key, row));
                }
            }
        }
    }
    Ok(agreed.intersection(pairs).cloned().collect())
}

/// The conditions for the rows that the pairs name, by their keys.
pub(super) fn conditions(
    conn: &mut Conn,
    table: &Table<'_>,
    pairs: &BTreeSet<Pair>,
) -> Result<BTreeMap<String, String>> {
    let mut conditions = BTreeMap::new();
    for prefix in table.prefixes {
        let named = pairs.iter().filter_map(|(_, row)| {
            let text = row.strip_prefix(prefix.as_str())?;
            Some((row, text))
        });
        let (rows, texts): (Vec<&String>, Vec<&str>) = named.unzip();
        if texts.is_empty() {
            continue;
        }
        let found = key_text::conditions(conn, &table.source.key, &texts)?;
        let known = rows.into_iter().zip(found);
        conditions.extend(known.filter_map(|(row, condition)| Some((row.clone(), condition?))));
    }
    Ok(conditions)
}
