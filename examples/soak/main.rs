//! Hours of updates while servers are killed, stopped and cut off: every job is counted, and nothing may
//! grow. `scripts/soak` runs it.
//!
//! All sessions update at once, each its own row, half of them in a database server that speaks TLS to the
//! job servers. Two thirds call `gman_do_background`, which delivers acked, pipelined or committed as the
//! setting happens to be; one third goes through the outbox, relayed by its event or, over TLS, by `gman
//! relay`. Each rolls back now and then. Two gearmands keep their queues on disk, so what they have
//! acknowledged survives their being killed, and a job is either delivered or lost. Changes in the outboxes'
//! tables also go to a Redis Cluster, through a `gman worker` at each gearmand.
//!
//! The exit status says whether a job was lost or made up, and whether memory, threads and sockets
//! of the database servers, the workers and the relay stayed flat.

#[path = "../../tests/it/support/mod.rs"]
mod support;

mod faults;
mod ledger;
mod picture;
mod report;
mod samples;
mod sessions;
mod stage;
mod stop;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use fastrand::Rng;

use ledger::Ledger;
use report::Report;
use samples::{Rule, Sample, Usage, Watched};
use sessions::{Session, Table};
use stage::{JobServer, Source};
use stop::{Stop, StopOnPanic};
use support::{Certificates, Port, RedisCluster};

/// Updates under faults, and counts every job.
#[derive(Parser)]
struct Options {
    /// How long sessions update
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,

    /// How many sessions update at once
    #[arg(long, default_value_t = 64)]
    sessions: usize,

    /// How many updates a second each of them makes
    #[arg(long, default_value_t = 20.0)]
    rate: f64,

    /// Chooses the faults and settings; the same number gives the same ones, by default the time
    #[arg(long)]
    seed: Option<u64>,

    /// Draws what happened into this SVG file
    #[arg(long)]
    picture: Option<PathBuf>,
}

/// How much resident memory may grow from the second quarter to the last.
const RSS_GROWTH: u64 = 16 << 20;

/// Threads on top of one for each session: the server's own, which come with the load and not all at
/// once, the event's, and the library's, which are one for each job server and one that refreshes.
const MORE_THREADS: u64 = 32;

/// InnoDB adds threads and takes them away as it needs them.
const THREADS_GROWTH: u64 = 8;

/// How many job servers the lists name.
const LISTED: u64 = 3;

/// The largest `gman_max_connections` that is set.
const MAX_CONNECTIONS: u64 = 16;

/// How long the program waits between two lines that say how it gets on.
const PROGRESS: Duration = Duration::from_secs(60);

const STATUS: &str = "SHOW GLOBAL STATUS LIKE 'gman%'";

