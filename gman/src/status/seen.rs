//! Everything that was seen at one time.

use serde::Serialize;

use super::database::Database;
use super::memory::Memory;
use super::problems::Problem;
use super::queues::JobServer;
use super::worker::Worker;

/// Everything that was seen.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    /// Worst first.
    pub(super) problems: Vec<Problem>,
    pub(super) database: Database,
    pub(super) job_servers: Vec<JobServer>,
    pub(super) workers: Vec<Worker>,
    pub(super) redis: Memory,
}
