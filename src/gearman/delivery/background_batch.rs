//! A batch of background jobs, in the order they are given, on one connection to each server.
//!
//! The first job for a server is submitted as any other, with the next server to fall back on.
//! Those that follow go out on the same connection without waiting for answers. The first job that
//! is refused, or the first connection that fails, ends the batch: its jobs are the caller's to keep
//! and to submit again, so nothing is repeated here.

use std::collections::HashMap;
use std::time::Instant;

use crate::error::Error;
use crate::gearman::delivery::batch_connections::{BatchConnection, BatchConnections};
use crate::gearman::delivery::batch_outcome::{Failure, Outcome};
use crate::gearman::delivery::batch_requests::BatchRequests;
use crate::gearman::delivery::client::Client;
use crate::gearman::limits::Limits;
use crate::gearman::servers::failover::Stage;
use crate::gearman::servers::lease::Lease;
use crate::gearman::wire::deadline::Deadline;
use crate::gearman::wire::job::Job;
use crate::gearman::wire::protocol::{self, Acknowledgement};
use crate::memory;
use crate::status;

/// Jobs that are being submitted.
#[derive(Debug, Default)]
pub struct BackgroundBatch {
    connections: BatchConnections<BackgroundConnection>,
    /// The place of the connection for each Gearman function.
    place_of: HashMap<Vec<u8>, usize>,
    /// For each job, in their order, whether a job server has said that it has it.
    acknowledged: Vec<bool>,
    failure: Option<Failure>,
    began: Option<Instant>,
}

/// The connection to one server.
#[derive(Debug)]
struct BackgroundConnection {
    lease: Lease,
    /// When the server last answered, or took something.
    progress: Instant,
    requests: BatchRequests,
}

impl BackgroundBatch {
    /// Submits the next job. Once one has failed it does nothing.
    ///
    /// Waits while the job server takes nothing, for [`Limits::submit`] at most; all calls together
    /// take [`Limits::run`] at most.
    pub fn submit(
        &mut self,
        client: &Client,
        job: Result<Job<'_>, Error>,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) {
        if self.failure.is_some() {
            return;
        }
        let place = self.acknowledged.len();
        if let Err(error) = memory::push(&mut self.acknowledged, false) {
            self.failure = Some(Failure { place, error });
            return;
        }
        let deadline = self.deadline(limits, should_stop);
        let submitted = job
            .map_err(|error| Failure { place, error })
            .and_then(|job| self.submit_at(place, client, &job, limits, &deadline));
        self.failure = submitted.err();
    }

    /// Waits for the answers that are missing.
    pub fn finish(mut self, limits: &Limits, should_stop: &dyn Fn() -> bool) -> Outcome {
        let deadline = self.deadline(limits, should_stop);
        for mut connection in std::mem::take(&mut self.connections.open) {
            if let Some(failure) = &self.failure {
                connection.requests.withdraw_behind(failure.place);
            }
            if let Err(failure) = connection.finish(&mut self.acknowledged, limits, &deadline) {
                let failure = connection.judged(failure);
                self.failure.get_or_insert(failure);
            }
            // What failed is not clean, and is not kept.
            connection.lease.keep();
        }
        let missing = self.acknowledged.iter().position(|&known| !known);
        let acknowledged = missing.unwrap_or(self.acknowledged.len());
        Outcome {
            acknowledged,
            refused: self.failure.as_ref().is_some_and(|failure| {
                failure.place == acknowledged && failure.error.blames_the_job()
            }),
            failure: self.failure.map(|failure| failure.error),
            passed_over: self.connections.passed_over,
        }
    }

