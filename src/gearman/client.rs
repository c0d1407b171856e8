//! Submits jobs: server order, cool-down, and the one retry decision.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, mpsc};
use std::time::{Duration, Instant};

use crate::error::{Error, Phase};
use crate::gearman::check::{self, Answer, Report};
use crate::gearman::connection::Connection;
use crate::gearman::deadline::Deadline;
use crate::gearman::exchange;
use crate::gearman::health::Attempt;
use crate::gearman::job::{self, Job, Mode};
use crate::gearman::job_server::JobServer;
use crate::gearman::lists::{List, Listed, Lists};
use crate::gearman::refresher::Refresher;
use crate::gearman::resolver;
use crate::gearman::servers::{self, HostPort};
use crate::gearman::thread;
use crate::status;

/// What bounds a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long opening one connection may take.
    pub connect: Duration,
    /// How long it may take until a job server has a job, all attempts together.
    pub submit: Duration,
    /// How long a foreground call may take, from the submission to the result.
    pub run: Duration,
    /// How many idle connections are kept for each server.
    pub max_idle: usize,
}

/// A client of one or more job servers; many threads may use it at once.
#[derive(Debug, Default)]
pub struct Client {
    lists: Arc<RwLock<Lists>>,
    refresher: Refresher,
}

/// A job that a job server has.
#[derive(Debug)]
pub struct Submitted {
    /// The job handle.
    pub handle: Vec<u8>,
    /// What went wrong on the way: servers that were tried before the one that took the job.
    pub passed_over: Vec<Arc<Error>>,
}

/// The result of a foreground job.
#[derive(Debug)]
pub struct Completed {
    /// What the worker answered.
    pub result: Vec<u8>,
    /// As [`Submitted::passed_over`].
    pub passed_over: Vec<Arc<Error>>,
}

/// A job that has been submitted, and the connection its result would come on.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) server: Arc<JobServer>,
    pub(crate) connection: Connection,
    pub(crate) handle: Vec<u8>,
    pub(crate) passed_over: Vec<Arc<Error>>,
}

/// What to do after an attempt has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Try the same server again with a fresh connection: this one had died while it was idle.
    Reconnect,
    /// Leave the server alone for a while and try the next one.
    RestThenPassOver,
    /// Try the next server; this one is there, but does not want the job.
    PassOver,
    /// Trying again is of no use.
    GiveUp,
}

/// The one place that decides about retries. A new kind of error has to decide here.
///
/// A request may have been carried out although its answer was lost. The job's unique id is the
/// same in every attempt, so a job server that has the job does not queue it twice.
fn after(error: &Error, was_idle: bool) -> Next {
    match error {
        Error::Network { source, .. } if was_idle && hung_up(source) => Next::Reconnect,
        Error::Network { .. } | Error::Protocol { .. } => Next::RestThenPassOver,
        Error::Refused { .. } | Error::Resting { .. } => Next::PassOver,
        Error::Input(_)
        | Error::NoServers
        | Error::Undelivered(_)
        | Error::Job { .. }
        | Error::Stopped
        | Error::Panic(_) => Next::GiveUp,
    }
}

fn hung_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
    )
}

impl Client {
    /// A client without servers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the list of servers (`host:port,[::1]:4730`): the default one, or that of one
    /// Gearman function. Names are resolved now, within `limit`; every server of the list gets
    /// a fresh chance.
    ///
    /// # Errors
    ///
    /// [`Error::Input`] for a bad list or function name, [`Error::Network`] for a name that does
    /// not resolve. The list is then as it was.
    pub fn set_servers(
        &self,
        list: &str,
        function: Option<&[u8]>,
        limit: Duration,
    ) -> Result<(), Error> {
        let function = function.map(job::checked_function).transpose()?;
        let resolved = resolve(servers::parse(list)?, limit)?;
        let has_names = resolved
            .iter()
            .any(|(server, _)| server.literal().is_none());
        self.lists
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .set(function, resolved);
        if has_names {
            self.keep_fresh()?;
        } else {
            self.refresher.ask();
        }
        Ok(())
    }