fn main() -> ExitCode {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(now);
    println!(
        "{} sessions, {} updates a second each, {} minutes, --seed {seed}",
        options.sessions, options.rate, options.minutes
    );
    let report = soak(&options, &mut Rng::with_seed(seed));
    report.print();
    if let Some(path) = &options.picture {
        report
            .draw(path)
            .unwrap_or_else(|error| panic!("cannot draw {}: {error}", path.display()));
    }
    if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn soak(options: &Options, rng: &mut Rng) -> Report {
    let ledger = Arc::new(Ledger::new(options.sessions));
    let certificates = Certificates::new();
    let mut servers =
        ["H:first", "H:second"].map(|handles| JobServer::start(handles, &ledger, &certificates));
    let mut redis = RedisCluster::start();
    let workers = stage::redis_workers(&servers, &redis, &certificates);
    let nobody = Port::free();
    let sources = [
        Source::plain(options.sessions, &servers, &nobody),
        Source::over_tls(options.sessions, &servers, &nobody, &certificates),
    ];
    let watched = stage::watched(&sources, &workers);
    let rules = rules(&watched, sources.len(), options);

    let stop = Stop::default();
    let began = Instant::now();
    let (samples, incidents, changes) = thread::scope(|scope| {
        for number in 1..=options.sessions {
            let session = Session {
                number,
                table: if number % 3 == 0 {
                    Table::Outbox
                } else {
                    Table::Direct
                },
                opts: sources[number % sources.len()].database.opts_in_test(),
                interval: Duration::from_secs_f64(1.0 / options.rate),
                rng: rng.fork(),
                ledger: &ledger,
                stop: &stop,
            };
            scope.spawn(move || {
                let _guard = StopOnPanic(session.stop);
                session.run();
            });
        }
        let (faults_rng, settings_rng) = (rng.fork(), rng.fork());
        let faults = scope.spawn(|| {
            let _guard = StopOnPanic(&stop);
            faults::inflict(&mut servers, &mut redis, faults_rng, &stop)
        });
        let changes = scope.spawn(|| {
            let _guard = StopOnPanic(&stop);
            faults::change_settings(&sources, settings_rng, &stop)
        });
        let _guard = StopOnPanic(&stop);
        let samples = sample(&watched, &ledger, options, &stop);
        stop.request();
        (samples, joined(faults), joined(changes))
    });
    let took = began.elapsed();

    stage::settle(&sources, &servers);
    Report {
        sessions: options.sessions,
        took,
        counts: ledger.count(),
        lost: ledger.lost(20),
        unknown: ledger.unknown(),
        stale: sources.iter().map(|source| source.stale(&redis)).sum(),
        dead: sources.iter().map(Source::dead).sum(),
        status: sources
            .iter()
            .map(|source| (source.name, source.database.query(STATUS)))
            .collect(),
        watched: watched.iter().map(|watched| watched.name).collect(),
        rules,
        samples,
        incidents,
        changes,
        version: sources[0].database.value("SELECT VERSION()"),
    }
}

/// Samples for as long as the soak lasts, and says now and then how it gets on.
fn sample(watched: &[Watched<'_>], ledger: &Ledger, options: &Options, stop: &Stop) -> Vec<Sample> {
    let end = Instant::now() + Duration::from_secs_f64(options.minutes * 60.0);
    let mut next = Instant::now() + PROGRESS;
    samples::collect(watched, ledger, end, stop, |sample| {
        if sample.at < next {
            return;
        }
        next += PROGRESS;
        let usage = watched.iter().zip(&sample.usage).map(|(watched, usage)| {
            format!(
                "{} {} MiB, {} threads, {} sockets",
                watched.name,
                usage.rss_bytes >> 20,
                usage.threads,
                usage.sockets
            )
        });
        println!(
            "{:6.1} minutes left: {} delivered, {} on their way; {}",
            (end - sample.at).as_secs_f64() / 60.0,
            sample.delivered.iter().sum::<u64>(),
            sample.outstanding,
            usage.collect::<Vec<_>>().join("; ")
        );
    })
}

/// What must stay flat of the processes as they are before the sessions come; the first `databases` are
/// database servers.
fn rules(watched: &[Watched<'_>], databases: usize, options: &Options) -> Vec<Rule> {
    let sessions = (options.sessions / databases) as u64 + 1;
    let rules_of = |(process, watched): (usize, &Watched<'_>)| {
        let idle = Usage::of(watched.process);
        let is_database = process < databases;
        let rule = |name, value, growth, limit| Rule {
            process,
            process_name: watched.name,
            name,
            value,
            growth,
            limit,
        };
        [
            rule("resident bytes", |usage| usage.rss_bytes, RSS_GROWTH, None),
            rule(
                "threads",
                |usage| usage.threads,
                THREADS_GROWTH,
                is_database.then_some(idle.threads + sessions + MORE_THREADS),
            ),
            rule(
                "sockets",
                |usage| usage.sockets,
                MAX_CONNECTIONS,
                // One for the client of each session, one for its call in progress, and for each job
                // server the idle ones and that of the pipeline; one is the relay's.
                is_database
                    .then_some(idle.sockets + 2 * sessions + LISTED * (MAX_CONNECTIONS + 1) + 1),
            ),
        ]
    };
    watched.iter().enumerate().flat_map(rules_of).collect()
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
