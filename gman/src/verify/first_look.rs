//! Every row once: which of them differ from Redis right now. One thread reads the table and the jobs of its
//! rows, while another asks Redis and compares.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;
use std::sync::mpsc::{self, Receiver, SyncSender};

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
use crate::threads;
use crate::worker::change::Change;

/// How many rows are read at once.
const PART: u64 = 4_000;

/// How many rows, and how many bytes of their workloads, are compared at once.
const GROUP: usize = 1_000;
const GROUP_BYTES: usize = 1 << 20;

/// How many groups wait for Redis at most.
const AHEAD: usize = 4;

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

/// Rows, and what their jobs do to Redis.
#[derive(Debug, Default)]
struct Group {
    rows: Vec<(Place, Vec<Change>)>,
    /// The length of their jobs.
    bytes: usize,
    /// The Gearman functions of their jobs.
    functions: BTreeSet<Vec<u8>>,
}

impl Group {
    fn add(&mut self, reader: &Reader, row: RowJobs) -> Result {
        let changes = reader.changes(&row)?;
        self.bytes += row.bytes();
        for job in row.jobs {
            if !self.functions.contains(&job.function) {
                self.functions.insert(job.function);
            }
        }
        self.rows.push((row.place, changes));
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= GROUP || self.bytes >= GROUP_BYTES
    }
}

/// Looks at every row; hands those that differ to the second look. Returns the keys that do not.
///
/// # Errors
///
/// If a server fails, or the system has no thread left.
pub(super) fn run(
    conn: &mut Conn,
    cache: &mut Cache,
    options: &Options,
    look: &mut SecondLook<'_>,
    report: &mut Report,
) -> Result<Seen> {
    let (sender, groups) = mpsc::sync_channel(AHEAD);
    let source = sampled(look.source, options);
    // A session of its own: this one is needed for the second look.
    let mut reading = options.mysql.connect()?;
    Source::read(&mut reading, &source.name, None)?;
    let reader = look.reader.clone();
    let reading = threads::start(move || read(&mut reading, &source, &reader, &sender))?;
    let mut seen = Seen::default();
    let compared = compare_all(conn, cache, &groups, look, report, &mut seen);
    // Ends the reader, if it has not come to its end.
    drop(groups);
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

fn read(conn: &mut Conn, source: &Source, reader: &Reader, groups: &SyncSender<Group>) -> Result {
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
        let (mut group, mut outcome) = (Group::default(), Ok(()));
        // Whoever compares may have failed, and says so.
        let mut is_wanted = true;
        source
            .each(conn, &source.key.is_in(&part), Lock::None, |row| {
                if outcome.is_err() || !is_wanted {
                    return;
                }
                outcome = group.add(reader, row);
                if group.is_full() {
                    is_wanted = groups.send(mem::take(&mut group)).is_ok();
                }
            })
            .map_err(|error| refused(format!("read {}", source.name.quoted()), &error))?;
        outcome?;
        if !is_wanted || groups.send(group).is_err() {
            break;
        }
        rest.after = Some(end);
    }
    Ok(())
}

fn compare_all(
    conn: &mut Conn,
    cache: &mut Cache,
    groups: &Receiver<Group>,
    look: &mut SecondLook<'_>,
    report: &mut Report,
    seen: &mut Seen,
) -> Result {
    let mut suspects: Vec<Place> = Vec::new();
    for mut group in groups {
        report.rows += group.rows.len() as u64;
        look.functions.append(&mut group.functions);
        suspects.extend(differing(cache, group, seen)?);
        if suspects.len() >= SUSPECTS {
            look.at_rows(conn, cache, mem::take(&mut suspects), report)?;
        }
    }
    look.at_rows(conn, cache, suspects, report)
}

/// The rows that differ.
fn differing(cache: &mut Cache, group: Group, seen: &mut Seen) -> Result<Vec<Place>> {
    let changes = group.rows.iter().flat_map(|(_, changes)| changes);
    let mut found = cache.read(changes)?.into_iter();
    let mut differing = Vec::new();
    for (place, changes) in group.rows {
        let mut is_equal = true;
        for (change, found) in changes.iter().zip(&mut found) {
            match compare::difference(change, &found) {
                Some(_) => is_equal = false,
                None => seen.add(&change.key),
            }
        }
        if !is_equal {
            differing.push(place);
        }
    }
    Ok(differing)
}
