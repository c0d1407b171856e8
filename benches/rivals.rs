//! The same job for every way of ours, and for what a person would pick instead.
//!
//! `scripts/bench rivals` runs it. The job: every changed row of a table becomes `SET id name` in Redis. Each way
//! is measured with single rows at a steady rate, with one `UPDATE` of many rows, and with many sessions of single
//! rows; the ways take turns, so that what disturbs the machine disturbs all. Each turn has a gearmand, a worker
//! and a Redis of its own, beside a database server with the configuration that the way needs. In the end Redis is
//! compared with the table. A rival that cannot be had on this machine is named as not run. It ends with an error
//! if a bar is missed.

#[path = "support/bar_chart.rs"]
mod bar_chart;
#[path = "support/job_server.rs"]
mod job_server;
#[path = "support/outbox_event.rs"]
mod outbox_event;
#[path = "support/promise.rs"]
mod promise;
#[path = "rivals/mod.rs"]
mod rivals;
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use rivals::changes::Changes;
use rivals::report::{self, Measured};
use rivals::servers::Servers;
use rivals::way::{WAYS, Way};
use rivals::{Place, binlog_reader, poller};
use support::gman_program;

/// Measures ways from a table to Redis.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    program: Option<Program>,
    /// At which rates single rows are changed, in changes a second.
    #[arg(long, value_delimiter = ',', default_values_t = [500, 2000])]
    rates: Vec<u32>,
    /// For how many seconds of each round they are.
    #[arg(long, default_value_t = 1)]
    seconds: u32,
    /// How many rows one UPDATE changes.
    #[arg(long, default_value_t = 200_000)]
    rows: u32,
    /// How many sessions update single rows at once.
    #[arg(long, default_value_t = 64)]
    sessions: u32,
    /// How many rows each of them updates.
    #[arg(long, default_value_t = 200)]
    changes: u32,
    /// How often everything is measured.
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    /// Measure only the ways whose names contain one of these texts.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// How many rows a table must have.
    fn table_rows(&self) -> u32 {
        let singles = self.rates.iter().map(|rate| rate * self.seconds);
        let most = singles.chain([self.rows, self.sessions * self.changes]);
        most.max().unwrap_or_default()
    }

    fn wants(&self, way: &Way) -> bool {
        let mut texts = self.only.iter();
        self.only.is_empty() || texts.any(|text| way.name.contains(text.as_str()))
    }
}

/// What this program is as a process of its own: two of the rivals.
#[derive(Subcommand)]
enum Program {
    #[command(hide = true)]
    BinlogReader(Place),
    #[command(hide = true)]
    Poller(Place),
}

fn main() -> ExitCode {
    let options = Options::parse();
    match &options.program {
        Some(Program::BinlogReader(place)) => binlog_reader::run(place),
        Some(Program::Poller(place)) => poller::run(place),
        None => return measure(&options),
    }
    ExitCode::SUCCESS
}

fn measure(options: &Options) -> ExitCode {
    // Built before any turn is timed.
    gman_program();
    let servers = Servers::new(options.table_rows());
    let rates = options.rates.len();
    let mut measured: Vec<Measured<'_>> = WAYS
        .iter()
        .filter(|way| options.wants(way))
        .map(|way| Measured::nothing_yet(way, rates))
        .collect();
    let Some(first) = measured.first().map(|one| one.way) else {
        eprintln!("rivals: no way has a name with {:?}", options.only);
        return ExitCode::from(2);
    };
    let mut turns = 1..;
    for round in 1..=options.rounds {
        for (one, turn) in measured.iter_mut().zip(&mut turns) {
            if one.problem.is_none() {
                eprintln!("round {round} of {}: {}", options.rounds, one.way.name);
                one.problem = take_turn(options, &servers, turn, one).err();
            }
        }
    }
    let version: String = servers.get(first.configuration).value("SELECT VERSION()");
    report::report(&version, options, &measured)
}

/// Measures one way once; or says why it cannot be had. Every value has the number of the turn in it: a row that
/// is what it was before is not in the log.
fn take_turn(
    options: &Options,
    servers: &Servers,
    turn: u32,
    measured: &mut Measured<'_>,
) -> Result<(), String> {
    let way = measured.way;
    let running = way.start(servers.get(way.configuration))?;
    if way.has_redis() {
        for (commits, rate) in measured.commits.iter_mut().zip(&options.rates) {
            let mark = format!("{turn}-at-{rate}");
            commits.measure(&running, *rate, options.seconds, &mark);
        }
    }
    let mark = format!("{turn}-in-one");
    let changes = Changes::of_one_statement(&running, options.rows, &mark);
    measured.statements.push(changes);
    let mark = format!("{turn}-one-by-one");
    let changes = Changes::of_sessions(&running, options.sessions, options.changes, &mark);
    measured.sessions.push(changes);
    way.stop(running);
    Ok(())
}
