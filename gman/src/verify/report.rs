//! What was found.

use std::collections::BTreeMap;

use serde::Serialize;

use super::compare::{ColumnDifference, Difference};
use crate::error::{Error, Result};
use crate::rows::place::Place;
use crate::sql::TableName;

/// How many keys of a kind are printed as text; JSON has all of them.
const SHOWN: usize = 100;

/// Keys without a row.
pub(super) type Orphans = BTreeMap<String, Orphan>;

/// A key without a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Orphan {
    /// The condition for the row that it would be of.
    pub(super) condition: String,
    /// The key of the row that it leads to, if it is a lookup key.
    pub(super) leads_to: Option<String>,
}

/// What was found in all tables.
#[derive(Debug, Default, Serialize)]
pub(super) struct Reports {
    pub(super) tables: Vec<Report>,
}

/// What was found in one table.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    table: String,
    /// How many rows were compared.
    pub(super) rows: u64,
    /// Of a hundred.
    sample: Option<f64>,
    missing: Vec<String>,
    stale: Vec<Stale>,
    orphaned: Vec<String>,
    /// Whether keys without a row were looked for.
    pub(super) looked_for_orphans: bool,
    /// Rows that Redis does not have, where that is no difference.
    pub(super) expired: u64,
    /// Whether it is none.
    #[serde(skip)]
    expires: bool,
    /// Rows that changed all the time, and Redis with them.
    pub(super) in_motion: u64,
    /// Keys that begin as the table's do and can be no row's.
    pub(super) other_keys: u64,
    pub(super) repaired: Option<Repaired>,
    pub(super) seconds: f64,
    #[serde(skip)]
    pub(super) places: Vec<Place>,
    #[serde(skip)]
    pub(super) orphans: Orphans,
}

/// A key with other values than its row.
#[derive(Debug, Serialize)]
struct Stale {
    key: String,
    columns: Vec<ColumnDifference>,
}

/// What a repair did.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Repaired {
    pub(super) sent: u64,
    pub(super) deleted: u64,
    /// How many keys differ afterwards.
    pub(super) left: u64,
}

impl Report {
    pub(super) fn new(table: &TableName, sample: Option<f64>, expires: bool) -> Self {
        Self {
            table: table.quoted(),
            rows: 0,
            sample,
            missing: Vec::new(),
            stale: Vec::new(),
            orphaned: Vec::new(),
            looked_for_orphans: false,
            expired: 0,
            expires,
            in_motion: 0,
            other_keys: 0,
            repaired: None,
            seconds: 0.0,
            places: Vec::new(),
            orphans: Orphans::new(),
        }
    }

    /// A key of the row at this place differs.
    pub(super) fn add(&mut self, place: &Place, key: &str, difference: Difference) {
        match difference {
            Difference::Missing if self.expires => {
                self.expired += 1;
                return;
            }
            Difference::Missing => self.missing.push(key.to_owned()),
            Difference::Stale(columns) => self.stale.push(Stale {
                key: key.to_owned(),
                columns,
            }),
        }
        if self.places.last() != Some(place) {
            self.places.push(place.clone());
        }
    }

    /// Keys have no row. One that is stale, too, is a lookup key of a row that is sent again.
    pub(super) fn add_orphans(&mut self, mut orphans: Orphans) {
        for stale in &self.stale {
            orphans.remove(&stale.key);
        }
        self.orphaned.extend(orphans.keys().cloned());
        self.orphans.extend(orphans);
    }

    /// How many keys differ.
    pub(super) fn differing(&self) -> usize {
        self.missing.len() + self.stale.len() + self.orphaned.len()
    }

    pub(super) fn differs(&self) -> bool {
        self.differing() > 0
    }

    /// For people.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let missing = self.missing.iter().map(|key| format!("missing   {key}"));
        list(&mut lines, missing);
        let stale = self.stale.iter().map(|stale| {
            let columns: Vec<String> = stale.columns.iter().map(column).collect();
            format!("stale     {}: {}", stale.key, columns.join("; "))
        });
        list(&mut lines, stale);
        let orphaned = self.orphaned.iter().map(|key| format!("orphaned  {key}"));
        list(&mut lines, orphaned);
        lines.push(self.summary());
        if self.expired > 0 {
            lines.push(format!(
                "{}: Redis does not have {} rows, which may have expired",
                self.table, self.expired
            ));
        }
        if self.in_motion > 0 {
            lines.push(format!(
                "{}: {} rows changed all the time, and Redis with them; they were not judged",
                self.table, self.in_motion
            ));
        }
        if let Some(repaired) = &self.repaired {
            lines.push(format!(
                "{}: sent {} rows again, deleted {} keys; {} differ still",
                self.table, repaired.sent, repaired.deleted, repaired.left
            ));
        }
        lines
    }

    fn summary(&self) -> String {
        let rows = match self.sample {
            Some(percent) => format!("{} rows, {percent} % of them", self.rows),
            None => format!("{} rows", self.rows),
        };
        let orphaned = match self.looked_for_orphans {
            true => format!("{} orphaned", self.orphaned.len()),
            false => "orphaned keys not looked for".to_owned(),
        };
        let seconds = self.seconds.max(1e-3);
        format!(
            "{}: {rows} in {seconds:.1} s, {:.0} a second: {} missing, {} stale, {orphaned}",
            self.table,
            self.rows as f64 / seconds,
            self.missing.len(),
            self.stale.len()
        )
    }
}

impl Reports {
    /// # Errors
    ///
    /// If anything differs.
    pub(super) fn outcome(&self) -> Result {
        let left = |report: &Report| match &report.repaired {
            Some(repaired) => repaired.left,
            None => report.differing() as u64,
        };
        match self.tables.iter().map(left).sum::<u64>() {
            0 => Ok(()),
            1 => Err(Error::failed(
                "1 key differs from its table; --repair sends rows again",
            )),
            many => Err(Error::failed(format!(
                "{many} keys differ from their tables; --repair sends rows again"
            ))),
        }
    }
}

fn list(lines: &mut Vec<String>, all: impl ExactSizeIterator<Item = String>) {
    let more = all.len().saturating_sub(SHOWN);
    lines.extend(all.take(SHOWN));
    if more > 0 {
        lines.push(format!("          and {more} more; --json has all of them"));
    }
}

fn column(difference: &ColumnDifference) -> String {
    let shown = |value: &Option<String>| {
        value
            .as_ref()
            .map_or_else(|| "nothing".to_owned(), |value| format!("{value:?}"))
    };
    let values = format!(
        "{} in the table, {} in Redis",
        shown(&difference.table),
        shown(&difference.redis)
    );
    match difference.column.as_str() {
        "" => values,
        column => format!("{column} is {values}"),
    }
}
