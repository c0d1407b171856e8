//! Asks a job server how it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::gearman::servers::job_server::JobServer;
use crate::gearman::thread;
use crate::gearman::wire::deadline::Deadline;
use crate::gearman::wire::protocol::{self, Queue};

/// How one job server is.
#[derive(Debug)]
pub struct Report {
    /// `host:port` as the lists have it.
    pub server: Arc<str>,
    /// Which lists name it: the functions that have a list of their own, and `None` for the
    /// default list.
    pub lists: Vec<Option<Vec<u8>>>,
    /// What it answered, or why it did not.
    pub outcome: Result<ServerInfo, Error>,
    /// How long no job is sent to it because it failed, counted from now.
    pub resting: Duration,
}

/// What a job server that is well answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// How long an echo took, there and back.
    pub round_trip: Duration,
    /// What it says its version is.
    pub version: String,
    /// The [`SHOWN_QUEUES`] deepest queues that have jobs, the deepest first.
    pub queues: Vec<Queue>,
}

/// How many queues of a job server are told of.
pub const SHOWN_QUEUES: usize = 16;

/// How often it is looked whether the caller still wants to know.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Asks all of `servers` at the same time, for `limit` at most; the answers come in their order.
///
/// # Errors
///
/// [`Error::Stopped`] once `should_stop` returns true.
pub(crate) fn ask_all<'s>(
    servers: impl Iterator<Item = &'s Arc<JobServer>>,
    limit: Duration,
    should_stop: &dyn Fn() -> bool,
) -> Result<Vec<Result<ServerInfo, Error>>, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    // Closed once every thread has ended, however it did.
    let (running, ended) = mpsc::channel::<()>();
    let asked: Vec<_> = servers
        .map(|server| {
            let (server, stop, running) = (Arc::clone(server), Arc::clone(&stop), running.clone());
            thread::spawn("gman-check", move || {
                let _running = running;
                let should_stop = || stop.load(Ordering::Relaxed);
                ask(&server, &Deadline::unless_stopped(limit, &should_stop))
            })
        })
        .collect();
    drop(running);
    while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
        if should_stop() {
            stop.store(true, Ordering::Relaxed);
        }
    }
    let answers = asked.into_iter().map(|asked| match asked {
        Ok(thread) => joined(thread),
        Err(source) => Err(Error::no("thread", source)),
    });
    let answers = answers.collect();
    match stop.load(Ordering::Relaxed) {
        true => Err(Error::Stopped),
        false => Ok(answers),
    }
}

fn joined(thread: JoinHandle<Result<ServerInfo, Error>>) -> Result<ServerInfo, Error> {
    thread
        .join()
        .unwrap_or_else(|_| Err(Error::Panic("while a job server was asked".to_owned())))
}

/// Connects anew, and asks.
fn ask(server: &JobServer, deadline: &Deadline<'_>) -> Result<ServerInfo, Error> {
    let mut connection = server.connect(deadline, deadline.left())?;
    let asked = Instant::now();
    protocol::echo(&mut connection, deadline)?;
    Ok(ServerInfo {
        round_trip: asked.elapsed(),
        version: protocol::version(&mut connection, deadline)?,
        queues: protocol::queues(&mut connection, SHOWN_QUEUES, deadline)?,
    })
}
