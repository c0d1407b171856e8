//! Submits jobs: which job servers are tried, in which order, and for how long.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::gearman::delivery::events::{Event, Listener};
use crate::gearman::delivery::held::{Held, Holding};
use crate::gearman::delivery::pipeline::Pipeline;
use crate::gearman::delivery::routing_table::{RoutedServer, RoutingTable};
use crate::gearman::limits::Limits;
use crate::gearman::servers::check::{self, Report, ServerInfo};
use crate::gearman::servers::failover::{Stage, Verdict};
use crate::gearman::servers::health::Attempt;
use crate::gearman::servers::host_port;
use crate::gearman::servers::job_server::{JobServer, ServerList};
use crate::gearman::servers::lease::Lease;
use crate::gearman::servers::refresher::Refresher;
use crate::gearman::wire::deadline::Deadline;
use crate::gearman::wire::job::{self, Job, Mode};
use crate::gearman::wire::protection::Protection;
use crate::gearman::wire::protocol;
use crate::gearman::wire::tls::files::Files;
use crate::status;

/// A client of one or more job servers; many threads may use it at once.
#[derive(Debug)]
pub struct Client {
    routes: Arc<RwLock<RoutingTable>>,
    refresher: Refresher,
    listener: Listener,
    protection: Protection,
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
    pub(crate) lease: Lease,
    pub(crate) handle: Vec<u8>,
    pub(crate) passed_over: Vec<Arc<Error>>,
}

impl Client {
    /// A client without servers. Nobody hears of the troubles of pipelined delivery.
    pub fn new() -> Self {
        Self::with_listener(|_| {})
    }

