//! `gman worker`: a Gearman worker that writes changed rows to Redis; `docs/worker.md` describes it.
//!
//! One thread for each job server ([`job_server`]) takes jobs, many at once and in the order of the
//! queue, parses them ([`format`]) and assigns them to lanes ([`lane`]) by their keys. A lane is a
//! thread ([`backlog`]) with connections to Redis ([`store`]): it writes all changes that have arrived in
//! one round trip, and then reports their jobs as finished. Therefore two changes of one key stay in
//! order, and a job is never finished before Redis has its change: gearmand gives it to another worker
//! if this one ends.

mod at;
mod backlog;
mod catch_up;
pub(crate) mod change;
mod connection;
mod expire;
pub(crate) mod format;
mod health;
mod inbox;
mod job;
mod job_server;
mod lane;
mod lane_option;
mod log;
mod options;
mod redirect;
mod statistics;
mod store;
mod stream;
mod unfinished;
pub(crate) mod version_key;
mod window;

use std::panic;
use std::process;
use std::sync::Arc;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::error::{Error, Result};
use crate::redis_client::Routes;
use crate::service::{Stop, serve_metrics};
use health::Health;
use job_server::JobServer;
use lane::Lanes;
use log::say;
pub(crate) use options::Options;
use statistics::Statistics;

/// The exit status of a Rust program that panicked.
const PANICKED: i32 = 101;

/// Works until a signal asks to stop.
///
/// # Errors
///
/// If an option cannot be read; servers that are unreachable are waited for.
pub(crate) fn run(options: &Options) -> Result {
    exit_with_any_thread();
    let stop = Arc::new(Stop::default());
    let statistics = Statistics::new()
        .map(Arc::new)
        .map_err(|error| Error::failed(format!("cannot count: {error}")))?;
    handle_signals(options, &stop, &statistics)?;
    let (redis, functions) = (options.redis.servers()?, options.functions()?);
    let protection = options.gearmand.protection(|problem| say(problem))?;
    let routes = Arc::new(Routes::new(redis));
    if let Some(address) = options.metrics {
        let health = Health::new(&routes, &statistics, options.gearmand.job_servers.len());
        serve_metrics(address, health)?;
    }
    let lanes = Lanes::start(&routes, options, &statistics, &stop);
    let servers: Vec<_> = options
        .gearmand
        .job_servers
        .iter()
        .map(|address| {
            JobServer::new(
                address.clone(),
                &protection,
                &functions,
                options,
                &lanes,
                &statistics,
                &stop,
            )
        })
        .map(|server| thread::spawn(move || server.serve()))
        .collect();
    for server in servers {
        // A thread that panics has ended the process.
        let _ = server.join();
    }
    say(statistics.line());
    Ok(())
}

/// Without one of its threads the worker would keep jobs that it never does. A new process, and
/// gearmand, which gives the jobs on, do better.
fn exit_with_any_thread() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        report(panic);
        process::exit(PANICKED);
    }));
}

/// SIGUSR1 prints the statistics; SIGTERM and SIGINT ask to stop, and once more to stop at once.
fn handle_signals(options: &Options, stop: &Arc<Stop>, statistics: &Arc<Statistics>) -> Result {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR1])
        .map_err(|error| Error::failed(format!("cannot receive signals: {error}")))?;
    let (stop, statistics) = (Arc::clone(stop), Arc::clone(statistics));
    let patience = options.stop_timeout();
    thread::spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGUSR1 => say(statistics.line()),
                _ => stop.request(patience),
            }
        }
    });
    Ok(())
}
