//! What became of a batch of jobs.

use std::sync::Arc;

use crate::error::Error;

/// What became of a batch.
#[derive(Debug)]
pub struct Outcome {
    /// How many jobs, counted from the first, were acknowledged without a gap; in a batch that waits for
    /// its workers: were done.
    pub acknowledged: usize,
    /// Why the others were not.
    pub failure: Option<Error>,
    /// Whether the first job that was not acknowledged is itself the reason: a job server was there
    /// and did not want it, it cannot be a job, or its worker failed.
    pub refused: bool,
    /// As [`crate::gearman::delivery::client::Submitted::passed_over`].
    pub passed_over: Vec<Arc<Error>>,
}

/// Why a batch ended.
#[derive(Debug)]
pub(super) struct Failure {
    /// The place of the job that failed.
    pub(super) place: usize,
    pub(super) error: Error,
}