    /// A client without servers. `listener` hears of the troubles of pipelined delivery.
    pub fn with_listener(listener: impl Fn(Event<'_>) + Send + Sync + 'static) -> Self {
        let listener = Listener::new(listener);
        let refresher = Refresher::default();
        let protection = Protection::default();
        let routes = RoutingTable::new(listener.clone(), refresher.clone(), protection.clone());
        Self {
            routes: Arc::new(RwLock::new(routes)),
            refresher,
            listener,
            protection,
        }
    }

    /// Sets the list of servers (`host:port,[::1]:4730`): the default one, or that of one
    /// Gearman function; every server of the list gets a fresh chance. Waits for nothing: a name is
    /// resolved by the first job for its server, and again and again by a thread, so that one that
    /// does not resolve yet is no reason to be without the others.
    ///
    /// # Errors
    ///
    /// [`Error::Input`] for a bad list or function name, [`Error::System`] if there is no thread for
    /// its names. The list is then as it was.
    pub fn set_servers(&self, list: &str, function: Option<&[u8]>) -> Result<(), Error> {
        let function = function.map(job::checked_function).transpose()?;
        let servers = host_port::parse(list)?;
        // The thread comes first, as it can be refused; it looks at the servers after a while only.
        if servers.iter().any(|server| server.literal().is_none()) {
            self.keep_fresh()?;
        }
        self.routes_mut().set(function, servers)?;
        self.refresher.ask();
        Ok(())
    }

    /// Whether there is any list.
    pub fn has_servers(&self) -> bool {
        self.routes().servers().next().is_some()
    }

    /// TLS from now on, for every connection, or plain TCP. What is under way is finished on the connection
    /// that it is on.
    pub fn set_tls(&self, tls: Option<Files>) {
        let listener = self.listener.clone();
        let notice = move |problem: &str| listener.tell(Event::TlsFilesUnusable(problem));
        self.protection.set(tls, notice);
        self.routes().reconnect();
    }

    /// Removes the default list. Lists of single functions stay.
    pub fn unset_servers(&self) {
        self.routes_mut().unset();
    }

    /// Removes a function's own list: its jobs go to the default list.
    ///
    /// # Errors
    ///
    /// [`Error::Input`] for a bad function name.
    pub fn unset_servers_of(&self, function: &[u8]) -> Result<(), Error> {
        let function = job::checked_function(function)?;
        self.routes_mut().unset_of(function);
        Ok(())
    }

    /// Leaves a background job in a window and goes on; a thread submits it, and again until a job
    /// server has it. Waits while the window is full, for [`Limits::submit`] at most and until
    /// `should_stop` returns true.
    ///
    /// # Errors
    ///
    /// [`Error::NoServers`]; [`Error::WindowFull`]; [`Error::System`]; [`Error::Stopped`].
    pub fn submit_later(
        &self,
        job: &Job<'_>,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        status::JOBS_SUBMITTED.add(1);
        let deadline = Deadline::unless_stopped(limits.submit, should_stop);
        self.wait_for_earlier_routes(job.function(), &deadline)?;
        let (_, pipeline) = self.route_of(job.function())?;
        pipeline.accept(job, limits, should_stop)
    }

    /// Adds a background job to what a transaction holds back; once released it goes as one of
    /// [`Client::submit_later`]. Waits while the window is full, for [`Limits::submit`] at most. Returns the
    /// job's unique id; it may be shared, as [`Held::hold`] says.
    ///
    /// # Errors
    ///
    /// As [`Client::submit_later`]; [`Error::TransactionFull`].
    pub(crate) fn hold(
        &self,
        job: &Job<'_>,
        rows_per_job: usize,
        held: &mut Held,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Vec<u8>, Error> {
        let deadline = Deadline::unless_stopped(limits.submit, should_stop);
        let pipeline = self.pipeline_of_held(job.function(), held, &deadline);
        let holding = pipeline
            .and_then(|pipeline| held.hold(job, rows_per_job, &pipeline, limits, should_stop));
        if let Ok(Holding::Joined(unique)) = holding {
            return Ok(unique);
        }
        status::JOBS_SUBMITTED.add(1);
        holding.map(|_| job.unique().to_vec())
    }

    /// The pipeline of a transaction's next job, which overtakes no earlier one of `function`: once the
    /// list has changed, a transaction that began before keeps the route that it took.
    fn pipeline_of_held(
        &self,
        function: &[u8],
        held: &Held,
        deadline: &Deadline<'_>,
    ) -> Result<Arc<Pipeline>, Error> {
        let earlier = self.routes().earlier(function);
        let (_, pipeline) = self.route_of(function)?;
        let mut routes = earlier.iter();
        let taken = routes.find(|route| held.began_before(&route.pipeline, &route.departure));
        let others = earlier.iter().filter(|route| {
            taken.is_none_or(|taken| !Arc::ptr_eq(&route.pipeline, &taken.pipeline))
        });
        for route in others {
            route.wait(deadline)?;
        }
        let Some(taken) = taken else {
            return Ok(pipeline);
        };
        pipeline.wait_for_earlier_jobs(deadline)?;
        Ok(Arc::clone(&taken.pipeline))
    }

    /// Waits until a job server has every job that [`Client::submit_later`] took before this call,
    /// for `limit` at most and until `should_stop` returns true; returns how many it has not.
    pub fn flush(&self, limit: Duration, should_stop: &dyn Fn() -> bool) -> u64 {
        let deadline = Deadline::unless_stopped(limit, should_stop);
        let pipelines = self.routes().pipelines();
        pipelines
            .iter()
            .map(|pipeline| pipeline.flush(&deadline))
            .sum()
    }

    /// How many jobs of [`Client::submit_later`] no job server has yet, by Gearman function.
    pub fn waiting(&self) -> BTreeMap<String, u64> {
        let mut waiting = BTreeMap::new();
        for pipeline in self.routes().pipelines() {
            for (function, jobs) in pipeline.waiting() {
                *waiting.entry(function).or_insert(0) += jobs;
            }
        }
        waiting
    }

    /// Submits a background job, until `should_stop` returns true.
    ///
    /// # Errors
    ///
    /// [`Error::NoServers`]; [`Error::Undelivered`] when no server took the job within
    /// [`Limits::submit`]; [`Error::Behind`] while jobs of [`Client::submit_later`] have to go first;
    /// [`Error::Stopped`].
    pub fn submit(
        &self,
        job: &Job<'_>,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Submitted, Error> {
        let deadline = Deadline::unless_stopped(limits.submit, should_stop);
        let delivered = self.deliver(job, &deadline, limits)?;
        delivered.lease.keep();
        Ok(Submitted {
            handle: delivered.handle,
            passed_over: delivered.passed_over,
        })
    }

    /// Submits a foreground job and waits for its result, until `should_stop` returns true.
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
        let lease = &mut delivered.lease;
        lease.release_permit();
        let result = protocol::result(&mut lease.connection, &delivered.handle, &deadline);
        let result = result.map_err(|error| {
            let verdict = lease.server().judge(&mut None, Stage::Working, error);
            verdict.into_error()
        });
        // Even if the worker failed: the pool keeps what is clean.
        delivered.lease.keep();
        Ok(Completed {
            result: result?,
            passed_over: delivered.passed_over,
        })
    }

    /// Asks every server of every list how it is, all at once. A server that answers gets jobs again
    /// at once, even if it was being left alone. Takes [`Limits::connect`] at most.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] once `should_stop` returns true.
    pub fn check(
        &self,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Vec<Report>, Error> {
        let servers = self.routes().servers_with_lists();
        let asked = servers.iter().map(|routed| &routed.server);
        let answers = check::ask_all(asked, limits.connect, should_stop)?;
        Ok(servers.iter().zip(answers).map(report).collect())
    }

    /// The server that a job for `function` would be tried on first, now.
    pub(crate) fn first_choice(
        &self,
        function: &[u8],
        deadline: &Deadline<'_>,
    ) -> Result<Arc<JobServer>, Error> {
        self.wait_for_earlier_routes(function, deadline)?;
        let (servers, pipeline) = self.route_of(function)?;
        pipeline.wait_for_earlier_jobs(deadline)?;
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
        status::JOBS_SUBMITTED.add(1);
        self.wait_for_earlier_routes(job.function(), deadline)?;
        let (servers, pipeline) = self.route_of(job.function())?;
        pipeline.wait_for_earlier_jobs(deadline)?;
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
                status::JOBS_RETRIED.add(1);
            }
            // A server that says nothing must leave the others time to answer.
            let share = deadline.share(1 + available(&servers[index + 1..]));
            match deliver_to(server, attempt, job, &share, limits) {
                Ok((lease, handle)) => {
                    status::JOBS_ACKNOWLEDGED.add(1);
                    return Ok(Delivered {
                        lease,
                        handle,
                        passed_over,
                    });
                }
                Err(Verdict::GiveUp(error)) => return Err(error),
                Err(Verdict::Again(error)) => failures.push(Arc::new(error)),
                Err(Verdict::PassOver(failure)) => {
                    failures.push(Arc::clone(&failure));
                    passed_over.push(failure);
                }
            }
        }
        Err(Error::Undelivered(failures))
    }

