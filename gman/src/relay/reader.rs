//! Looks for new rows and deals them to the lanes.

use std::collections::HashMap;
use std::sync::mpsc::{self, Sender};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use super::batch::{Batch, deal};
use super::flight::{Function, Snapshot};
use super::horizon::Horizon;
use super::lane::Lane;
use super::lease::BEAT;
use super::moment::Moment;
use super::options::Options;
use super::past_full::PastFull;
use super::rows;
use super::server::{self, Server};
use super::term::{Confirm, Report, Term, Who};
use crate::threads;

/// How many Gearman functions are served at the same time.
pub(super) const MAX_LANES: usize = 64;

/// How many batches may be under way: what a DELETE that fails keeps back.
const BATCHES_UNDER_WAY: usize = 8;

/// How soon a statement that failed is tried again.
const RETRY: Duration = Duration::from_millis(200);

pub(super) struct Reader<'scope, 'env> {
    conn: Conn,
    server: Server,
    term: &'env Term,
    scope: &'scope Scope<'scope, 'env>,
    reports: Sender<Report>,
    lanes: HashMap<Function, Sender<Batch>>,
    threads: Vec<ScopedJoinHandle<'scope, ()>>,
    horizon: Horizon,
    past_full: PastFull,
    most: usize,
    poll: Duration,
    /// When the server was asked last whether it is what it was.
    checked: Instant,
    is_in_trouble: bool,
}

impl<'scope, 'env> Reader<'scope, 'env> {
    pub(super) fn new(
        conn: Conn,
        server: Server,
        term: &'env Term,
        scope: &'scope Scope<'scope, 'env>,
        reports: Sender<Report>,
        options: &Options,
    ) -> Self {
        let now = Instant::now();
        Self {
            conn,
            server,
            term,
            scope,
            reports,
            lanes: HashMap::new(),
            threads: Vec::new(),
            horizon: Horizon::new(server.is_cluster, now),
            past_full: PastFull::new(now),
            most: options.batch as usize,
            poll: options.poll(),
            checked: now,
            is_in_trouble: false,
        }
    }

    /// Reads until somebody asks to stop and what is under way is settled, or the term is over.
    /// Returns the connection, to give up the lease with.
    pub(super) fn run(mut self) -> mysql::Result<Conn> {
        let outcome = self.read_all();
        if outcome.is_err() {
            self.term.end();
        }
        // Without their senders the lanes end.
        self.lanes.clear();
        outcome.map(|()| self.conn)
    }