    /// Submits a background job.
    ///
    /// # Errors
    ///
    /// [`Error::NoServers`], or [`Error::Undelivered`] when no server took the job within
    /// [`Limits::submit`].
    pub fn submit(&self, job: &Job<'_>, limits: &Limits) -> Result<Submitted, Error> {
        let deadline = Deadline::after(limits.submit);
        let delivered = self.deliver(job, &deadline, limits)?;
        delivered
            .server
            .pool
            .put(delivered.connection, limits.max_idle);
        Ok(Submitted {
            handle: delivered.handle,
            passed_over: delivered.passed_over,
        })
    }

    /// Submits a foreground job and waits for its result, until `should_stop` answers true.
    ///
    /// A job that has been submitted is never submitted again: it may have been carried out.
    ///
    /// # Errors
    ///
    /// As [`Client::submit`]; [`Error::Job`] when the worker failed; [`Error::Stopped`].
    pub fn run(
        &self,
        job: &Job<'_>,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Completed, Error> {
        let deadline = Deadline::unless_stopped(limits.run, should_stop);
        let mut delivered = self.deliver(job, &deadline.within(limits.submit), limits)?;
        let result = exchange::result(&mut delivered.connection, &delivered.handle, &deadline);
        // Also where the worker failed: the pool keeps what is clean.
        delivered
            .server
            .pool
            .put(delivered.connection, limits.max_idle);
        Ok(Completed {
            result: result?,
            passed_over: delivered.passed_over,
        })
    }

    /// Asks every server of every list how it is, all at once. A server that answers gets jobs
    /// again at once, where it was left alone. Takes [`Limits::connect`] at most.
    pub fn check(&self, limits: &Limits) -> Vec<Report> {
        let deadline = Deadline::after(limits.connect);
        let servers = self.read_lists().listed();
        let (give, outcomes) = mpsc::channel();
        for (index, listed) in servers.iter().enumerate() {
            let (give_back, left) = (give.clone(), deadline.left());
            let server = Arc::clone(&listed.server);
            let started = thread::spawn("gman-check", move || {
                let outcome = check::ask(&server, &Deadline::after(left));
                // The other end waits for everybody.
                let _ = give_back.send((index, outcome));
            });
            if let Err(source) = started {
                let _ = give.send((index, Err(no_thread(&listed.server, source))));
            }
        }
        drop(give);
        let mut reports: Vec<_> = outcomes
            .iter()
            .map(|(index, outcome)| (index, report(&servers[index], outcome)))
            .collect();
        reports.sort_by_key(|(index, _)| *index);
        reports.into_iter().map(|(_, report)| report).collect()
    }

    /// The server that a job for `function` would be tried on first, now.
    pub(crate) fn first_choice(&self, function: &[u8]) -> Result<Arc<JobServer>, Error> {
        let servers = self.servers_of(function)?;
        let now = Instant::now();
        let first = servers
            .iter()
            .find(|server| server.health.is_available(now))
            .unwrap_or(&servers[0]);
        Ok(Arc::clone(first))
    }

    /// Finds a server that takes the job: in the order of the list, passing over those that rest.
    pub(crate) fn deliver(
        &self,
        job: &Job<'_>,
        deadline: &Deadline<'_>,
        limits: &Limits,
    ) -> Result<Delivered, Error> {
        let servers = self.servers_of(job.function())?;
        let mut failures: Vec<Arc<Error>> = Vec::new();
        let mut passed_over: Vec<Arc<Error>> = Vec::new();
        for (index, server) in servers.iter().enumerate() {
            if index > 0 && deadline.left().is_zero() {
                break;
            }
            let attempt = match server.health.attempt(Instant::now()) {
                Ok(attempt) => attempt,
                Err(resting) => {
                    failures.push(Arc::new(server.at_rest(resting)));
                    continue;
                }
            };
            if !passed_over.is_empty() {
                status::RETRIES.add(1);
            }
            // A server that says nothing must leave the others time to answer.
            let share = deadline.share(1 + available(&servers[index + 1..]));
            let failure = match deliver_to(server, job, &share, limits) {
                Ok((connection, handle)) => {
                    attempt.succeeded();
                    status::JOBS_SUBMITTED.add(1);
                    return Ok(Delivered {
                        server: Arc::clone(server),
                        connection,
                        handle,
                        passed_over,
                    });
                }
                Err(error) => self.judge(server, attempt, error)?,
            };
            failures.push(Arc::clone(&failure));
            passed_over.push(failure);
        }
        Err(Error::Undelivered(failures))
    }

