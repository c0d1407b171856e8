//! A batch of jobs of which each counts once a worker has done it, in the order they are given.
//!
//! They are foreground jobs on one connection to each server, and all are on their way before the
//! first is waited for. The first job that fails, or the first connection that does, ends the batch:
//! what is not confirmed is the caller's to keep and to submit again, so nothing is repeated here.
//!
//! A job behind one that failed may have been done. It has to be submitted again all the same, after
//! the failed one, or an older change would come last.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Phase};
use crate::gearman::delivery::batch_connections::{BatchConnection, BatchConnections};
use crate::gearman::delivery::batch_outcome::{Failure, Outcome};
use crate::gearman::delivery::batch_requests::BatchRequests;
use crate::gearman::delivery::client::Client;
use crate::gearman::limits::Limits;
use crate::gearman::servers::failover::Stage;
use crate::gearman::servers::lease::Lease;
use crate::gearman::wire::deadline::Deadline;
use crate::gearman::wire::job::Job;
use crate::gearman::wire::protocol::{self, Word};
use crate::memory;
use crate::status;

/// After this long without a word a job server is asked whether it is there: a job may take any time,
/// and a host that is gone says nothing.
const SILENCE: Duration = Duration::from_secs(5);

/// How many words are taken in one turn: a server that never stops talking is no reason not to look at the
/// time.
const MAX_WORDS: usize = 4096;

/// Jobs that are being submitted, and done.
#[derive(Debug, Default)]
pub struct ConfirmedBatch {
    connections: BatchConnections<ConfirmedConnection>,
    jobs: Jobs,
    failure: Option<Failure>,
}

/// For each job, in their order, whether a worker has done it.
#[derive(Debug, Default)]
struct Jobs {
    done: Vec<bool>,
    /// How many are done, counted from the first, without a gap.
    confirmed: usize,
}

/// The connection to one server.
#[derive(Debug)]
struct ConfirmedConnection {
    lease: Lease,
    requests: BatchRequests,
    /// The places of the jobs that wait for a worker, or are with one, by their handles.
    at_work: HashMap<Vec<u8>, usize>,
    /// When the server said something last, and whether it was asked for a word since.
    heard: Instant,
    asked: Option<Instant>,
}

impl ConfirmedBatch {
    /// Submits the next job, which is a foreground one. Once one has failed it does nothing.
    ///
    /// Waits while the job server takes nothing, for [`Limits::submit`] at most.
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
        let place = self.jobs.done.len();
        let deadline = Deadline::unless_stopped(limits.submit, should_stop);
        let submitted = memory::push(&mut self.jobs.done, false)
            .and(job)
            .map_err(|error| Failure { place, error })
            .and_then(|job| self.submit_at(place, client, &job, limits, &deadline));
        self.failure = submitted.err();
    }

    /// Waits until more jobs are done, for `patience` at most; returns whether the batch is over: all
    /// are done, or it has failed.
    pub fn wait(
        &mut self,
        patience: Duration,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) -> bool {
        let share =
            patience / u32::try_from(self.connections.open.len().max(1)).unwrap_or(u32::MAX);
        let before = self.jobs.confirmed;
        for connection in &mut self.connections.open {
            if self.failure.is_some() || self.jobs.confirmed > before {
                break;
            }
            let waited = connection.wait(&mut self.jobs, share, limits, should_stop);
            self.failure = waited.err();
        }
        self.is_over()
    }

    /// How many jobs, counted from the first, are done without a gap.
    pub fn confirmed(&self) -> usize {
        self.jobs.confirmed
    }

    /// What became of the jobs. Those that are not done are given up: a job server forgets them unless
    /// a worker has them.
    pub fn finish(self) -> Outcome {
        let confirmed = self.jobs.confirmed;
        for connection in self.connections.open {
            if self.failure.is_none() && connection.is_idle() {
                connection.keep();
            }
        }
        Outcome {
            acknowledged: confirmed,
            refused: self.failure.as_ref().is_some_and(|failure| {
                let is_the_workers = matches!(failure.error, Error::Job { .. });
                failure.place == confirmed && (is_the_workers || failure.error.blames_the_job())
            }),
            failure: self.failure.map(|failure| failure.error),
            passed_over: self.connections.passed_over,
        }
    }

    /// As [`ConfirmedBatch::finish`], after `waited` in which no worker finished a job.
    pub fn give_up(mut self, waited: Duration) -> Outcome {
        let place = self.jobs.confirmed;
        let open = self.connections.open.first();
        let Some(server) = open.map(|open| Arc::clone(open.lease.connection.server())) else {
            return self.finish();
        };
        let problem = format!(
            "no worker has finished one of {} jobs; is one running?",
            self.jobs.done.len() - place
        );
        self.failure = Some(Failure {
            // The rows are not to blame.
            place: usize::MAX,
            error: Error::Job {
                server,
                problem,
                elapsed: waited,
            },
        });
        self.finish()
    }

    fn is_over(&self) -> bool {
        self.failure.is_some() || self.jobs.confirmed == self.jobs.done.len()
    }

    fn submit_at(
        &mut self,
        place: usize,
        client: &Client,
        job: &Job<'_>,
        limits: &Limits,
        deadline: &Deadline<'_>,
    ) -> Result<(), Failure> {
        let fail = |error| Failure { place, error };
        let open = self
            .connections
            .place_of(job.function(), client, deadline)
            .map_err(fail)?;
        let Some(open) = open else {
            let opened = self.connections.open(job, client, limits, deadline);
            self.connections.open[opened.map_err(fail)?].begin(place);
            return Ok(());
        };
        status::JOBS_SUBMITTED.add(1);
        self.connections.open[open].submit(place, job, &mut self.jobs, deadline)
    }
}

