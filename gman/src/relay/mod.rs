//! `gman relay`: the relay of an outbox as a process beside the database, or far from it;
//! `docs/relay.md` describes it.
//!
//! One process at a time has the [`lease`] of an outbox, for a [`term`]. The [`reader`] looks for
//! committed rows from the [`horizon`] on and deals them in batches to lanes, one for each Gearman
//! function. A [`lane`] submits its rows in the order of their ids, and reports those that are
//! confirmed to the [`settler`], which deletes them. So the next batch is read while one is submitted
//! and the one before is deleted; [`flight`] knows which rows are under way.

mod batch;
mod flight;
mod horizon;
mod lane;
mod lease;
mod moment;
mod options;
mod past_full;
mod reader;
mod rows;
mod server;
mod settler;
mod statistics;
mod term;

use std::fmt::Display;
use std::process;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use gearman_mysql_udf::gearman::delivery::client::Client;
use gearman_mysql_udf::gearman::delivery::events::Event;
use mysql::Conn;

use crate::connections::{DatabaseServer, refused};
use crate::error::{Error, Result};
use crate::service::{Backoff, Stop, exit_with_any_thread, handle_signals, report, serve_metrics};
use crate::threads;
use lease::{Candidate, Lease};
pub(crate) use options::Options;
use reader::Reader;
use settler::Settler;
use statistics::Statistics;
use term::Term;

/// A database server that says nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a relay without the lease looks for it.
const WATCH: Duration = Duration::from_millis(250);

/// What a server says when somebody has to change something: the account is refused or has no such
/// privilege, or the database, the table or the column is not there, or no database can have such a name.
const FATAL: [u16; 8] = [1044, 1045, 1049, 1054, 1102, 1142, 1143, 1146];

/// Relays until a signal asks to stop.
///
/// # Errors
///
/// If an option cannot be read, or the server refuses the account or has no outbox when the relay
/// starts; servers that are unreachable are waited for.
pub(crate) fn run(options: &Options) -> Result {
    exit_with_any_thread();
    let relay = Relay::new(options)?;
    let told = Arc::clone(&relay.statistics);
    handle_signals(&relay.stop, options.stop_timeout(), move || {
        say(told.line());
    })?;
    if let Some(address) = options.metrics {
        serve_metrics(address, Arc::clone(&relay.statistics))?;
    }
    let mut backoff = Backoff::new();
    // Kept when a connection breaks: a lease that expires meanwhile need not be waited for again.
    let mut candidate = Candidate::new(&relay.owner);
    let mut is_first = true;
    while !relay.stop.requested() {
        match relay.serve(&mut candidate) {
            Ok(()) => backoff = Backoff::new(),
            Err(problem) => {
                let problem = relay.judge(problem, is_first)?;
                relay.statistics.trouble(&problem);
                let pause = backoff.pause();
                let ms = pause.as_millis();
                say(format!("{problem}; trying again in {ms} ms"));
                relay.stop.pause_unless_requested(pause);
            }
        }
        is_first = false;
    }
    say(relay.statistics.line());
    Ok(())
}

/// Prints one line to stderr.
fn say(message: impl Display) {
    report("relay", message);
}

/// Why a term could not begin, or ended.
enum Problem {
    /// The server must not be relayed from now.
    Unfit(String),
    Unreachable(mysql::Error),
    Failed(mysql::Error),
    NoThread(Error),
}

impl From<mysql::Error> for Problem {
    fn from(error: mysql::Error) -> Self {
        Self::Failed(error)
    }
}

/// What a step of a term leads to.
type Step<T> = std::result::Result<T, Problem>;

struct Relay<'a> {
    options: &'a Options,
    server: DatabaseServer,
    /// The name in the lease, which no other process has.
    owner: String,
    client: Arc<Client>,
    statistics: Arc<Statistics>,
    stop: Arc<Stop>,
}

impl<'a> Relay<'a> {
    fn new(options: &'a Options) -> Result<Self> {
        let statistics = Statistics::new()
            .map_err(|error| Error::failed(format!("cannot count what is done: {error}")))?;
        let client = Client::with_listener(|event| {
            if let Event::TlsFilesUnusable(problem) = event {
                say(problem);
            }
        });
        client.set_tls(options.gearmand.tls()?);
        let servers: Vec<String> = options
            .gearmand
            .job_servers
            .iter()
            .map(ToString::to_string)
            .collect();
        client
            .set_servers(&servers.join(","), None)
            .map_err(|error| Error::usage(format!("--gearmand: {error}")))?;
        Ok(Self {
            options,
            server: options.mysql.server()?,
            owner: format!("gman relay {}", owner()),
            client: Arc::new(client),
            statistics: Arc::new(statistics),
            stop: Arc::new(Stop::default()),
        })
    }