    /// Draws the conclusions from a failed attempt; answers the failure where the next server may
    /// be tried.
    fn judge(
        &self,
        server: &JobServer,
        attempt: Attempt<'_>,
        error: Error,
    ) -> Result<Arc<Error>, Error> {
        let next = after(&error, false);
        if next == Next::GiveUp {
            return Err(error);
        }
        let failure = Arc::new(error);
        match next {
            Next::PassOver => attempt.succeeded(),
            Next::RestThenPassOver | Next::Reconnect | Next::GiveUp => {
                attempt.failed(Arc::clone(&failure), Instant::now());
                server.pool.clear();
                self.refresher.ask();
                status::SERVER_FAILURES.add(1);
            }
        }
        Ok(failure)
    }

    /// At least one server.
    fn servers_of(&self, function: &[u8]) -> Result<List, Error> {
        self.read_lists().of(function).ok_or(Error::NoServers)
    }

    fn read_lists(&self) -> RwLockReadGuard<'_, Lists> {
        // A list is put in place whole.
        self.lists.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_fresh(&self) -> Result<(), Error> {
        let lists = Arc::downgrade(&self.lists);
        let named_servers = move || match lists.upgrade() {
            Some(lists) => lists
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .all()
                .filter(|server| server.host_port.literal().is_none())
                .cloned()
                .collect(),
            None => Vec::new(),
        };
        self.refresher.run(named_servers).map_err(|error| {
            Error::Input(format!(
                "servers: no thread to keep their addresses fresh: {error}"
            ))
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.lists = Arc::default();
        self.refresher.ask();
    }
}

fn report(listed: &Listed, outcome: Result<Answer, Error>) -> Report {
    let Listed { server, lists } = listed;
    if outcome.is_ok() {
        server.health.reset();
    }
    Report {
        server: Arc::clone(&server.name),
        lists: lists.clone(),
        outcome,
        resting: server.health.rest_left(Instant::now()),
    }
}

fn no_thread(server: &JobServer, source: io::Error) -> Error {
    Error::Network {
        server: Arc::clone(&server.name),
        phase: Phase::Connect,
        elapsed: Duration::ZERO,
        source,
    }
}

/// Looks all servers up at once.
fn resolve(
    servers: Vec<HostPort>,
    limit: Duration,
) -> Result<Vec<(HostPort, Vec<SocketAddr>)>, Error> {
    let deadline = Deadline::after(limit);
    let lookups: Vec<_> = servers.iter().map(resolver::begin).collect();
    servers
        .into_iter()
        .zip(lookups)
        .map(|(server, lookup)| Ok((server, lookup.wait(&deadline)?)))
        .collect()
}

/// How many of `servers` may be tried now.
fn available(servers: &[Arc<JobServer>]) -> usize {
    let now = Instant::now();
    let available = servers
        .iter()
        .filter(|server| server.health.is_available(now));
    available.count()
}

/// Submits the job to one server, on an idle connection where there is one.
fn deliver_to(
    server: &JobServer,
    job: &Job<'_>,
    deadline: &Deadline<'_>,
    limits: &Limits,
) -> Result<(Connection, Vec<u8>), Error> {
    if let Some(connection) = server.pool.take() {
        match deliver_on(connection, job, deadline) {
            Err(error) if after(&error, true) == Next::Reconnect => status::RETRIES.add(1),
            outcome => return outcome,
        }
    }
    let connection = server.connect(deadline, limits.connect)?;
    deliver_on(connection, job, deadline)
}

fn deliver_on(
    mut connection: Connection,
    job: &Job<'_>,
    deadline: &Deadline<'_>,
) -> Result<(Connection, Vec<u8>), Error> {
    if let Mode::Foreground(_) = job.mode() {
        exchange::forward_exceptions(&mut connection, deadline)?;
    }
    let handle = exchange::submit(&mut connection, job, deadline)?;
    Ok((connection, handle))
}
