//! What batches of background and of foreground jobs have in common: one connection to each job server,
//! on which jobs follow one another without waiting for answers.
//!
//! The first job for a server is submitted as any other, with the next server to fall back on; the
//! others follow on its connection.

use std::sync::Arc;

use crate::error::Error;
use crate::gearman::delivery::client::Client;
use crate::gearman::limits::Limits;
use crate::gearman::servers::failover::Stage;
use crate::gearman::servers::lease::Lease;
use crate::gearman::wire::deadline::Deadline;
use crate::gearman::wire::job::Job;

/// A connection on which jobs follow one another.
pub(crate) trait BatchConnection {
    /// The one on which the first job was submitted, which has this handle.
    fn after_first_job(lease: Lease, handle: Vec<u8>) -> Self;

    /// The connection itself.
    fn lease(&self) -> &Lease;

    /// Draws the conclusions from a failure in `stage`; returns the error for the caller.
    fn judge(&self, stage: Stage, error: Error) -> Error {
        let verdict = self.lease().server().judge(&mut None, stage, error);
        verdict.into_error()
    }
}

/// The connections of a batch.
#[derive(Debug)]
pub(crate) struct BatchConnections<C> {
    pub(crate) open: Vec<C>,
    /// What went wrong on the way: servers that were tried before one that took a job.
    pub(crate) passed_over: Vec<Arc<Error>>,
}

impl<C: BatchConnection> BatchConnections<C> {
    /// The place of the connection to the server that a job for `function` would be tried on first, if
    /// it is open.
    pub(crate) fn place_of(
        &self,
        function: &[u8],
        client: &Client,
        deadline: &Deadline<'_>,
    ) -> Result<Option<usize>, Error> {
        let server = client.first_choice(function, deadline)?;
        let mut open = self.open.iter();
        Ok(open.position(|connection| Arc::ptr_eq(connection.lease().server(), &server)))
    }

    /// Submits the first job for a server; returns the place of the connection that is open now.
    pub(crate) fn open(
        &mut self,
        job: &Job<'_>,
        client: &Client,
        limits: &Limits,
        deadline: &Deadline<'_>,
    ) -> Result<usize, Error> {
        let mut delivered = client.deliver(job, deadline, limits)?;
        self.passed_over.append(&mut delivered.passed_over);
        delivered.lease.release_permit();
        self.open
            .push(C::after_first_job(delivered.lease, delivered.handle));
        Ok(self.open.len() - 1)
    }
}

impl<C> Default for BatchConnections<C> {
    fn default() -> Self {
        Self {
            open: Vec::new(),
            passed_over: Vec::new(),
        }
    }
}
