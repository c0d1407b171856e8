//! `gman status`: the whole way of a change at a glance; `docs/status.md` describes it.
//!
//! - [`options`]: the options;
//! - [`database`]: the server, the library in it, its settings and counters, triggers;
//! - [`outbox`]: the outboxes, and who relays them;
//! - [`queues`]: what waits in the job servers;
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
mod screen;
mod seen;

use std::io::{self, IsTerminal};
use std::thread;
use std::time::{Duration, Instant};

use mysql::Conn;

use self::database::Database;
use self::memory::Memory;
pub(crate) use self::options::Options;
use self::problems::Severity;
use self::seen::Status;
use crate::error::{Error, Result};
use crate::terminal;

/// Between two looks at the counters, for their rates.
const BETWEEN: Duration = Duration::from_secs(1);

/// # Errors
///
/// If something is broken, or the database cannot be asked.
pub(crate) fn run(options: &Options) -> Result {
    let mut conn = options.mysql.connect()?;
    let mut before = Database::read(&mut conn)?;
    let mut since = Instant::now();
    thread::sleep(BETWEEN);
    loop {
        let status = look(options, &mut conn, &before, since.elapsed())?;
        if options.json {
            let text = serde_json::to_string_pretty(&status).map_err(Error::failed)?;
            terminal::print(&text)?;
        } else {
            show(options, &status)?;
        }
        let Some(pause) = options.pause() else {
            return outcome(&status);
        };
        (before, since) = (status.database, Instant::now());
        thread::sleep(pause);
    }
}

fn look(
    options: &Options,
    conn: &mut Conn,
    before: &Database,
    elapsed: Duration,
) -> Result<Status> {
    let mut database = Database::read(conn)?;
    database.count_since(before, elapsed);
    let job_servers = queues::read(&database, &options.gearmand);
    let redis = Memory::read(&options.redis)?;
    let problems = problems::find(&database, &job_servers, &redis);
    Ok(Status {
        problems,
        database,
        job_servers,
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