impl Jobs {
    fn is_done(&mut self, place: usize) {
        self.done[place] = true;
        while self.done.get(self.confirmed) == Some(&true) {
            self.confirmed += 1;
        }
    }
}

impl BatchConnection for ConfirmedConnection {
    fn after_first_job(lease: Lease, handle: Vec<u8>) -> Self {
        Self {
            lease,
            requests: BatchRequests::default(),
            at_work: HashMap::from([(handle, 0)]),
            heard: Instant::now(),
            asked: None,
        }
    }

    fn lease(&self) -> &Lease {
        &self.lease
    }
}

impl ConfirmedConnection {
    /// The place of the job that opened the connection.
    fn begin(&mut self, place: usize) {
        self.at_work.values_mut().for_each(|first| *first = place);
    }

    fn submit(
        &mut self,
        place: usize,
        job: &Job<'_>,
        jobs: &mut Jobs,
        deadline: &Deadline<'_>,
    ) -> Result<(), Failure> {
        self.requests
            .add(place, job)
            .map_err(|error| Failure { place, error })?;
        if !self.requests.is_chunk() {
            return Ok(());
        }
        self.write(deadline)?;
        self.take_arrivals(jobs, deadline)
    }

    fn write(&mut self, deadline: &Deadline<'_>) -> Result<(), Failure> {
        let written = self.requests.write(&mut self.lease.connection, deadline);
        written.map(drop).map_err(|error| self.failure(error))
    }

    /// Waits until more jobs are done, or `patience` is over.
    fn wait(
        &mut self,
        jobs: &mut Jobs,
        patience: Duration,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<(), Failure> {
        self.write(&Deadline::unless_stopped(limits.submit, should_stop))?;
        let deadline = Deadline::unless_stopped(patience, should_stop);
        let before = jobs.confirmed;
        while jobs.confirmed == before && !self.is_idle() {
            self.ask_if_silent(limits, should_stop)?;
            let arrived = self.lease.connection.wait_for_arrivals(&deadline);
            if !arrived.map_err(|error| self.failure(error))? {
                break;
            }
            self.take_arrivals(jobs, &deadline)?;
        }
        Ok(())
    }

    /// Takes what is there, or much of it.
    fn take_arrivals(&mut self, jobs: &mut Jobs, deadline: &Deadline<'_>) -> Result<(), Failure> {
        for _ in 0..MAX_WORDS {
            let word = protocol::next_word(&mut self.lease.connection, deadline);
            let Some(word) = word.map_err(|error| self.failure(error))? else {
                return Ok(());
            };
            (self.heard, self.asked) = (Instant::now(), None);
            self.take(word, jobs, deadline)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        word: Word,
        jobs: &mut Jobs,
        deadline: &Deadline<'_>,
    ) -> Result<(), Failure> {
        match word {
            Word::Created(handle) => {
                let place = self.answered(deadline)?;
                status::JOBS_ACKNOWLEDGED.add(1);
                let room = self.at_work.try_reserve(1);
                room.map_err(|_| self.failure(Error::no_memory()))?;
                self.at_work.insert(handle, place);
            }
            Word::Refused(error) => {
                let place = self.answered(deadline)?;
                return Err(Failure { place, error });
            }
            Word::Done(handle) => jobs.is_done(self.worked_on(&handle, deadline)?),
            Word::Failed(handle, problem) => {
                let place = self.worked_on(&handle, deadline)?;
                let error = protocol::failed(&self.lease.connection, problem, deadline);
                return Err(Failure { place, error });
            }
            Word::Other => {}
        }
        Ok(())
    }

    /// The place of the job whose submission has been answered.
    fn answered(&mut self, deadline: &Deadline<'_>) -> Result<usize, Failure> {
        let place = self.requests.answered();
        place.ok_or_else(|| self.failure(self.lease.connection.unasked(deadline)))
    }

    /// The place of the job that a worker is done with. With another job's handle the word about one of
    /// ours may be lost, which would be waited for in vain.
    fn worked_on(&mut self, handle: &[u8], deadline: &Deadline<'_>) -> Result<usize, Failure> {
        let place = self.at_work.remove(handle);
        place.ok_or_else(|| {
            self.failure(protocol::unexpected_result(
                &self.lease.connection,
                deadline,
            ))
        })
    }

    fn ask_if_silent(
        &mut self,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<(), Failure> {
        let deadline = Deadline::unless_stopped(limits.submit, should_stop);
        match self.asked {
            Some(asked) if asked.elapsed() > limits.submit => {
                let error = self.lease.connection.timed_out(Phase::Receive, &deadline);
                Err(self.failure(error))
            }
            None if self.heard.elapsed() > SILENCE => {
                let asked = protocol::ask_for_echo(&mut self.lease.connection, &deadline);
                asked.map_err(|error| self.failure(error))?;
                self.asked = Some(Instant::now());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn is_idle(&self) -> bool {
        self.requests.are_answered() && self.at_work.is_empty()
    }

    fn keep(mut self) {
        self.lease.connection.mark_answered();
        self.lease.keep();
    }

    /// The connection failed, which fails the first job that is not done.
    fn failure(&self, error: Error) -> Failure {
        let at_work = self.at_work.values().copied();
        let place = at_work.chain(self.requests.unanswered()).min();
        Failure {
            place: place.unwrap_or(usize::MAX),
            error: self.judge(Stage::Working, error),
        }
    }
}
