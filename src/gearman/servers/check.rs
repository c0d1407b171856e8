//! Asks a job server how it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::gearman::servers::job_server::JobServer;
use crate::gearman::wire::deadline::Deadline;
use crate::gearman::wire::exchange;

/// How one job server is.
#[derive(Debug)]
pub struct Report {
    /// `host:port` as the lists have it.
    pub server: Arc<str>,
    /// Which lists name it: the functions that have a list of their own, and `None` for the
    /// default list.
    pub lists: Vec<Option<Vec<u8>>>,
    /// What it answered, or why it did not.
    pub outcome: Result<Answer, Error>,
    /// How long no job is sent to it because it failed, counted from now.
    pub resting: Duration,
}

/// What a job server that is well answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How long an echo took, there and back.
    pub round_trip: Duration,
    /// What it says its version is.
    pub version: String,
}

/// Connects anew, and asks.
pub(crate) fn ask(server: &JobServer, deadline: &Deadline<'_>) -> Result<Answer, Error> {
    let mut connection = server.connect(deadline, deadline.left())?;
    let asked = Instant::now();
    exchange::echo(&mut connection, deadline)?;
    Ok(Answer {
        round_trip: asked.elapsed(),
        version: exchange::version(&mut connection, deadline)?,
    })
}