    /// Waits for jobs of `function` that took another route, before its list changed.
    fn wait_for_earlier_routes(
        &self,
        function: &[u8],
        deadline: &Deadline<'_>,
    ) -> Result<(), Error> {
        let earlier = self.routes().earlier(function);
        earlier.iter().try_for_each(|route| route.wait(deadline))
    }

    /// Where jobs for `function` go: at least one server.
    fn route_of(&self, function: &[u8]) -> Result<(ServerList, Arc<Pipeline>), Error> {
        let routes = self.routes();
        let (servers, pipeline) = routes.of(function).ok_or(Error::NoServers)?;
        Ok((servers, Arc::clone(pipeline)))
    }

    fn routes(&self) -> RwLockReadGuard<'_, RoutingTable> {
        // A list is put in place whole.
        self.routes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn routes_mut(&self) -> RwLockWriteGuard<'_, RoutingTable> {
        self.routes.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_fresh(&self) -> Result<(), Error> {
        let routes = Arc::downgrade(&self.routes);
        let named_servers = move || match routes.upgrade() {
            Some(routes) => routes
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .servers()
                .filter(|server| server.host_port.literal().is_none())
                .cloned()
                .collect(),
            None => Vec::new(),
        };
        self.refresher
            .run(named_servers)
            .map_err(|source| Error::no("thread", source))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let (refresher, protection) = (self.refresher.clone(), self.protection.clone());
        *self.routes_mut() = RoutingTable::new(Listener::new(|_| {}), refresher, protection);
        self.refresher.ask();
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

fn report((routed, outcome): (&RoutedServer, Result<ServerInfo, Error>)) -> Report {
    let RoutedServer { server, lists } = routed;
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

/// How many of `servers` may be tried now.
fn available(servers: &[Arc<JobServer>]) -> usize {
    let now = Instant::now();
    let available = servers
        .iter()
        .filter(|server| server.health.is_available(now));
    available.count()
}

/// Submits the job to one server; more than once if a connection fails that says nothing against
/// the server.
fn deliver_to(
    server: &Arc<JobServer>,
    attempt: Attempt<'_>,
    job: &Job<'_>,
    deadline: &Deadline<'_>,
    limits: &Limits,
) -> Result<(Lease, Vec<u8>), Verdict> {
    let mut attempt = Some(attempt);
    let mut lease = Lease::of(server, deadline, limits);
    loop {
        let (error, failed) = match lease {
            Err(error) => (error, None),
            Ok(mut lease) => match submit_on(&mut lease, job, deadline) {
                Ok(handle) => {
                    if let Some(attempt) = attempt {
                        attempt.succeeded(Instant::now());
                    }
                    return Ok((lease, handle));
                }
                Err(error) => (error, Some(lease)),
            },
        };
        let stage = failed.as_ref().map_or(Stage::Fresh, |lease| lease.stage);
        match server.judge(&mut attempt, stage, error) {
            Verdict::Again(_) if !deadline.left().is_zero() => status::JOBS_RETRIED.add(1),
            verdict => return Err(verdict),
        }
        lease = match failed {
            Some(dead) => dead.reopen(deadline, limits),
            None => Lease::of(server, deadline, limits),
        };
    }
}

fn submit_on(lease: &mut Lease, job: &Job<'_>, deadline: &Deadline<'_>) -> Result<Vec<u8>, Error> {
    if let Mode::Foreground(_) = job.mode() {
        protocol::forward_exceptions(&mut lease.connection, deadline)?;
    }
    let handle = protocol::submit(&mut lease.connection, job, deadline)?;
    lease.proven();
    Ok(handle)
}
