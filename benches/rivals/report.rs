//! The tables, the picture and the bars.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::changes::Changes;
use super::commits::Commits;
use super::way::{BINLOG_READER, COMMITTED, LISTS, LOG_ALONE, Way};
use crate::Options;
use crate::bar_chart::{self, Bar};
use crate::promise::{self, Promise};

/// The bars: times the reader's time, processor seconds for a million rows.
const TIMES_READER: f64 = 1.2;
const PROCESSOR_A_MILLION: f64 = 9.0;

/// What was measured of one way.
pub(crate) struct Measured<'a> {
    pub(crate) way: &'a Way,
    /// Why it was not run.
    pub(crate) problem: Option<String>,
    /// For each of the rates.
    pub(crate) commits: Vec<Commits>,
    /// One statement, in each round.
    pub(crate) statements: Vec<Changes>,
    /// Many sessions, in each round.
    pub(crate) sessions: Vec<Changes>,
}

impl<'a> Measured<'a> {
    pub(crate) fn nothing_yet(way: &'a Way, rates: usize) -> Self {
        Self {
            way,
            problem: None,
            commits: (0..rates).map(|_| Commits::default()).collect(),
            statements: Vec::new(),
            sessions: Vec::new(),
        }
    }
}

/// The best of all rounds, each number for itself.
struct Best {
    written: Duration,
    arrived: Option<Duration>,
    written_a_second: f64,
    processor_a_million: f64,
    lost: usize,
}

impl Best {
    fn of(rounds: &[Changes]) -> Option<Self> {
        let least =
            |number: fn(&Changes) -> f64| rounds.iter().map(number).fold(f64::MAX, f64::min);
        Some(Self {
            written: rounds.iter().map(|round| round.written).min()?,
            arrived: rounds.iter().filter_map(|round| round.arrived).min(),
            written_a_second: -least(|round| -round.written_a_second()),
            processor_a_million: least(Changes::processor_a_million),
            lost: rounds.iter().map(|round| round.lost).sum(),
        })
    }
}

