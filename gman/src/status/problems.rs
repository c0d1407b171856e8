//! What is wrong, in plain words, and what to do.

use std::collections::BTreeSet;

use serde::Serialize;

use super::database::Database;
use super::memory::Memory;
use super::outbox::Outbox;
use super::queues::JobServer;
use super::worker::{Ages, Worker};

/// An outbox whose oldest job waits for so long does not move, and changes that take so long are late.
const OLD_SECONDS: f64 = 10.0;

/// So many jobs in a queue are more than a moment's.
const MANY_JOBS: u64 = 10_000;

/// Clocks that differ by less are those of any two machines.
const SKEW_SECONDS: f64 = 0.5;

/// How bad it is; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    /// Changes do not reach Redis, or writes fail.
    Broken,
    /// It works, and may not for long.
    Warning,
}

/// One problem.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    pub(super) severity: Severity,
    pub(super) text: String,
    pub(super) remedies: Vec<String>,
}

/// Collects problems.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn broken(&mut self, text: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Broken, text.into(), vec![remedy.into()]);
    }

    fn warning(&mut self, text: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Warning, text.into(), vec![remedy.into()]);
    }

    fn add(&mut self, severity: Severity, text: String, remedies: Vec<String>) {
        self.0.push(Problem {
            severity,
            text,
            remedies,
        });
    }
}

/// All problems, the worst first.
pub(super) fn find(
    database: &Database,
    job_servers: &[JobServer],
    workers: &[Worker],
    redis: &Memory,
) -> Vec<Problem> {
    let mut problems = Problems::default();
    for finding in &database.findings {
        problems.add(
            Severity::Broken,
            finding.problem.clone(),
            finding.commands.clone(),
        );
    }
    library(database, &mut problems);
    counters(database, &mut problems);
    outboxes(database, &mut problems);
    for server in job_servers {
        queues(server, &mut problems);
    }
    lanes(database, job_servers, &mut problems);
    for one in workers {
        worker(one, &mut problems);
    }
    memory(redis, &mut problems);
    problems.0.sort_by_key(|problem| problem.severity);
    problems.0
}

fn library(database: &Database, problems: &mut Problems) {
    let calls = database
        .tables
        .iter()
        .filter(|table| !table.uses_outbox)
        .count();
    if calls > 0 && !database.has_functions {
        problems.broken(
            format!("triggers of {calls} tables call functions that are missing: writes fail"),
            "gman install",
        );
    }
    if database.awaits_restart == Some(true) {
        problems.warning(
            "the library's file was replaced, and the server still runs the old one",
            "restart the server when it suits you",
        );
    }
    for check in database.checks.iter().filter(|check| check.state != "up") {
        let server = check.server.as_deref().unwrap_or("the job servers");
        let state = &check.state;
        let error = check
            .error
            .as_deref()
            .map_or_else(String::new, |error| format!(": {error}"));
        problems.broken(
            format!("{server}: {state}, as the database server sees it{error}"),
            check
                .hint
                .clone()
                .unwrap_or_else(|| "SELECT gman_check()".to_owned()),
        );
    }
}

fn counters(database: &Database, problems: &mut Problems) {
    let last_error = database
        .counters
        .get("Gman_last_error")
        .cloned()
        .unwrap_or_default();
    if let Some(rate) = database.rates.get("Gman_jobs_failed") {
        problems.broken(
            format!("{rate:.0} jobs a second are lost: {last_error}"),
            "gman verify --repair, once the cause is mended",
        );
    } else if database.counter("Gman_jobs_failed") > 0 {
        problems.warning(
            format!(
                "{} jobs have failed since the server started, the last one with: {last_error}",
                database.counter("Gman_jobs_failed")
            ),
            "gman verify --repair",
        );
    }
    let window: u64 = database.setting("gman_window_bytes").parse().unwrap_or(0);
    let used = database.counter("Gman_window_bytes_used");
    if window > 0 && used > window / 2 {
        problems.warning(
            format!(
                "the window is {} % full; statements wait once it is full",
                used * 100 / window
            ),
            "look whether the job servers keep up, below",
        );
    }
}

