//! Keys without a row. What begins with a table's prefix and can be the key of a row is one of the table's.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use mysql::Conn;

use super::cache::Cache;
use super::first_look::Seen;
use super::key_text;
use super::options::Options;
use super::report::{Orphans, Report};
use super::second_look::{CONFIRMATIONS, SecondLook};
use crate::connections::refused;
use crate::error::Result;
use crate::rows::source::Lock;
use crate::triggers::copies;

/// How many rows one statement asks for.
const GROUP: usize = 500;

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
    let of_rows = |hand_over: &&crate::rows::hand_over::HandOver| !hand_over.members.is_empty();
    let prefixes: BTreeSet<String> = look
        .source
        .hand_overs
        .iter()
        .filter(of_rows)
        .filter_map(|hand_over| hand_over.prefix.as_ref())
        .map(|prefix| format!("{}{prefix}", options.rows.prefix))
        .collect();
    report.looked_for_orphans = !prefixes.is_empty() && options.filter.is_none();
    if !report.looked_for_orphans {
        return Ok(());
    }
    let lookups = lookups(look, &options.rows.prefix);
    for prefix in &prefixes {
        let mut suspects = Orphans::new();
        cache.scan(prefix, |cache, keys| {
            let unknown: Vec<String> = keys
                .into_iter()
                .filter(|key| !seen.has(key) && is_in_sample(key, options.sample))
                .filter(|key| !lookups.iter().any(|lookup| key.starts_with(lookup)))
                .collect();
            suspects.extend(without_rows(conn, look, prefix, &unknown, report)?);
            if suspects.len() >= SUSPECTS {
                look_again(
                    conn,
                    cache,
                    look,
                    prefix,
                    std::mem::take(&mut suspects),
                    report,
                )?;
            }
            Ok(())
        })?;
        look_again(conn, cache, look, prefix, suspects, report)?;
    }
    Ok(())
}

/// What the keys begin with that lead to a row by other columns. They have no row of their own.
fn lookups(look: &SecondLook<'_>, prefix: &str) -> Vec<String> {
    let lists = look.source.hand_overs.iter().filter_map(|hand_over| {
        let (_, list) = hand_over.workload.split_once("lookups")?;
        Some(copies::prefixes(list))
    });
    lists
        .flatten()
        .map(|lookup| format!("{prefix}{lookup}"))
        .collect()
}

fn is_in_sample(key: &str, percent: Option<f64>) -> bool {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let share = hasher.finish() as f64 / u64::MAX as f64;
    percent.is_none_or(|percent| share < percent / 100.0)
}

/// Those of the keys that have no row now, but could have one.
fn without_rows(
    conn: &mut Conn,
    look: &SecondLook<'_>,
    prefix: &str,
    keys: &[String],
    report: &mut Report,
) -> Result<Orphans> {
    let mut orphans = Orphans::new();
    for group in keys.chunks(GROUP) {
        let texts: Vec<&str> = group.iter().map(|key| &key[prefix.len()..]).collect();
        let conditions = key_text::conditions(conn, &look.source.key, &texts)?;
        let known = conditions.iter().flatten().cloned().collect::<Vec<_>>();
        let there = keys_of(conn, look, &known)?;
        for (key, condition) in group.iter().zip(conditions) {
            match condition {
                None => report.other_keys += 1,
                Some(condition) if !there.contains(key) => {
                    orphans.insert(key.clone(), condition);
                }
                Some(_) => {}
            }
        }
    }
    Ok(orphans)
}

/// The keys of the rows under any of these conditions.
pub(super) fn keys_of(
    conn: &mut Conn,
    look: &SecondLook<'_>,
    conditions: &[String],
) -> Result<BTreeSet<String>> {
    if conditions.is_empty() {
        return Ok(BTreeSet::new());
    }
    let condition = format!("({})", conditions.join(" OR "));
    let rows = look
        .source
        .jobs(conn, &condition, Lock::None)
        .map_err(|error| refused(format!("read {}", look.source.name.quoted()), &error))?;
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

/// Reports the keys that are there and have no row, with the same value several times in succession, each time
/// after everything that had been handed over has arrived. Another value means that there was a row
/// meanwhile, whose end is under way.
fn look_again(
    conn: &mut Conn,
    cache: &mut Cache,
    look: &SecondLook<'_>,
    prefix: &str,
    mut suspects: Orphans,
    report: &mut Report,
) -> Result {
    let mut before: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..=CONFIRMATIONS {
        if suspects.is_empty() {
            return Ok(());
        }
        look.drain(conn, cache)?;
        let keys: Vec<String> = suspects.into_keys().collect();
        let values = cache.fingerprints(&keys)?;
        let mut values: BTreeMap<String, u64> = keys
            .into_iter()
            .zip(values)
            .filter_map(|(key, value)| Some((key, value?)))
            .collect();
        let there = values.len();
        values.retain(|key, value| before.get(key).is_none_or(|before| before == value));
        report.in_motion += (there - values.len()) as u64;
        let keys: Vec<String> = values.keys().cloned().collect();
        let other_keys = report.other_keys;
        suspects = without_rows(conn, look, prefix, &keys, report)?;
        report.other_keys = other_keys;
        before = values;
    }
    report.add_orphans(suspects);
    Ok(())
}
