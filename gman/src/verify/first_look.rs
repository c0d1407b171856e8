//! Every row once: which of them differ from Redis right now. One thread reads the table while another
//! asks Redis.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use mysql::Conn;

use super::cache::Cache;
use super::compare::{self, Reader};
use super::options::Options;
use super::report::Report;
use super::second_look::SecondLook;
use crate::connections::refused;
use crate::error::{Error, Result};
use crate::rows::place::{Part, Place};
use crate::rows::source::{Lock, RowJobs, Source};
use crate::worker::change::Change;

/// How many rows are read at once.
const PART: u64 = 4_000;

/// How many parts wait for Redis at most.
const AHEAD: usize = 2;

/// How many rows that differ are kept before they are looked at again.
const SUSPECTS: usize = 50_000;

/// How many keys are remembered at most, in 8 bytes each.
const REMEMBERED: usize = 8_000_000;

/// The keys of rows that Redis has, by their hashes.
#[derive(Debug, Default)]
pub(super) struct Seen(Vec<u64>);

impl Seen {
    fn add(&mut self, key: &str) {
        if self.0.len() < REMEMBERED {
            self.0.push(hash(key));
        }
    }

    /// Whether the key belongs to a row; `false` if that is not known.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.binary_search(&hash(key)).is_ok()
    }
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// Looks at every row; hands those that differ to the second look. Returns the keys that do not.
///
/// # Errors
///
/// If a server fails.
pub(super) fn run(
    conn: &mut Conn,
    cache: &mut Cache,
    options: &Options,
    look: &mut SecondLook<'_>,
    report: &mut Report,
) -> Result<Seen> {
    let (sender, parts) = mpsc::sync_channel(AHEAD);
    let source = sampled(look.source, options);
    // A session of its own: this one is needed for the second look.
    let mut reading = options.mysql.connect()?;
    Source::read(&mut reading, &source.name, None)?;
    let reading = thread::spawn(move || read(&mut reading, &source, &sender));
    let mut seen = Seen::default();
    let compared = compare_all(conn, cache, &parts, look, report, &mut seen);
    // Ends the reader, if it has not come to its end.
    drop(parts);
    let read = reading
        .join()
        .map_err(|_| Error::failed("the thread that reads the table has panicked"))?;
    compared.and(read)?;
    seen.0.sort_unstable();
    Ok(seen)
}

/// The source with a random choice of its rows, if that was asked for.
fn sampled(source: &Source, options: &Options) -> Source {
    match options.sample {
        None => source.clone(),
        Some(percent) => source.clone().and(&format!("RAND() < {}", percent / 100.0)),
    }
}

fn read(conn: &mut Conn, source: &Source, parts: &SyncSender<Vec<RowJobs>>) -> Result {
    let mut rest = Part {
        after: None,
        up_to: source.last(conn)?,
    };
    while rest.up_to.is_some() && rest.after != rest.up_to {
        let Some(end) = source.end_of(conn, &rest, PART)? else {
            break;
        };
        let part = Part {
            after: rest.after.take(),
            up_to: Some(end.clone()),
        };
        let rows = source
            .jobs(conn, &source.key.is_in(&part), Lock::None)
            .map_err(|error| refused(format!("read {}", source.name.quoted()), &error))?;
        if parts.send(rows).is_err() {
            // Whoever compares has failed, and says so.
            break;
        }
        rest.after = Some(end);
    }
    Ok(())
}

fn compare_all(
    conn: &mut Conn,
    cache: &mut Cache,
    parts: &Receiver<Vec<RowJobs>>,
    look: &mut SecondLook<'_>,
    report: &mut Report,
    seen: &mut Seen,
) -> Result {
    let mut suspects: Vec<Place> = Vec::new();
    for rows in parts {
        report.rows += rows.len() as u64;
        for job in rows.iter().flat_map(|row| &row.jobs) {
            if !look.functions.contains(&job.function) {
                look.functions.insert(job.function.clone());
            }
        }
        suspects.extend(differing(cache, look.reader, rows, seen)?);
        if suspects.len() >= SUSPECTS {
            look.at_rows(conn, cache, std::mem::take(&mut suspects), report)?;
        }
    }
    look.at_rows(conn, cache, suspects, report)
}

/// The rows that differ.
fn differing(
    cache: &mut Cache,
    reader: &Reader,
    rows: Vec<RowJobs>,
    seen: &mut Seen,
) -> Result<Vec<Place>> {
    let mut changes: Vec<Change> = Vec::with_capacity(rows.len());
    let mut owners: Vec<usize> = Vec::with_capacity(rows.len());
    for (at, row) in rows.iter().enumerate() {
        for change in reader.changes(row)? {
            changes.push(change);
            owners.push(at);
        }
    }
    let found = cache.read(&changes)?;
    let mut differs = vec![false; rows.len()];
    for ((change, found), owner) in changes.iter().zip(&found).zip(owners) {
        match compare::difference(change, found) {
            Some(_) => differs[owner] = true,
            None => seen.add(&change.key),
        }
    }
    let rows = rows.into_iter().zip(differs);
    Ok(rows
        .filter_map(|(row, differs)| differs.then_some(row.place))
        .collect())
}
