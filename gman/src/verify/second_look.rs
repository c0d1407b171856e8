//! Which rows differ still. A row is only then reported if it differs from Redis in the same way several
//! times, each time after everything that had been handed over has arrived, and does not change
//! meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use mysql::Conn;

use super::cache::{Cache, Found};
use super::compare::{self, Reader};
use super::drain::Drain;
use super::lookups::{self, Pair, Table};
use super::report::Report;
use crate::error::Result;
use crate::rows::place::Place;
use crate::rows::source::Source;
use crate::worker::change::{Change, Left};

/// How often in succession a difference is seen before it counts. Once would do, but for a row that
/// changes and changes back meanwhile.
pub(super) const CONFIRMATIONS: u32 = 3;

/// How often a row is looked at that changes all the time.
const ROUNDS: u32 = 8;

/// How many rows one statement asks for.
pub(super) const GROUP: usize = 500;

/// What the looks have in common.
pub(super) struct SecondLook<'a> {
    pub(super) source: &'a Source,
    pub(super) reader: &'a Reader,
    pub(super) drain: &'a Drain,
    /// The Gearman functions of the table's jobs.
    pub(super) functions: BTreeSet<Vec<u8>>,
    /// What the keys of the table's rows begin with, if the triggers say so.
    pub(super) prefixes: BTreeSet<String>,
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
            let mut found: BTreeMap<&Place, Vec<Found>> = keys
                .iter()
                .map(|(place, changes)| (place, all.by_ref().take(changes.len()).collect()))
                .collect();
            let mut now = self.changes(conn, &places)?;
            let agreed = self.agreed(conn, &now, &found)?;
            for (place, mut history) in group {
                // A row that is gone is one for the look at keys without a row.
                let (Some(changes), Some(found)) = (now.remove(&place), found.remove(&place))
                else {
                    continue;
                };
                let found = with_equals(&changes, found, &agreed);
                if !are_equal(&changes, &found) {
                    history.saw(changes, found);
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
        let rows = self.source.under_any(conn, &conditions)?.into_iter();
        rows.map(|row| Ok((row.place.clone(), self.reader.changes(&row)?)))
            .collect()
    }

    pub(super) fn table(&self) -> Table<'_> {
        Table {
            source: self.source,
            reader: self.reader,
            prefixes: &self.prefixes,
        }
    }

    /// Which keys lead to another row than the one looked at, which has the same value.
    fn agreed(
        &self,
        conn: &mut Conn,
        now: &BTreeMap<Place, Vec<Change>>,
        found: &BTreeMap<&Place, Vec<Found>>,
    ) -> Result<BTreeSet<Pair>> {
        let of_row = |(place, changes): (&Place, &Vec<Change>)| {
            let pairs = changes.iter().zip(found.get(place).into_iter().flatten());
            pairs
                .filter_map(|(change, found)| lookups::leads_elsewhere(change, found))
                .collect::<Vec<_>>()
        };
        let elsewhere = now.iter().flat_map(of_row).collect();
        lookups::agreed(conn, &self.table(), &elsewhere)
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

/// What was found, where a key that rightly leads to another row counts as one that leads to this one.
fn with_equals(changes: &[Change], found: Vec<Found>, agreed: &BTreeSet<Pair>) -> Vec<Found> {
    let is_right = |change, found: &Found| {
        lookups::leads_elsewhere(change, found).is_some_and(|pair| agreed.contains(&pair))
    };
    let mut found = found;
    for (change, found) in changes.iter().zip(&mut found) {
        if let (Left::Name(row), true) = (change.leaves(), is_right(change, found)) {
            *found = Found::Text(row.as_bytes().to_vec());
        }
    }
    found
}

fn are_equal(changes: &[Change], found: &[Found]) -> bool {
    let pairs = changes.iter().zip(found);
    changes.len() == found.len()
        && pairs
            .into_iter()
            .all(|(change, found)| compare::difference(change, found).is_none())
}