    /// One term, from the connection to its end.
    fn serve(&self, candidate: &mut Candidate) -> Step<()> {
        let mut conn = self.connect()?;
        let Some(lease) = self.wait_for_lease(&mut conn, candidate)? else {
            return Ok(());
        };
        server::delete_acknowledged(&mut conn)?;
        self.statistics.terms.inc();
        self.statistics.leads.set(1);
        let confirm = server::confirm(&mut conn)?;
        let known = server::describe(&mut conn)?;
        say(format!(
            "relaying the outbox of {} to gearmand {}",
            self.options.database,
            self.job_servers()
        ));
        let term = Term::new(lease, confirm, &self.client, &self.statistics, &self.stop);
        let settling = self.connect()?;
        let conn = thread::scope(|scope| -> Step<Conn> {
            let (reports, reported) = mpsc::channel();
            let settler = Settler::new(settling, &term);
            let settler = threads::start_in(scope, move || settler.run(&reported))
                .map_err(Problem::NoThread)?;
            let read = Reader::new(conn, known, &term, scope, reports, self.options).run();
            let settled = settler.join();
            // A thread that panics has ended the process.
            Ok(settled.unwrap_or(Ok(())).and(read)?)
        });
        self.statistics.leads.set(0);
        let mut conn = conn?;
        if let Some(problem) = server::problem(&mut conn)? {
            return Err(Problem::Unfit(problem));
        }
        Ok(term.lease.release(&mut conn)?)
    }

    fn connect(&self) -> Step<Conn> {
        let mut conn = self
            .server
            .connect(&self.options.database, PATIENCE)
            .map_err(Problem::Unreachable)?;
        server::set_session(&mut conn)?;
        Ok(conn)
    }

    /// Waits until no other relay has the lease; `None` if somebody asks to stop.
    fn wait_for_lease(&self, conn: &mut Conn, candidate: &mut Candidate) -> Step<Option<Lease>> {
        candidate.watch(server::identity(conn)?);
        let mut shown = String::new();
        while !self.stop.requested() {
            if let Some(problem) = server::problem(conn)? {
                return Err(Problem::Unfit(problem));
            }
            if let Some(lease) = candidate.try_take(conn)? {
                return Ok(Some(lease));
            }
            self.statistics.trouble("");
            if shown != candidate.owner_seen() {
                candidate.owner_seen().clone_into(&mut shown);
                say(format!("waiting: {shown} relays"));
            }
            self.stop.pause_unless_requested(WATCH);
        }
        Ok(None)
    }

    /// What to tell of a problem that may pass.
    ///
    /// # Errors
    ///
    /// If it does not pass by itself, and the relay has just been started.
    fn judge(&self, problem: Problem, is_first: bool) -> Result<String> {
        let (error, code) = match problem {
            Problem::Unfit(problem) => {
                return Ok(format!(
                    "the database server is not to be relayed from: {problem}"
                ));
            }
            Problem::NoThread(error) => return Ok(error.text().to_owned()),
            Problem::Unreachable(error) => (self.server.cannot_connect(&error), code(&error)),
            Problem::Failed(error) => {
                let database = &self.options.database;
                let what = format!(
                    "relay the outbox of {database}, which outbox-plain.sql or outbox.sql makes"
                );
                (refused(what, &error), code(&error))
            }
        };
        match is_first && code.is_some_and(|code| FATAL.contains(&code)) {
            true => Err(error),
            false => Ok(error.text().to_owned()),
        }
    }

    fn job_servers(&self) -> String {
        let servers = &self.options.gearmand.job_servers;
        let names: Vec<String> = servers.iter().map(ToString::to_string).collect();
        names.join(",")
    }
}

fn code(error: &mysql::Error) -> Option<u16> {
    match error {
        mysql::Error::MySqlError(error) => Some(error.code),
        _ => None,
    }
}

/// Where the process runs, and since when, which is its own.
fn owner() -> String {
    let host = nix::unistd::gethostname().unwrap_or_default();
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!(
        "{} {} {}",
        host.to_string_lossy(),
        process::id(),
        since.as_micros()
    )
}
