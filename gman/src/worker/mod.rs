//! `gman worker`: a Gearman worker that writes changed rows to Redis; `docs/worker.md` describes it.
//!
//! One thread for each job server ([`job_server`]) takes jobs, many at once and in the order of the
//! queue, parses them ([`mod@format`]) and assigns them to [`writers`] by their keys. A writer is a
//! thread ([`backlog`]) with connections to Redis ([`store`]): it writes all changes that have arrived in
//! one round trip, and then reports their jobs as finished. Therefore two changes of one key stay in
//! order, and a job is never finished before Redis has its change: gearmand gives it to another worker
//! if this one ends.

mod at;
mod backlog;
mod catch_up;
pub(crate) mod change;
mod connection;
mod depth;
mod expire;
pub(crate) mod format;
#[cfg(fuzzing)]
pub mod fuzzing;
mod health;
mod inbox;
mod intake;
mod job;
mod job_server;
mod lane;
mod log;
mod members;
mod options;
mod redirect;
mod row_options;
mod silence;
mod statistics;
mod store;
mod stream;
mod unfinished;
pub(crate) mod version_key;
mod writers;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::redis_client::Routes;
use crate::service::{Stop, exit_with_any_thread, handle_signals, serve_metrics};
use crate::threads;
use depth::Depth;
use health::Health;
use job_server::JobServer;
use log::say;
pub(crate) use options::Options;
pub(crate) use row_options::RowOptions;
use statistics::Statistics;
use writers::Writers;

/// Works until a signal asks to stop.
///
/// # Errors
///
/// If an option cannot be read, or the system has no thread left; servers that are unreachable are waited for.
pub(crate) fn run(options: &Options) -> Result {
    exit_with_any_thread();
    let stop = Arc::new(Stop::default());
    let statistics = Statistics::new()
        .map(Arc::new)
        .map_err(|error| Error::failed(format!("cannot count: {error}")))?;
    let told = Arc::clone(&statistics);
    handle_signals(&stop, options.stop_timeout(), move || say(told.line()))?;
    let (redis, functions) = (options.redis.servers()?, options.functions()?);
    let protection = options.gearmand.protection(|problem| say(problem))?;
    let routes = Arc::new(Routes::new(redis));
    if let Some(address) = options.metrics {
        let depth = Depth {
            job_servers: options.gearmand.job_servers.clone(),
            protection: protection.clone(),
            functions: functions.clone(),
        };
        serve_metrics(address, Health::new(&routes, &statistics, depth))?;
    }
    let writers = Writers::start(&routes, options, &statistics, &stop)?;
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
                &writers,
                &statistics,
                &stop,
            )
        })
        .map(|server| threads::start(move || server.serve()))
        .collect::<Result<_>>()?;
    for server in servers {
        // A thread that panics has ended the process.
        let _ = server.join();
    }
    say(statistics.line());
    Ok(())
}