/// Prints everything and draws the picture; an error if a bar was missed.
pub(crate) fn report(title: &str, options: &Options, measured: &[Measured<'_>]) -> ExitCode {
    println!("{title}");
    for Measured { way, problem, .. } in measured {
        if let Some(problem) = problem {
            println!("\nnot run: {}: {problem}", way.name);
        }
    }
    let run: Vec<&Measured<'_>> = measured
        .iter()
        .filter(|way| way.problem.is_none())
        .collect();
    for (rate, place) in options.rates.iter().zip(0..) {
        print_commits(*rate, options, &run, place);
    }
    print_statements(options, &run);
    print_sessions(options, &run);
    draw(title, options, &run);
    promise::judge(&promises(&run))
}

fn print_commits(rate: u32, options: &Options, measured: &[&Measured<'_>], place: usize) {
    let seconds = options.seconds * options.rounds;
    println!(
        "\n{rate} single-row commits a second, for {seconds} s: from COMMIT's return to Redis\n"
    );
    println!(
        "| way                                 |       p50 |       p99 | before COMMIT returned | lost | commits a second |"
    );
    println!(
        "|-------------------------------------|----------:|----------:|-----------------------:|-----:|-----------------:|"
    );
    for Measured { way, commits, .. } in measured.iter().filter(|one| one.way.has_redis()) {
        let commits = &commits[place];
        println!(
            "| {:<35} | {:6.2} ms | {:6.2} ms | {:20.1} % | {:4} | {:16.0} |",
            way.name,
            commits.quantile_ms(0.5),
            commits.quantile_ms(0.99),
            commits.before() * 100.0,
            commits.lost,
            commits.rates.iter().copied().fold(f64::MAX, f64::min)
        );
    }
}

fn print_statements(options: &Options, measured: &[&Measured<'_>]) {
    let Options { rows, rounds, .. } = options;
    println!("\nUPDATE of {rows} rows, best of {rounds}\n");
    println!(
        "| way                                 | statement | until Redis has all | processor for a million rows | lost |"
    );
    println!(
        "|-------------------------------------|----------:|--------------------:|-----------------------------:|-----:|"
    );
    for one in measured {
        let Some(best) = Best::of(&one.statements) else {
            continue;
        };
        println!(
            "| {:<35} | {:7.2} s | {:>19} | {:26.1} s | {:>4} |",
            one.way.name,
            best.written.as_secs_f64(),
            in_seconds(best.arrived),
            best.processor_a_million,
            lost(one.way, best.lost)
        );
    }
}

fn print_sessions(options: &Options, measured: &[&Measured<'_>]) {
    let Options {
        sessions,
        changes,
        rounds,
        ..
    } = options;
    let alone = log_alone(measured);
    println!("\n{sessions} sessions, each {changes} updates of a single row, best of {rounds}\n");
    println!(
        "| way                                 | updates a second | of a server with only its binary log | until Redis has all | processor for a million rows | lost |"
    );
    println!(
        "|-------------------------------------|-----------------:|-------------------------------------:|--------------------:|-----------------------------:|-----:|"
    );
    for one in measured {
        let Some(best) = Best::of(&one.sessions) else {
            continue;
        };
        let share = alone.as_ref().map_or(f64::NAN, |alone| {
            best.written_a_second / alone.written_a_second
        });
        println!(
            "| {:<35} | {:16.0} | {share:30.2} times | {:>19} | {:26.1} s | {:>4} |",
            one.way.name,
            best.written_a_second,
            in_seconds(best.arrived),
            best.processor_a_million,
            lost(one.way, best.lost)
        );
    }
}

fn in_seconds(time: Option<Duration>) -> String {
    time.map_or("-".to_owned(), |time| {
        format!("{:.2} s", time.as_secs_f64())
    })
}

fn lost(way: &Way, lost: usize) -> String {
    if way.has_redis() {
        lost.to_string()
    } else {
        "-".to_owned()
    }
}

/// Of one UPDATE of many rows.
fn promises_of_statement(ours: &Measured<'_>, reader: &Measured<'_>) -> Vec<Promise> {
    let name = ours.way.name;
    let both = (Best::of(&ours.statements), Best::of(&reader.statements));
    let (Some(ours), Some(reader)) = both else {
        return Vec::new();
    };
    let (Some(arrived), Some(of_reader)) = (ours.arrived, reader.arrived) else {
        return Vec::new();
    };
    let times = arrived.as_secs_f64() / of_reader.as_secs_f64();
    vec![
        Promise {
            promised: format!(
                "{name}, one UPDATE end to end: at most {TIMES_READER} times the Rust reader's time"
            ),
            found: format!("{times:.2} times"),
            kept: times <= TIMES_READER,
        },
        Promise {
            promised: format!(
                "{name}: at most {PROCESSOR_A_MILLION} processor seconds for a million rows"
            ),
            found: format!("{:.1} s", ours.processor_a_million),
            kept: ours.processor_a_million <= PROCESSOR_A_MILLION,
        },
    ]
}

/// The sessions of a server that writes its binary log for nobody.
fn log_alone(measured: &[&Measured<'_>]) -> Option<Best> {
    let one = measured.iter().find(|one| one.way.name == LOG_ALONE)?;
    Best::of(&one.sessions)
}

/// What the ways of the same run must keep to; what was not run promises nothing.
fn promises(measured: &[&Measured<'_>]) -> Vec<Promise> {
    let find = |name| measured.iter().find(|one| one.way.name == name);
    let mut promises = Vec::new();
    let (Some(ours), Some(reader)) = (find(COMMITTED), find(BINLOG_READER)) else {
        return promises;
    };
    let (of_ours, of_reader) = (&ours.commits[0], &reader.commits[0]);
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let (ours, reader) = (of_ours.quantile_ms(share), of_reader.quantile_ms(share));
        promises.push(Promise {
            promised: format!("COMMIT to Redis, committed: {name} not above the Rust reader's"),
            found: format!("{ours:.2} ms, the reader {reader:.2} ms"),
            kept: ours <= reader,
        });
    }
    promises.push(Promise {
        promised: "committed: no value is in Redis before COMMIT returned".into(),
        found: format!("{:.1} %", of_ours.before() * 100.0),
        kept: of_ours.before() == 0.0,
    });
    for one in [COMMITTED, LISTS].into_iter().filter_map(find) {
        promises.extend(promises_of_statement(one, reader));
    }
    let both = (Best::of(&ours.sessions), log_alone(measured));
    if let (Some(ours), Some(alone)) = both {
        let times = ours.written_a_second / alone.written_a_second;
        promises.push(Promise {
            promised:
                "committed, many sessions: at least the rate of a server with only its binary log"
                    .into(),
            found: format!("{times:.2} times"),
            kept: times >= 1.0,
        });
    }
    promises
}

fn draw(title: &str, options: &Options, measured: &[&Measured<'_>]) {
    let bars: Vec<Bar> = measured
        .iter()
        .filter_map(|one| {
            let arrived = Best::of(&one.statements)?.arrived?;
            let rate = f64::from(options.rows) / arrived.as_secs_f64();
            Some(Bar {
                name: one.way.name.to_owned(),
                value: rate,
                label: format!("{rate:.0}"),
                ours: one.way.is_ours(),
            })
        })
        .collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rivals.svg");
    let heading = format!(
        "Rows a second of an UPDATE of {} rows, until Redis has them",
        options.rows
    );
    bar_chart::draw(&path, &heading, title, &bars)
        .unwrap_or_else(|error| panic!("cannot draw {}: {error}", path.display()));
    println!("\ndrawn: docs/rivals.svg");
}