fn outboxes(database: &Database, problems: &mut Problems) {
    let has_events = database
        .setting("event_scheduler")
        .eq_ignore_ascii_case("on");
    for outbox in &database.outboxes {
        let schema = &outbox.schema;
        let error = outbox.last_error.clone().unwrap_or_default();
        let oldest = outbox.oldest_seconds.unwrap_or(0.0);
        if let Some(error) = &outbox.error {
            problems.broken(
                format!("the outbox of {schema} cannot be read: {error}"),
                "SHOW FULL PROCESSLIST shows who has locked its tables; if they were altered or their \
                 definer is gone, run outbox.sql or outbox-plain.sql again",
            );
        } else if !outbox.is_relayed() {
            unrelayed(outbox, has_events, problems);
        } else if let Some(since) = &outbox.failing_since {
            problems.broken(
                format!("the outbox of {schema} fails since {since}: {error}"),
                "SELECT gman_check() in the database, or the log of gman relay",
            );
        } else if oldest > OLD_SECONDS {
            problems.broken(
                format!(
                    "{} jobs wait in the outbox of {schema}, the oldest for {oldest:.0} s",
                    outbox.depth
                ),
                "look at the log of the relay, and whether more is written than it submits",
            );
        }
        if outbox.dead > 0 {
            problems.warning(
                format!(
                    "{} jobs of the outbox of {schema} were set aside",
                    outbox.dead
                ),
                format!("SELECT id, error FROM {schema}.gman_outbox_dead"),
            );
        }
    }
}

/// Nobody relays the outbox: says why, if that can be seen.
fn unrelayed(outbox: &Outbox, has_events: bool, problems: &mut Problems) {
    let schema = &outbox.schema;
    let enable = format!("ALTER EVENT {schema}.gman_outbox_relay ENABLE, or run gman relay");
    let (why, remedy) = match &outbox.event {
        Some(event) if event.definer_exists == Some(false) => (
            format!("its event runs as {}, which is no account", event.definer),
            format!("ALTER DEFINER = CURRENT_USER EVENT {schema}.gman_outbox_relay ENABLE"),
        ),
        Some(event) if event.status != "ENABLED" => {
            (format!("its event is {}", event.status), enable)
        }
        Some(_) if !has_events => (
            "event_scheduler is off".to_owned(),
            "SET GLOBAL event_scheduler = ON, or run gman relay".to_owned(),
        ),
        _ if outbox.owner.is_empty() => (
            "no relay has the lease".to_owned(),
            "run gman relay".to_owned(),
        ),
        _ => (
            format!(
                "{} has been silent for {:.0} s",
                outbox.owner,
                outbox.beat_seconds.unwrap_or(0.0)
            ),
            "look at its log, or at the error log for the event; whether its host and its disk are well"
                .to_owned(),
        ),
    };
    let depth = outbox.depth;
    let text = format!("nobody relays the outbox of {schema}, in which {depth} jobs wait: {why}");
    match depth {
        0 => problems.warning(text, remedy),
        _ => problems.broken(text, remedy),
    }
}

fn queues(server: &JobServer, problems: &mut Problems) {
    let address = &server.address;
    if let Some(error) = &server.error {
        problems.warning(
            format!("the queues of gearmand {address} cannot be seen from here: {error}"),
            "--gearmand names another address, --gearmand-ca turns TLS on",
        );
    }
    for queue in &server.queues {
        let (function, jobs) = (&queue.function, queue.jobs);
        if jobs > 0 && queue.workers == 0 {
            problems.broken(
                format!(
                    "{jobs} jobs for {function} wait in gearmand {address}, and no worker does them"
                ),
                "start a worker: systemctl start gman-worker, or gman worker",
            );
        } else if jobs > MANY_JOBS {
            problems.warning(
                format!("{jobs} jobs for {function} wait in gearmand {address}"),
                "look at the worker's log: Redis may be slow or away; --threads",
            );
        }
    }
}

