//! A batch of foreground jobs: all are submitted before the first result is waited for.
//!
//! The first job for a server is submitted as any other, with the next server to fall back on.
//! Those that follow go out on the same connection without waiting. When that connection fails,
//! some of them may have been carried out: the batch as a whole fails, and nothing is
//! submitted again.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::Error;
use crate::gearman::delivery::batch_connections::{BatchConnection, BatchConnections};
use crate::gearman::delivery::client::Client;
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
pub struct ForegroundBatch {
    connections: BatchConnections<ForegroundConnection>,
}

/// The connection to one server.
#[derive(Debug)]
struct ForegroundConnection {
    lease: Lease,
    /// Jobs without a result.
    outstanding: u64,
    /// Results that come in parts, by job handle.
    parts: HashMap<Vec<u8>, Vec<u8>>,
    /// How many bytes those have, together.
    parts_bytes: usize,
}

impl ForegroundBatch {
    /// A batch without jobs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Submits a foreground job. Results that are there already go to `take`.
    ///
    /// # Errors
    ///
    /// As [`Client::run`]. The batch is of no use after that.
    pub fn submit(
        &mut self,
        client: &Client,
        job: &Job<'_>,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
        take: &mut Take<'_>,
    ) -> Result<(), Error> {
        let deadline = Deadline::unless_stopped(limits.submit, should_stop);
        let open = self
            .connections
            .place_of(job.function(), client, &deadline)?;
        if let Some(open) = open {
            status::JOBS_SUBMITTED.add(1);
            return self.connections.open[open].submit(job, &deadline, take);
        }
        let opened = self.connections.open(job, client, limits, &deadline);
        opened.map(drop)
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
        for mut connection in self.connections.open {
            while connection.outstanding > 0 {
                connection.receive(&deadline, take)?;
            }
            connection.lease.connection.mark_answered();
            connection.lease.keep();
        }
        Ok(self.connections.passed_over)
    }
}

impl BatchConnection for ForegroundConnection {
    fn after_first_job(lease: Lease, _handle: Vec<u8>) -> Self {
        Self {
            lease,
            outstanding: 1,
            parts: HashMap::new(),
            parts_bytes: 0,
        }
    }

    fn lease(&self) -> &Lease {
        &self.lease
    }
}

impl ForegroundConnection {
    fn submit(
        &mut self,
        job: &Job<'_>,
        deadline: &Deadline<'_>,
        take: &mut Take<'_>,
    ) -> Result<(), Error> {
        let sent = protocol::send(&mut self.lease.connection, job, deadline);
        sent.map_err(|error| self.judge(Stage::Working, error))?;
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
            .map_err(|error| self.judge(Stage::Working, error))
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
                if (parts.is_empty() && open >= self.outstanding)
                    || !protocol::fits(self.parts_bytes, data)
                {
                    return Err(protocol::unexpected_result(connection, deadline));
                }
                self.parts_bytes += data.len();
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
            Some(parts) if !protocol::fits(parts.len(), data) => {
                return Err(protocol::unexpected_result(connection, deadline));
            }
            Some(mut parts) => {
                self.parts_bytes -= parts.len();
                memory::append(&mut parts, data)?;
                take(&parts)
            }
        };
        taken.map_err(|problem| protocol::failed(connection, problem, deadline))
    }
}
