//! The requests of a batch on one connection: those that are collected until there is enough to write, and
//! those that wait for their answers.

use std::collections::VecDeque;

use crate::error::Error;
use crate::gearman::wire::connection::Connection;
use crate::gearman::wire::deadline::Deadline;
use crate::gearman::wire::job::{Job, MAX_HEAD_BYTES};
use crate::memory;

/// How many bytes are collected before they are written.
const CHUNK_BYTES: usize = 64 * 1024;

/// Jobs are named by their places in the batch.
#[derive(Debug, Default)]
pub(super) struct BatchRequests {
    /// Requests that are not written yet, and how many they are.
    unwritten: Vec<u8>,
    unwritten_jobs: usize,
    /// The jobs that are not answered yet, in the order of their answers.
    unanswered: VecDeque<usize>,
}

impl BatchRequests {
    /// Puts a request behind those that are not written yet.
    pub(super) fn add(&mut self, place: usize, job: &Job<'_>) -> Result<(), Error> {
        memory::reserve(&mut self.unwritten, MAX_HEAD_BYTES + job.workload().len())?;
        memory::push_back(&mut self.unanswered, place)?;
        job.encode_head(&mut self.unwritten);
        self.unwritten.extend_from_slice(job.workload());
        self.unwritten_jobs += 1;
        Ok(())
    }

    /// Whether there is enough to write.
    pub(super) fn is_chunk(&self) -> bool {
        self.unwritten.len() >= CHUNK_BYTES
    }

    /// Writes what is not written yet; returns whether there was anything.
    pub(super) fn write(
        &mut self,
        connection: &mut Connection,
        deadline: &Deadline<'_>,
    ) -> Result<bool, Error> {
        if self.unwritten.is_empty() {
            return Ok(false);
        }
        connection.send(|_| {}, &self.unwritten, deadline)?;
        self.forget_unwritten();
        Ok(true)
    }

    /// Takes back what no server has seen, if it comes behind the job at `place`, which failed.
    pub(super) fn withdraw_behind(&mut self, place: usize) {
        let written = self.unanswered.len() - self.unwritten_jobs;
        if self.unanswered.range(written..).any(|&job| job > place) {
            self.unanswered.truncate(written);
            self.forget_unwritten();
        }
    }

    /// An answer has come; returns whose it is, `None` if nobody waits for one.
    pub(super) fn answered(&mut self) -> Option<usize> {
        self.unanswered.pop_front()
    }

    /// The jobs that are not answered yet, in the order of their answers.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = usize> {
        self.unanswered.iter().copied()
    }

    pub(super) fn are_answered(&self) -> bool {
        self.unanswered.is_empty()
    }

    fn forget_unwritten(&mut self) {
        self.unwritten.clear();
        self.unwritten.shrink_to(2 * CHUNK_BYTES);
        self.unwritten_jobs = 0;
    }
}
