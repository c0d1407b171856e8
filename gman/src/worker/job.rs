//! A job of a job server, and the rows that it carries: one, or several.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::at::At;
use super::change::Change;
use super::connection::{Connection, Finished};
use super::format::Task;
use super::store::{Outcome, Outcomes};

/// A job that is held. It is finished once the last of its rows is.
pub(super) struct Job {
    connection: Arc<Connection>,
    handle: Vec<u8>,
    /// What it counts towards the bytes that are held.
    bytes: usize,
    progress: Mutex<Progress>,
}

struct Progress {
    /// How many rows are unfinished.
    left: usize,
    outcomes: Outcomes,
    /// Whether its job server knows that it waits for a Redis that is away.
    parked: bool,
}

impl Job {
    /// A job with `left` rows to write, and others that cannot be written.
    pub(super) fn new(
        connection: &Arc<Connection>,
        handle: Vec<u8>,
        bytes: usize,
        left: usize,
        outcomes: Outcomes,
    ) -> Self {
        Self {
            connection: Arc::clone(connection),
            handle,
            bytes,
            progress: Mutex::new(Progress {
                left,
                outcomes,
                parked: false,
            }),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes that a row is finished; what the job server is told if it was the last one.
    fn finish_row(&self, outcome: Outcome) -> Option<(Arc<Connection>, Finished)> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.outcomes.add(outcome);
        progress.left -= 1;
        (progress.left == 0).then(|| {
            let finished = Finished {
                handle: self.handle.clone(),
                outcomes: progress.outcomes,
                bytes: self.bytes,
                parked: progress.parked,
            };
            (Arc::clone(&self.connection), finished)
        })
    }

    /// Notes that it waits for a Redis that is away; whether that was news.
    fn park(&self) -> bool {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        !std::mem::replace(&mut progress.parked, true)
    }
}

/// A row of a job, and what is left to do for it.
pub(super) struct Row {
    job: Arc<Job>,
    pub(super) change: Change,
    /// What follows once Redis has that.
    pub(super) next: VecDeque<Change>,
    /// When the row was changed, until Redis has it.
    pub(super) at: Option<At>,
}

impl Row {
    pub(super) fn new(job: &Arc<Job>, task: Task) -> Self {
        Self {
            job: Arc::clone(job),
            change: task.change,
            next: task.lookups,
            at: task.at,
        }
    }

    /// What the job server is told, if it was the last row of its job.
    pub(super) fn finished(self, outcome: Outcome) -> Option<(Arc<Connection>, Finished)> {
        self.job.finish_row(outcome)
    }
}

/// Tells each job server once which of its jobs are finished.
pub(super) fn report(finished: &mut [(Arc<Connection>, Finished)]) {
    finished.sort_by_key(|(connection, _)| Arc::as_ptr(connection));
    for of_one in finished.chunk_by(|(a, _), (b, _)| Arc::ptr_eq(a, b)) {
        of_one[0]
            .0
            .finish(of_one.iter().map(|(_, finished)| finished));
    }
}

/// Lets each job server give us others, although these wait for a Redis that is away.
pub(super) fn park<'a>(rows: impl Iterator<Item = &'a Row>) {
    let mut parked: Vec<(&Arc<Connection>, usize)> = Vec::new();
    for row in rows.filter(|row| row.job.park()) {
        let connection = &row.job.connection;
        match parked
            .iter_mut()
            .find(|(of, _)| Arc::ptr_eq(of, connection))
        {
            Some((_, count)) => *count += 1,
            None => parked.push((connection, 1)),
        }
    }
    for (connection, count) in parked {
        connection.park(count);
    }
}
