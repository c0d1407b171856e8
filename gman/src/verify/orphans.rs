//! Keys without a row. What begins with a table's prefix and can be the key of a row is one of the table's.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use mysql::Conn;

use super::cache::Cache;
use super::first_look::Seen;
use super::key_text;
use super::lookups::{self, Pair};
use super::options::Options;
use super::report::{Orphan, Orphans, Report};
use super::second_look::{CONFIRMATIONS, GROUP, SecondLook};
use crate::error::Result;

/// How many keys are kept before they are looked at again.
const SUSPECTS: usize = 50_000;

/// Looks at all keys that begin with the table's prefix.
///
/// # Errors
///
/// If a server fails.
pub(super) fn find(
    conn: &mut Conn,
    cache: &mut Cache,
    options: &Options,
    look: &mut SecondLook<'_>,
    seen: &Seen,
    report: &mut Report,
) -> Result {
    report.looked_for_orphans = !look.prefixes.is_empty() && options.filter.is_none();
    if !report.looked_for_orphans {
        return Ok(());
    }
    let table = Table {
        look,
        lookups: lookups::prefixes(look.source, &options.rows.prefix),
    };
    for prefix in &look.prefixes {
        let mut suspects = Orphans::new();
        cache.scan(prefix, |cache, keys| {
            let unknown: Vec<String> = keys
                .into_iter()
                .filter(|key| !seen.has(key) && is_in_sample(key, options.sample))
                .collect();
            suspects.extend(table.without_rows(conn, cache, prefix, &unknown, report)?);
            if suspects.len() >= SUSPECTS {
                let suspects = std::mem::take(&mut suspects);
                table.look_again(conn, cache, prefix, suspects, report)?;
            }
            Ok(())
        })?;
        table.look_again(conn, cache, prefix, suspects, report)?;
    }
    Ok(())
}

fn is_in_sample(key: &str, percent: Option<f64>) -> bool {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let share = hasher.finish() as f64 / u64::MAX as f64;
    percent.is_none_or(|percent| share < percent / 100.0)
}

/// A table whose keys are looked at.
struct Table<'a> {
    look: &'a SecondLook<'a>,
    /// What its lookup keys begin with.
    lookups: Vec<String>,
}

impl Table<'_> {
    /// Those of the keys that have no row now, but could have one.
    fn without_rows(
        &self,
        conn: &mut Conn,
        cache: &mut Cache,
        prefix: &str,
        keys: &[String],
        report: &mut Report,
    ) -> Result<Orphans> {
        let is_lookup = |key: &&String| self.lookups.iter().any(|lookup| key.starts_with(lookup));
        let (lookups, keys): (Vec<&String>, Vec<&String>) = keys.iter().partition(is_lookup);
        let mut orphans = Orphans::new();
        for group in keys.chunks(GROUP) {
            let texts: Vec<&str> = group.iter().map(|key| &key[prefix.len()..]).collect();
            let conditions = key_text::conditions(conn, &self.look.source.key, &texts)?;
            let known = conditions.iter().flatten().cloned().collect::<Vec<_>>();
            let there = keys_of(conn, self.look, &known)?;
            for (key, condition) in group.iter().zip(conditions) {
                match condition {
                    None => report.other_keys += 1,
                    Some(condition) if !there.contains(*key) => {
                        let leads_to = None;
                        orphans.insert(
                            (*key).clone(),
                            Orphan {
                                condition,
                                leads_to,
                            },
                        );
                    }
                    Some(_) => {}
                }
            }
        }
        for group in lookups.chunks(GROUP) {
            orphans.extend(self.leading_nowhere(conn, cache, group)?);
        }
        Ok(orphans)
    }

    /// Those of the lookup keys whose rows do not have their value now.
    fn leading_nowhere(
        &self,
        conn: &mut Conn,
        cache: &mut Cache,
        keys: &[&String],
    ) -> Result<Orphans> {
        let keys: Vec<String> = keys.iter().copied().cloned().collect();
        let rows = cache.texts(&keys)?;
        // A key without a text has gone meanwhile, or is somebody else's.
        let pairs: BTreeSet<Pair> = keys
            .into_iter()
            .zip(rows)
            .filter_map(|(key, row)| Some((key, row?)))
            .collect();
        let agreed = lookups::agreed(conn, &self.look.table(), &pairs)?;
        let wrong: BTreeSet<Pair> = pairs.difference(&agreed).cloned().collect();
        let conditions = lookups::conditions(conn, &self.look.table(), &wrong)?;
        let orphan = |(key, row): Pair| {
            // What is no row's key is no row to be locked.
            let condition = conditions.get(&row).map_or("FALSE", String::as_str);
            let condition = condition.to_owned();
            let leads_to = Some(row);
            (
                key,
                Orphan {
                    condition,
                    leads_to,
                },
            )
        };
        Ok(wrong.into_iter().map(orphan).collect())
    }

    /// Reports the keys that are there and have no row, with the same value several times in succession, each time
    /// after everything that had been handed over has arrived. Another value means that there was a row
    /// meanwhile, whose end is under way.
    fn look_again(
        &self,
        conn: &mut Conn,
        cache: &mut Cache,
        prefix: &str,
        mut suspects: Orphans,
        report: &mut Report,
    ) -> Result {
        let mut before: BTreeMap<String, i64> = BTreeMap::new();
        for _ in 0..=CONFIRMATIONS {
            if suspects.is_empty() {
                return Ok(());
            }
            self.look.drain(conn, cache)?;
            let keys: Vec<String> = suspects.into_keys().collect();
            let values = cache.fingerprints(&keys)?;
            let mut values: BTreeMap<String, i64> = keys
                .into_iter()
                .zip(values)
                .filter_map(|(key, value)| Some((key, value?)))
                .collect();
            let there = values.len();
            values.retain(|key, value| before.get(key).is_none_or(|before| before == value));
            report.in_motion += (there - values.len()) as u64;
            let keys: Vec<String> = values.keys().cloned().collect();
            let other_keys = report.other_keys;
            suspects = self.without_rows(conn, cache, prefix, &keys, report)?;
            report.other_keys = other_keys;
            before = values;
        }
        report.add_orphans(suspects);
        Ok(())
    }
}

/// The keys of the rows under any of these conditions.
pub(super) fn keys_of(
    conn: &mut Conn,
    look: &SecondLook<'_>,
    conditions: &[String],
) -> Result<BTreeSet<String>> {
    let rows = look.source.under_any(conn, conditions)?;
    let mut keys = BTreeSet::new();
    for row in &rows {
        keys.extend(
            look.reader
                .changes(row)?
                .into_iter()
                .map(|change| change.key),
        );
    }
    Ok(keys)
}
