//! Many foreground jobs at once: all are submitted before the first result is waited for.
//!
//! The first job for a server is submitted as any other, with the next server to fall back on.
//! Those that follow go out on the same connection without waiting. When that connection fails,
//! some of them may have been carried out: the gathering as a whole fails, and nothing is
//! submitted again.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::Error;
use crate::gearman::delivery::client::{Client, Delivered};
use crate::gearman::limits::Limits;
use crate::gearman::servers::failover::Stage;
use crate::gearman::servers::lease::Lease;
use crate::gearman::wire::deadline::Deadline;
use crate::gearman::wire::job::Job;
use crate::gearman::wire::protocol::{self, Reply};
use crate::memory;
use crate::status;

/// Takes one result; an `Err` says what was expected.
pub type Take<'a> = dyn FnMut(&[u8]) -> Result<(), String> + 'a;

/// Jobs that have been submitted and whose results are still to come.
#[derive(Debug, Default)]
pub struct Gathering {
    lanes: Vec<Lane>,
    passed_over: Vec<Arc<Error>>,
}

/// The connection to one server.
#[derive(Debug)]
struct Lane {
    lease: Lease,
    /// Jobs without a result.
    outstanding: u64,
    /// Results that come in parts, by job handle.
    parts: HashMap<Vec<u8>, Vec<u8>>,
}

impl Gathering {
    /// A gathering without jobs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Submits a foreground job. Results that are there already go to `take`.
    ///
    /// # Errors
    ///
    /// As [`Client::run`]. The gathering is of no use after that.
    pub fn submit(
        &mut self,
        client: &Client,
        job: &Job<'_>,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
        take: &mut Take<'_>,
    ) -> Result<(), Error> {
        let deadline = Deadline::unless_stopped(limits.submit, should_stop);
        let server = client.first_choice(job.function(), &deadline)?;
        let known = self
            .lanes
            .iter_mut()
            .find(|lane| Arc::ptr_eq(lane.lease.server(), &server));
        match known {
            Some(lane) => {
                status::JOBS_SUBMITTED.add(1);
                lane.submit(job, &deadline, take)
            }
            None => {
                let delivered = client.deliver(job, &deadline, limits)?;
                self.passed_over
                    .extend(delivered.passed_over.iter().cloned());
                self.lanes.push(Lane::new(delivered));
                Ok(())
            }
        }
    }

    /// Waits for all results. Returns what went wrong on the way: servers that were tried before
    /// one that took a job.
    ///
    /// # Errors
    ///
    /// As [`Client::run`].
    pub fn finish(
        self,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
        take: &mut Take<'_>,
    ) -> Result<Vec<Arc<Error>>, Error> {
        let deadline = Deadline::unless_stopped(limits.run, should_stop);
        for mut lane in self.lanes {
            while lane.outstanding > 0 {
                lane.receive(&deadline, take)?;
            }
            lane.lease.connection.mark_answered();
            lane.lease.keep();
        }
        Ok(self.passed_over)
    }
}

impl Lane {
    fn new(mut delivered: Delivered) -> Self {
        delivered.lease.release_permit();
        Self {
            lease: delivered.lease,
            outstanding: 1,
            parts: HashMap::new(),
        }
    }

    fn submit(
        &mut self,
        job: &Job<'_>,
        deadline: &Deadline<'_>,
        take: &mut Take<'_>,
    ) -> Result<(), Error> {
        let sent = protocol::send(&mut self.lease.connection, job, deadline);
        sent.map_err(|error| self.judged(error))?;
        self.outstanding += 1;
        // Taken while they come: neither side piles up what the other has answered long ago.
        while self.lease.connection.has_arrivals() {
            self.receive(deadline, take)?;
        }
        Ok(())
    }

    /// Waits for one packet.
    fn receive(&mut self, deadline: &Deadline<'_>, take: &mut Take<'_>) -> Result<(), Error> {
        self.take_reply(deadline, take)
            .map_err(|error| self.judged(error))
    }

    fn take_reply(&mut self, deadline: &Deadline<'_>, take: &mut Take<'_>) -> Result<(), Error> {
        let connection = &mut self.lease.connection;
        let (handle, data) = match protocol::reply(connection, deadline)? {
            Reply::Created => {
                status::JOBS_ACKNOWLEDGED.add(1);
                return Ok(());
            }
            Reply::Progress => return Ok(()),
            Reply::Data(handle, data) => {
                let open = self.parts.len() as u64;
                let room = self.parts.try_reserve(1);
                room.map_err(|_| Error::no_memory())?;
                let parts = self.parts.entry(handle.to_vec()).or_default();
                if (parts.is_empty() && open >= self.outstanding) || !protocol::fits(parts, data) {
                    return Err(protocol::unexpected_result(connection, deadline));
                }
                return memory::append(parts, data);
            }
            Reply::Complete(handle, data) => (handle, data),
            Reply::Failed(_) => {
                let problem = protocol::WORKER_FAILED.to_owned();
                return Err(protocol::failed(connection, problem, deadline));
            }
        };
        let Some(outstanding) = self.outstanding.checked_sub(1) else {
            return Err(connection.unasked(deadline));
        };
        self.outstanding = outstanding;
        let taken = match self.parts.remove(handle) {
            None => take(data),
            Some(parts) if !protocol::fits(&parts, data) => {
                return Err(protocol::unexpected_result(connection, deadline));
            }
            Some(mut parts) => {
                memory::append(&mut parts, data)?;
                take(&parts)
            }
        };
        taken.map_err(|problem| protocol::failed(connection, problem, deadline))
    }

    /// What the failure says about the server.
    fn judged(&self, error: Error) -> Error {
        let verdict = self.lease.server().judge(&mut None, Stage::Working, error);
        verdict.into_error()
    }
}
