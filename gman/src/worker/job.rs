//! A job that is not finished.

use std::collections::VecDeque;
use std::sync::Arc;

use super::at::At;
use super::change::Change;
use super::connection::{Connection, Finished};
use super::store::Outcome;

/// A job, and what is left to do for it.
pub(super) struct Job {
    pub(super) connection: Arc<Connection>,
    pub(super) handle: Vec<u8>,
    pub(super) change: Change,
    /// What follows once Redis has that.
    pub(super) next: VecDeque<Change>,
    /// When the row was changed, until Redis has it.
    pub(super) at: Option<At>,
    /// The length of its workload.
    pub(super) bytes: usize,
    /// Whether its job server knows that it waits for a Redis that is unreachable.
    pub(super) parked: bool,
}

impl Job {
    /// What its job server is told.
    pub(super) fn finished(self, outcome: Outcome) -> (Arc<Connection>, Finished) {
        let finished = Finished {
            handle: self.handle,
            outcome,
            bytes: self.bytes,
            parked: self.parked,
        };
        (self.connection, finished)
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

/// Lets each job server give us others, although these wait for a Redis that is unreachable.
pub(super) fn park<'a>(jobs: impl Iterator<Item = &'a mut Job>) {
    let mut parked: Vec<(Arc<Connection>, usize)> = Vec::new();
    for job in jobs.filter(|job| !job.parked) {
        job.parked = true;
        let of_one = |(connection, _): &&mut (Arc<Connection>, usize)| {
            Arc::ptr_eq(connection, &job.connection)
        };
        match parked.iter_mut().find(of_one) {
            Some((_, count)) => *count += 1,
            None => parked.push((Arc::clone(&job.connection), 1)),
        }
    }
    for (connection, count) in parked {
        connection.park(count);
    }
}