    fn deadline<'a>(&mut self, limits: &Limits, should_stop: &'a dyn Fn() -> bool) -> Deadline<'a> {
        let began = *self.began.get_or_insert_with(Instant::now);
        Deadline::unless_stopped(limits.run.saturating_sub(began.elapsed()), should_stop)
    }

    fn submit_at(
        &mut self,
        place: usize,
        client: &Client,
        job: &Job<'_>,
        limits: &Limits,
        deadline: &Deadline<'_>,
    ) -> Result<(), Failure> {
        let first = &deadline.within(limits.submit);
        let Some(open) = self.connection(place, client, job, first)? else {
            return self.open(place, client, job, limits, first);
        };
        status::JOBS_SUBMITTED.add(1);
        let deadline = &deadline.while_progressing(limits.submit);
        let submitted =
            self.connections.open[open].submit(place, job, &mut self.acknowledged, deadline);
        submitted.map_err(|failure| match failure.error {
            // The connection goes on to answer what went out before or behind the job.
            Error::Refused { .. } | Error::System { .. } => failure,
            _ => self.connections.open.swap_remove(open).judged(failure),
        })
    }

    /// The place of the connection for the job's function, if one leads to its server already.
    fn connection(
        &mut self,
        place: usize,
        client: &Client,
        job: &Job<'_>,
        deadline: &Deadline<'_>,
    ) -> Result<Option<usize>, Failure> {
        if let Some(&open) = self.place_of.get(job.function()) {
            return Ok(Some(open));
        }
        let open = self
            .connections
            .place_of(job.function(), client, deadline)
            .map_err(|error| Failure { place, error })?;
        if let Some(open) = open {
            self.remember(place, job, open)?;
        }
        Ok(open)
    }

    fn open(
        &mut self,
        place: usize,
        client: &Client,
        job: &Job<'_>,
        limits: &Limits,
        deadline: &Deadline<'_>,
    ) -> Result<(), Failure> {
        let open = self
            .connections
            .open(job, client, limits, deadline)
            .map_err(|error| Failure { place, error })?;
        self.acknowledged[place] = true;
        self.remember(place, job, open)
    }

    /// There is an entry for each function that the rows name.
    fn remember(&mut self, place: usize, job: &Job<'_>, open: usize) -> Result<(), Failure> {
        let room = self.place_of.try_reserve(1);
        room.map_err(|_| Failure {
            place,
            error: Error::no_memory(),
        })?;
        self.place_of.insert(job.function().to_vec(), open);
        Ok(())
    }
}

impl BatchConnection for BackgroundConnection {
    fn after_first_job(lease: Lease, _handle: Vec<u8>) -> Self {
        Self {
            lease,
            progress: Instant::now(),
            requests: BatchRequests::default(),
        }
    }

    fn lease(&self) -> &Lease {
        &self.lease
    }
}

impl BackgroundConnection {
    fn submit(
        &mut self,
        place: usize,
        job: &Job<'_>,
        acknowledged: &mut [bool],
        deadline: &Deadline<'_>,
    ) -> Result<(), Failure> {
        self.requests
            .add(place, job)
            .map_err(|error| Failure { place, error })?;
        if !self.requests.is_chunk() {
            return Ok(());
        }
        self.write(deadline)?;
        // Taken while they come: neither side piles up what the other has answered long ago.
        loop {
            let arrived = protocol::next_acknowledgement(&mut self.lease.connection, deadline);
            match arrived.map_err(|error| self.failure(error))? {
                Some(answer) => self.take(answer, acknowledged, deadline)?,
                None => return Ok(()),
            }
        }
    }

    fn finish(
        &mut self,
        acknowledged: &mut [bool],
        limits: &Limits,
        deadline: &Deadline<'_>,
    ) -> Result<(), Failure> {
        self.write(&deadline.while_progressing(limits.submit))?;
        let mut refused = None;
        while !self.requests.are_answered() {
            let deadline = &deadline.while_progressing(limits.submit);
            let answer = protocol::acknowledgement(&mut self.lease.connection, deadline);
            let answer = answer.map_err(|error| self.failure(error))?;
            // Those that went out behind a refused one are answered all the same.
            if let Err(failure) = self.take(answer, acknowledged, deadline) {
                refused.get_or_insert(failure);
            }
        }
        self.lease.connection.mark_answered();
        refused.map_or(Ok(()), Err)
    }

    fn write(&mut self, deadline: &Deadline<'_>) -> Result<(), Failure> {
        let written = self.requests.write(&mut self.lease.connection, deadline);
        if written.map_err(|error| self.failure(error))? {
            self.progress = Instant::now();
        }
        Ok(())
    }

    fn take(
        &mut self,
        answer: Acknowledgement,
        acknowledged: &mut [bool],
        deadline: &Deadline<'_>,
    ) -> Result<(), Failure> {
        let Some(place) = self.requests.answered() else {
            return Err(self.failure(self.lease.connection.unasked(deadline)));
        };
        self.progress = Instant::now();
        match answer {
            Acknowledgement::Created => {
                status::JOBS_ACKNOWLEDGED.add(1);
                acknowledged[place] = true;
                Ok(())
            }
            Acknowledgement::Refused(error) => Err(Failure { place, error }),
        }
    }

    /// What the failure says about the server.
    fn judged(&self, failure: Failure) -> Failure {
        let stage = Stage::Proven(self.progress.elapsed());
        Failure {
            error: self.judge(stage, failure.error),
            ..failure
        }
    }

    /// The connection failed, which fails the first job that has no answer.
    fn failure(&self, error: Error) -> Failure {
        let place = self.requests.unanswered().next();
        Failure {
            place: place.unwrap_or(usize::MAX),
            error,
        }
    }
}
