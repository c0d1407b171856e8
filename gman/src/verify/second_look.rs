//! Which rows differ still. A row is only then reported if it differs from Redis in the same way several
//! times, each time after everything that had been handed over has arrived, and does not change
//! meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use mysql::Conn;

use super::cache::{Cache, Found};
use super::compare::{self, Reader};
use super::drain::Drain;
use super::report::Report;
use crate::connections::refused;
use crate::error::Result;
use crate::rows::place::Place;
use crate::rows::source::{Lock, RowJobs, Source};
use crate::worker::change::Change;

/// How often in succession a difference is seen before it counts. Once would do, but for a row that
/// changes and changes back meanwhile.
pub(super) const CONFIRMATIONS: u32 = 3;

/// How often a row is looked at that changes all the time.
const ROUNDS: u32 = 8;

/// How many rows one statement asks for.
const GROUP: usize = 500;

/// What the looks have in common.
pub(super) struct SecondLook<'a> {
    pub(super) source: &'a Source,
    pub(super) reader: &'a Reader,
    pub(super) drain: &'a Drain,
    /// The Gearman functions of the table's jobs.
    pub(super) functions: BTreeSet<Vec<u8>>,
}

/// What was seen of a row so far.
#[derive(Debug, Default)]
struct History {
    /// What the row and Redis were the last time.
    last: Option<(Vec<Change>, Vec<Found>)>,
    /// How often in succession that was so.
    confirmations: u32,
    /// Whether Redis ever had something else.
    has_moved: bool,
}

impl History {
    fn saw(&mut self, changes: Vec<Change>, found: Vec<Found>) {
        match &self.last {
            Some((before, found_before)) if *found_before == found => {
                let is_same = *before == changes;
                self.confirmations = if is_same { self.confirmations + 1 } else { 0 };
            }
            Some(_) => {
                self.has_moved = true;
                self.confirmations = 0;
            }
            None => {}
        }
        self.last = Some((changes, found));
    }
}

type Suspects = BTreeMap<Place, History>;

impl SecondLook<'_> {
    /// Looks at rows again, and reports those that differ still.
    pub(super) fn at_rows(
        &self,
        conn: &mut Conn,
        cache: &mut Cache,
        places: Vec<Place>,
        report: &mut Report,
    ) -> Result {
        let mut suspects: Suspects = places
            .into_iter()
            .map(|place| (place, History::default()))
            .collect();
        for round in 0..ROUNDS {
            if round > 0 {
                self.drain(conn, cache)?;
            }
            suspects = self.look(conn, cache, suspects)?;
            suspects.retain(|place, history| {
                let is_certain = history.confirmations >= CONFIRMATIONS;
                if is_certain {
                    Self::report(place, history, report);
                }
                !is_certain
            });
            if suspects.is_empty() {
                return Ok(());
            }
        }
        for (place, history) in &suspects {
            match history.has_moved {
                // Redis follows; it has not come to an end.
                true => report.in_motion += 1,
                // The row changed all the time, and Redis never did.
                false => Self::report(place, history, report),
            }
        }
        Ok(())
    }

    /// Waits until what has been handed over has arrived.
    pub(super) fn drain(&self, conn: &mut Conn, cache: &mut Cache) -> Result {
        self.drain.wait(conn, cache, self.reader, &self.functions)
    }

    /// Those of the rows that differ now. Redis is asked before the table: if the row is then as it was
    /// before the way was drained, Redis should have had it.
    fn look(&self, conn: &mut Conn, cache: &mut Cache, suspects: Suspects) -> Result<Suspects> {
        let mut differing = Suspects::new();
        let mut suspects = suspects.into_iter();
        loop {
            let group: Vec<(Place, History)> = suspects.by_ref().take(GROUP).collect();
            if group.is_empty() {
                return Ok(differing);
            }
            let places: Vec<&Place> = group.iter().map(|(place, _)| place).collect();
            let keys = self.changes(conn, &places)?;
            let mut all = cache.read(keys.values().flatten())?.into_iter();
            let found: BTreeMap<&Place, Vec<Found>> = keys
                .iter()
                .map(|(place, changes)| (place, all.by_ref().take(changes.len()).collect()))
                .collect();
            let mut now = self.changes(conn, &places)?;
            for (place, mut history) in group {
                // A row that is gone is one for the look at keys without a row.
                let (Some(changes), Some(found)) = (now.remove(&place), found.get(&place)) else {
                    continue;
                };
                if !are_equal(&changes, found) {
                    history.saw(changes, found.clone());
                    differing.insert(place, history);
                }
            }
        }
    }

    /// What the jobs of the rows at these places do.
    fn changes(&self, conn: &mut Conn, places: &[&Place]) -> Result<BTreeMap<Place, Vec<Change>>> {
        let conditions: Vec<String> = places
            .iter()
            .map(|place| self.source.key.is_at(place))
            .collect();
        let condition = format!("({})", conditions.join(" OR "));
        let rows: Vec<RowJobs> = self
            .source
            .jobs(conn, &condition, Lock::None)
            .map_err(|error| refused(format!("read {}", self.source.name.quoted()), &error))?;
        rows.into_iter()
            .map(|row| Ok((row.place.clone(), self.reader.changes(&row)?)))
            .collect()
    }

    fn report(place: &Place, history: &History, report: &mut Report) {
        let Some((changes, found)) = &history.last else {
            return;
        };
        for (change, found) in changes.iter().zip(found) {
            if let Some(difference) = compare::difference(change, found) {
                report.add(place, &change.key, difference);
            }
        }
    }
}

fn are_equal(changes: &[Change], found: &[Found]) -> bool {
    let pairs = changes.iter().zip(found);
    changes.len() == found.len()
        && pairs
            .into_iter()
            .all(|(change, found)| compare::difference(change, found).is_none())
}
