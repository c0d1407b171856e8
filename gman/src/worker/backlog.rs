//! The rows of one writer, and how they are written: as many as have come in one round, until each is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::change::Change;
use super::connection::{Connection, Finished};
use super::job::{self, Row};
use super::log::say;
use super::statistics::Statistics;
use super::store::{Outcome, Round, Store};
use super::unfinished::Unfinished;
use crate::service::{Backoff, Stop};

/// How many rows at most go to Redis in one round.
const BATCH: usize = 1000;

/// How many rounds in a row may end with nodes that say where a key is instead, before that counts as a
/// problem: of nodes that do not agree.
const REDIRECTS: u32 = 5;

/// What a writer has to do.
pub(super) struct Backlog {
    arriving: Receiver<Row>,
    rows: VecDeque<Row>,
    /// Whether they wait for a Redis that is unreachable.
    stalled: Arc<AtomicBool>,
    unfinished: Arc<Unfinished>,
    /// Takes a row on whose next change may belong to another writer.
    hand_on: HandOn,
    statistics: Arc<Statistics>,
    stop: Arc<Stop>,
}

pub(super) type HandOn = Box<dyn Fn(Row) + Send>;

impl Backlog {
    pub(super) fn new(
        arriving: Receiver<Row>,
        stalled: &Arc<AtomicBool>,
        unfinished: &Arc<Unfinished>,
        hand_on: HandOn,
        statistics: &Arc<Statistics>,
        stop: &Arc<Stop>,
    ) -> Self {
        Self {
            arriving,
            rows: VecDeque::new(),
            stalled: Arc::clone(stalled),
            unfinished: Arc::clone(unfinished),
            hand_on,
            statistics: Arc::clone(statistics),
            stop: Arc::clone(stop),
        }
    }

    /// Writes rows until there is no time left to stop, or nobody to hand in more.
    pub(super) fn work_off(&mut self, store: &mut Store) {
        while let Ok(row) = self.arriving.recv() {
            self.rows.push_back(row);
            if !self.empty(store) {
                return;
            }
        }
    }

    /// Tries until Redis has every change; whether there was the time for that.
    fn empty(&mut self, store: &mut Store) -> bool {
        let mut backoff = Backoff::new();
        let mut redirects = 0;
        loop {
            self.rows.extend(self.arriving.try_iter());
            if self.rows.is_empty() {
                return true;
            }
            let changes: Vec<&Change> = self
                .rows
                .iter()
                .take(BATCH)
                .map(|row| &row.change)
                .collect();
            let Round { outcomes, problem } = store.attempt(&changes);
            let done = self.remove_done(outcomes);
            redirects = if done > 0 { 0 } else { redirects + 1 };
            let problem = match problem {
                Some(fault) => fault.to_string(),
                None if redirects > REDIRECTS => "its nodes name each other for a key".to_owned(),
                None => {
                    self.stalled.store(false, Ordering::Release);
                    backoff = Backoff::new();
                    continue;
                }
            };
            if self.stop.expired() {
                return false;
            }
            self.stall();
            self.rest(&problem, backoff.pause());
        }
    }

    /// Says why the jobs wait, and waits.
    fn rest(&self, problem: &str, pause: Duration) {
        let ms = pause.as_millis();
        say(format!(
            "Redis {problem}; keeping the jobs, trying again in {ms} ms"
        ));
        self.stop.pause_unless_expired(pause);
    }

    /// Reports and removes the rows that are done; returns how many they are.
    fn remove_done(&mut self, outcomes: Vec<Option<Outcome>>) -> usize {
        let mut done = 0;
        let mut finished = Vec::with_capacity(outcomes.len());
        let mut left = Vec::new();
        let tried: Vec<Row> = self.rows.drain(..outcomes.len()).collect();
        for (row, outcome) in tried.into_iter().zip(outcomes) {
            let Some(outcome) = outcome else {
                left.push(row);
                continue;
            };
            done += 1;
            self.unfinished.remove(row.change.slot());
            finished.extend(self.go_on(row, outcome));
        }
        left.into_iter()
            .rev()
            .for_each(|row| self.rows.push_front(row));
        job::report(&mut finished);
        done
    }

    /// Redis has answered a change of a row: that was the last one, or the next one's turn has come.
    fn go_on(&self, mut row: Row, outcome: Outcome) -> Option<(Arc<Connection>, Finished)> {
        if outcome != Outcome::Done {
            return row.finished(outcome);
        }
        if let Some(at) = row.at.take() {
            self.statistics.age(at.age());
        }
        match row.next.pop_front() {
            None => row.finished(outcome),
            Some(next) => {
                row.change = next;
                (self.hand_on)(row);
                None
            }
        }
    }

    /// Lets jobs for others come meanwhile.
    fn stall(&mut self) {
        self.stalled.store(true, Ordering::Release);
        self.rows.extend(self.arriving.try_iter());
        job::park(self.rows.iter());
    }
}
