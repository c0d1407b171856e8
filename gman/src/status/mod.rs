//! `gman status`: the whole path of a change at a glance; `docs/status.md` describes it.
//!
//! - [`options`]: the options;
//! - [`database`]: the server, the library in it, its settings and counters, triggers;
//! - [`outbox`]: the outboxes, and who relays them;
//! - [`queues`]: what waits in the job servers;
//! - [`worker`]: how the workers are, by their numbers ([`samples`]) at their addresses ([`worker_address`]);
//! - [`memory`]: how Redis is;
//! - [`problems`]: what is wrong, in plain words, and what to do;
//! - [`seen`]: all of it together;
//! - [`screen`]: the same as text.

mod database;
mod memory;
mod options;
mod outbox;
mod problems;
mod queues;
mod samples;
mod screen;
mod seen;
mod worker;
mod worker_address;

use std::io::{self, IsTerminal};
use std::thread;
use std::time::{Duration, Instant};

use gearman_mysql_udf::gearman::wire::protection::Protection;
use mysql::Conn;

use self::database::Database;
use self::memory::Memory;
pub(crate) use self::options::Options;
use self::problems::Severity;
use self::seen::Status;
use self::worker::Worker;
use crate::error::{Error, Result};
use crate::service::report;
use crate::terminal;

/// Between two looks at the counters, for their rates.
const BETWEEN: Duration = Duration::from_secs(1);

/// How long the database server may say nothing: reading the definitions of all triggers takes it a while.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was counted at one time.
struct Counted {
    database: Database,
    workers: Vec<Worker>,
    at: Instant,
}

/// # Errors
///
/// If something is broken, or the database cannot be asked.
pub(crate) fn run(options: &Options) -> Result {
    let protection = options
        .gearmand
        .protection(|problem| report("status", problem))?;
    let mut conn = options.mysql.connect_for(PATIENCE)?;
    let mut before = Counted {
        database: Database::read(&mut conn)?,
        workers: worker::read(&options.workers, &[], Duration::ZERO),
        at: Instant::now(),
    };
    thread::sleep(BETWEEN);
    loop {
        let status = look(options, &protection, &mut conn, &before)?;
        if options.json {
            let text = serde_json::to_string_pretty(&status).map_err(Error::failed)?;
            terminal::print(&text)?;
        } else {
            show(options, &status)?;
        }
        let Some(pause) = options.pause() else {
            return outcome(&status);
        };
        before = Counted {
            database: status.database,
            workers: status.workers,
            at: Instant::now(),
        };
        thread::sleep(pause);
    }
}

fn look(
    options: &Options,
    protection: &Protection,
    conn: &mut Conn,
    before: &Counted,
) -> Result<Status> {
    let mut database = Database::read(conn)?;
    database.count_since(&before.database, before.at.elapsed());
    let workers = worker::read(&options.workers, &before.workers, before.at.elapsed());
    let job_servers = queues::read(&database, &options.gearmand.job_servers, protection);
    let redis = Memory::read(&options.redis)?;
    let problems = problems::find(&database, &job_servers, &workers, &redis);
    Ok(Status {
        problems,
        database,
        job_servers,
        workers,
        redis,
    })
}

fn show(options: &Options, status: &Status) -> Result {
    let mut text = String::new();
    if options.pause().is_some() && io::stdout().is_terminal() {
        // To the upper left corner, and clear.
        text.push_str("\x1b[H\x1b[2J");
    }
    let lines = screen::lines(status);
    let lines = lines.iter().map(|line| terminal::printable(line));
    text.push_str(&lines.collect::<Vec<_>>().join("\n"));
    terminal::print(&text)
}

fn outcome(status: &Status) -> Result {
    let broken = status
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Broken)
        .count();
    match broken {
        0 => Ok(()),
        1 => Err(Error::failed("1 thing is broken; see above")),
        many => Err(Error::failed(format!(
            "{many} things are broken; see above"
        ))),
    }
}
