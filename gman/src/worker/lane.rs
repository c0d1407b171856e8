//! Threads that write to Redis. A key always takes the same lane, which keeps its changes in order.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::{iter, thread};

use super::change::Change;
use super::connection::{Connection, Finished};
use super::options::Options;
use super::statistics::Statistics;
use super::store::Store;
use crate::service::Stop;

/// How many jobs at most go to Redis in one round trip.
const BATCH: usize = 1000;

/// A job that is not finished.
pub(super) struct Job {
    pub(super) connection: Arc<Connection>,
    pub(super) handle: Vec<u8>,
    pub(super) change: Change,
}

/// Where jobs are handed in. What waits is bounded by what the job servers' windows let in.
#[derive(Clone)]
pub(super) struct Lanes(Vec<Sender<Job>>);

impl Lanes {
    /// Starts the threads.
    pub(super) fn start(
        redis: &redis::Client,
        options: &Options,
        statistics: &Arc<Statistics>,
        stop: &Arc<Stop>,
    ) -> Self {
        let start_one = |number| {
            let (sender, jobs) = mpsc::channel();
            let mut store = Store::new(redis.clone(), statistics, stop);
            thread::spawn(move || {
                // One of them says what Redis thinks of us before there is a job.
                if number == 0 {
                    store.introduce();
                }
                run(&jobs, store);
            });
            sender
        };
        Self((0..options.threads).map(start_one).collect())
    }

    pub(super) fn hand_in(&self, job: Job) {
        let mut hasher = DefaultHasher::new();
        job.change.key.hash(&mut hasher);
        let lane = hasher.finish() as usize % self.0.len();
        // A lane that has ended had no time left to stop: the job server gives the job on.
        let _ = self.0[lane].send(job);
    }
}

/// Does jobs until there is no time left to stop, or nobody to hand in more.
fn run(jobs: &Receiver<Job>, mut store: Store) {
    while let Ok(first) = jobs.recv() {
        let mut batch: Vec<Job> = iter::once(first)
            .chain(jobs.try_iter().take(BATCH - 1))
            .collect();
        let changes: Vec<&Change> = batch.iter().map(|job| &job.change).collect();
        let outcomes = store.apply(&changes);
        let all_done = outcomes.len() == batch.len();
        let mut finished: Vec<(Arc<Connection>, Finished)> = batch
            .drain(..)
            .zip(outcomes)
            .map(|(job, outcome)| {
                (
                    job.connection,
                    Finished {
                        handle: job.handle,
                        outcome,
                    },
                )
            })
            .collect();
        finish(&mut finished);
        if !all_done {
            return;
        }
    }
}

/// Tells each job server once which of its jobs are finished.
fn finish(finished: &mut [(Arc<Connection>, Finished)]) {
    finished.sort_by_key(|(connection, _)| Arc::as_ptr(connection));
    for of_one in finished.chunk_by(|(a, _), (b, _)| Arc::ptr_eq(a, b)) {
        of_one[0]
            .0
            .finish(of_one.iter().map(|(_, finished)| finished));
    }
}
