//! The jobs of one writer, and how they are done: as many as have come in one round, until each is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::change::Change;
use super::connection::{Connection, Finished};
use super::job::{self, Job};
use super::log::say;
use super::statistics::Statistics;
use super::store::{Outcome, Round, Store};
use super::unfinished::Unfinished;
use crate::service::{Backoff, Stop};

/// How many jobs at most go to Redis in one round.
const BATCH: usize = 1000;

/// How many rounds in a row may end with nodes that say where a key is instead, before that counts as a
/// problem: of nodes that do not agree.
const REDIRECTS: u32 = 5;

/// What a writer has to do.
pub(super) struct Backlog {
    arriving: Receiver<Job>,
    jobs: VecDeque<Job>,
    /// Whether they wait for a Redis that is unreachable.
    stalled: Arc<AtomicBool>,
    unfinished: Arc<Unfinished>,
    /// Takes a job on whose next change may belong to another writer.
    hand_on: HandOn,
    statistics: Arc<Statistics>,
    stop: Arc<Stop>,
}

pub(super) type HandOn = Box<dyn Fn(Job) + Send>;

impl Backlog {
    pub(super) fn new(
        arriving: Receiver<Job>,
        stalled: &Arc<AtomicBool>,
        unfinished: &Arc<Unfinished>,
        hand_on: HandOn,
        statistics: &Arc<Statistics>,
        stop: &Arc<Stop>,
    ) -> Self {
        Self {
            arriving,
            jobs: VecDeque::new(),
            stalled: Arc::clone(stalled),
            unfinished: Arc::clone(unfinished),
            hand_on,
            statistics: Arc::clone(statistics),
            stop: Arc::clone(stop),
        }
    }

    /// Does jobs until there is no time left to stop, or nobody to hand in more.
    pub(super) fn work_off(&mut self, store: &mut Store) {
        while let Ok(job) = self.arriving.recv() {
            self.jobs.push_back(job);
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
            self.jobs.extend(self.arriving.try_iter());
            if self.jobs.is_empty() {
                return true;
            }
            let changes: Vec<&Change> = self
                .jobs
                .iter()
                .take(BATCH)
                .map(|job| &job.change)
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

    /// Reports and removes the jobs that are done; returns how many they are.
    fn remove_done(&mut self, outcomes: Vec<Option<Outcome>>) -> usize {
        let mut done = 0;
        let mut finished = Vec::with_capacity(outcomes.len());
        let mut left = Vec::new();
        let tried: Vec<Job> = self.jobs.drain(..outcomes.len()).collect();
        for (job, outcome) in tried.into_iter().zip(outcomes) {
            let Some(outcome) = outcome else {
                left.push(job);
                continue;
            };
            done += 1;
            self.unfinished.remove(job.change.slot());
            finished.extend(self.go_on(job, outcome));
        }
        left.into_iter()
            .rev()
            .for_each(|job| self.jobs.push_front(job));
        job::report(&mut finished);
        done
    }

    /// Redis has answered a change of a job: that was the last one, or the next one's turn has come.
    fn go_on(&self, mut job: Job, outcome: Outcome) -> Option<(Arc<Connection>, Finished)> {
        if outcome != Outcome::Done {
            return Some(job.finished(outcome));
        }
        if let Some(at) = job.at.take() {
            self.statistics.age(at.age());
        }
        match job.next.pop_front() {
            None => Some(job.finished(outcome)),
            Some(next) => {
                job.change = next;
                (self.hand_on)(job);
                None
            }
        }
    }

    /// Lets jobs for others come meanwhile.
    fn stall(&mut self) {
        self.stalled.store(true, Ordering::Release);
        self.jobs.extend(self.arriving.try_iter());
        job::park(self.jobs.iter_mut());
    }
}