    fn read_all(&mut self) -> mysql::Result<()> {
        while !self.term.is_over() {
            if self.term.stop.requested() {
                if self.term.flight.is_empty() || self.term.stop.expired() {
                    return Ok(());
                }
                self.term.flight.pause(self.poll);
                continue;
            }
            match self.look() {
                Ok(has_more) => {
                    if self.is_in_trouble {
                        self.is_in_trouble = false;
                        self.report(Report::Well(Who::Reader));
                    }
                    if !has_more {
                        self.term.flight.pause(self.poll);
                    }
                }
                Err(mysql::Error::MySqlError(error)) if self.term.lease.is_valid() => {
                    self.is_in_trouble = true;
                    let text = format!("cannot read the outbox: {error}");
                    self.report(Report::Trouble(Who::Reader, text));
                    self.term.stop.pause_unless_requested(RETRY);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One search; returns whether there is more to be found at once.
    fn look(&mut self) -> mysql::Result<bool> {
        if self.checked.elapsed() >= BEAT && !self.is_as_it_was()? {
            self.term.end();
            return Ok(false);
        }
        let under_way = self.term.flight.snapshot();
        if let Some(id) = under_way.given_back {
            self.horizon.given_back(id);
        }
        let began = Instant::now();
        let is_full = !under_way.full.is_empty();
        if under_way.rows.len() >= BATCHES_UNDER_WAY * self.most
            || (is_full && !self.past_full.may_look(began))
        {
            self.beat_if_due()?;
            return Ok(false);
        }
        let from = self.horizon.search_from(began);
        let found = rows::search(&mut self.conn, from, self.most, &under_way)?;
        let took = began.elapsed();
        if is_full {
            let found_all = found.rows.len() < self.most;
            self.past_full.looked(took, found_all, Instant::now());
        }
        let new: Vec<u64> = found.rows.iter().map(|row| row.id).collect();
        if let Some(&first) = new.first()
            && self.horizon.has_passed(first)
        {
            self.horizon.given_back(first);
            self.tell_of_passed(first)?;
        }
        let has_more = found.rows.len() >= self.most;
        let batches = deal(found.rows, &under_way, self.most);
        let dispatched = self.dispatch(batches, &under_way)?;
        let left = first_left(&new, &dispatched);
        let searched = found
            .ids
            .partition_point(|id| left.is_none_or(|left| *id < left));
        self.horizon
            .searched(from, took, &found.ids[..searched], Instant::now());
        if let Some(from) = self.horizon.wants_dirty_read(Instant::now()) {
            let lowest = rows::dirty_lowest(&mut self.conn, from)?;
            self.horizon.dirty_read(lowest);
        }
        Ok(has_more && !dispatched.is_empty())
    }

    /// Hands the batches to their lanes; returns the rows that have left, in the order of their ids.
    fn dispatch(&mut self, batches: Vec<Batch>, under_way: &Snapshot) -> mysql::Result<Vec<u64>> {
        let mut dispatched = Vec::new();
        if batches.is_empty() {
            self.beat_if_due()?;
            return Ok(dispatched);
        }
        // InnoDB shows a commit to others before its log is on disk. A commit of our own waits for the
        // log, and with it for every commit that we have seen: what is submitted survives a crash.
        if self.server.shows_commits_early {
            self.beat()?;
        } else {
            self.beat_if_due()?;
        }
        for mut batch in batches {
            for row in batch.rows.iter_mut().filter(|row| row.is_large()) {
                rows::fetch(&mut self.conn, row)?;
            }
            batch.rows.retain(|row| row.workload.is_some());
            if batch.rows.is_empty() || !self.has_lane(&batch.function, under_way) {
                continue;
            }
            dispatched.extend(batch.ids());
            let flight = &self.term.flight;
            flight.depart(&batch.function, batch.ids(), batch.large_bytes());
            if let Some(lane) = self.lanes.get(&batch.function) {
                // A lane ends with its sender.
                let _ = lane.send(batch);
            }
        }
        dispatched.sort_unstable();
        Ok(dispatched)
    }

    /// Writes down that ids begin again, or that one was passed that was still to come.
    fn tell_of_passed(&mut self, id: u64) -> mysql::Result<()> {
        let text = format!(
            "row {id} has an id that was passed: was gman_outbox truncated? DELETE its rows instead"
        );
        self.conn.exec_drop(
            "UPDATE gman_outbox_state SET last_error = ?, last_error_at = NOW(3) WHERE one = 1",
            (&text,),
        )?;
        super::say(&text);
        Ok(())
    }

    /// Whether the function has a lane; starts one, in the place of an idle one if there are too many. For want of
    /// a thread its rows wait, and others go on.
    fn has_lane(&mut self, function: &[u8], under_way: &Snapshot) -> bool {
        if self.lanes.contains_key(function) {
            return true;
        }
        if self.lanes.len() >= MAX_LANES {
            let mut idle = self.lanes.keys().filter(|lane| under_way.is_idle(lane));
            let Some(idle) = idle.next().cloned() else {
                return false;
            };
            self.lanes.remove(&idle);
        }
        let (sender, batches) = mpsc::channel();
        let lane = Lane::new(function, self.term, self.reports.clone());
        let who = Who::Lane(function.to_vec());
        match threads::start_in(self.scope, move || lane.run(&batches)) {
            Ok(thread) => {
                self.report(Report::Well(who));
                self.threads.push(thread);
                self.lanes.insert(function.to_vec(), sender);
                true
            }
            Err(error) => {
                self.report(Report::Trouble(who, error.text().to_owned()));
                false
            }
        }
    }

    fn beat_if_due(&mut self) -> mysql::Result<()> {
        match self.term.lease.is_due() {
            true => self.beat(),
            false => Ok(()),
        }
    }

    /// Ends the term if the lease is somebody else's.
    fn beat(&mut self) -> mysql::Result<()> {
        let began = Moment::now();
        match self.term.lease.beat(&mut self.conn)? {
            true => self.term.lease.extend(began),
            false => self.term.end(),
        }
        Ok(())
    }

    /// Whether the server may still be relayed from, in the same way.
    fn is_as_it_was(&mut self) -> mysql::Result<bool> {
        self.checked = Instant::now();
        let confirm: Confirm = server::confirm(&mut self.conn)?;
        Ok(confirm == self.term.confirm && server::problem(&mut self.conn)?.is_none())
    }

    /// A settler that has ended has ended the term.
    fn report(&self, report: Report) {
        let _ = self.reports.send(report);
    }
}

/// The first of the new rows that has not left: the next search must not begin behind it. Both are in the
/// order of their ids.
fn first_left(new: &[u64], dispatched: &[u64]) -> Option<u64> {
    let has_left = |place: usize, id: &u64| dispatched.get(place) == Some(id);
    let mut places = new.iter().enumerate();
    places
        .find(|(place, id)| !has_left(*place, id))
        .map(|(_, id)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_row_that_has_not_left_is_found() {
        assert_eq!(first_left(&[], &[]), None);
        assert_eq!(first_left(&[1, 2, 5], &[1, 2, 5]), None);
        assert_eq!(first_left(&[1, 2, 5], &[1, 5]), Some(2));
        assert_eq!(first_left(&[1, 2], &[]), Some(1));
    }
}