/// Compares the lanes of the triggers with those that workers serve. Says nothing while a job server is not
/// seen: the worker that is missing may be there.
fn lanes(database: &Database, job_servers: &[JobServer], problems: &mut Problems) {
    if job_servers.iter().any(|server| server.error.is_some()) {
        return;
    }
    for (function, &count) in &database.lanes {
        let lane = |name: &str| -> Option<u16> {
            name.strip_prefix(function.as_str())?
                .strip_prefix('.')?
                .parse()
                .ok()
        };
        let queues = job_servers.iter().flat_map(|server| &server.queues);
        let queues = queues.filter_map(|queue| Some((lane(&queue.function)?, queue)));
        let served: BTreeSet<u16> = queues
            .filter(|(_, queue)| queue.workers > 0)
            .map(|(lane, _)| lane)
            .collect();
        let missing: Vec<String> = (1..=count)
            .filter(|lane| !served.contains(lane))
            .map(|lane| lane.to_string())
            .collect();
        if !missing.is_empty() {
            problems.broken(
                format!(
                    "the triggers spread {function} over {count} lanes, and no worker serves lane {}",
                    missing.join(", ")
                ),
                format!("gman worker --lane {}/{count}", missing[0]),
            );
        }
        if let Some(lane) = served.iter().rfind(|lane| **lane > count) {
            problems.warning(
                format!("a worker serves lane {lane} of {function}, and the triggers fill only {count}"),
                format!(
                    "start the workers with --lane K/{count}, or the triggers with --lanes for as many"
                ),
            );
        }
    }
}

fn worker(worker: &Worker, problems: &mut Problems) {
    let address = &worker.address;
    if let Some(error) = &worker.error {
        problems.broken(
            format!("the worker at {address} cannot be asked: {error}"),
            "start it with --metrics, or name its address with --worker",
        );
        return;
    }
    for trouble in &worker.troubles {
        problems.broken(
            format!("the worker at {address} says: {trouble}"),
            "its log says since when, and what it does about it",
        );
    }
    if !worker.recent_redis_errors.is_empty() {
        let errors = worker.recent_redis_errors.iter();
        let errors: Vec<String> = errors
            .map(|(error, count)| format!("{error} ({count})"))
            .collect();
        problems.broken(
            format!(
                "Redis refuses what the worker at {address} writes, or is lost: {}",
                errors.join(", ")
            ),
            "its log has the whole text; jobs are kept meanwhile",
        );
    }
    if let Some(failed) = worker.jobs.get("failed") {
        problems.warning(
            format!("{failed} jobs have failed in the worker at {address} since it started"),
            "its log has a line for each; gman verify",
        );
    }
    if let Some(Ages {
        p50_seconds,
        are_recent: true,
        ..
    }) = worker.ages
        && p50_seconds.is_none_or(|seconds| seconds > OLD_SECONDS)
    {
        problems.warning(
            format!("half of the changes are older than {OLD_SECONDS} s when the worker at {address} has written them"),
            "look at the queues below: more --threads, or --lanes",
        );
    }
    if worker.clock_skew_seconds > SKEW_SECONDS {
        problems.warning(
            format!(
                "the database's clock has been {:.1} s ahead of that of the worker at {address}",
                worker.clock_skew_seconds
            ),
            "keep both in time (NTP), or the ages of changes are wrong",
        );
    }
}

fn memory(redis: &Memory, problems: &mut Problems) {
    if let Some(error) = &redis.error {
        problems.broken(
            format!("Redis {error}"),
            "start it, or name another one with --redis",
        );
        return;
    }
    let is_nearly_full = redis.max_bytes > 0 && redis.used_bytes > redis.max_bytes / 10 * 9;
    if is_nearly_full && redis.policy == "noeviction" {
        problems.broken(
            format!(
                "Redis uses {} of {} bytes: it soon refuses to write",
                redis.used_bytes, redis.max_bytes
            ),
            "raise maxmemory, or delete keys",
        );
    }
    if redis.evicted_keys > 0 {
        problems.warning(
            format!(
                "Redis has evicted {} keys ({}): rows are missing that nobody deleted",
                redis.evicted_keys, redis.policy
            ),
            "raise maxmemory, or let readers ask the database for what is missing",
        );
    }
}
