//! The status as text: what is wrong, then the path of a change from the database to Redis.

use std::collections::BTreeMap;

use super::database::Database;
use super::problems::Severity;
use super::queues::JobServer;
use super::seen::Status;
use super::worker::{Ages, Worker};

/// Settings that are shown first, if the server has them.
const SETTINGS: [&str; 5] = [
    "gman_delivery",
    "gman_servers",
    "gman_on_failure",
    "event_scheduler",
    "binlog_format",
];

/// Counters that are shown.
const COUNTERS: [&str; 6] = [
    "Gman_jobs_submitted",
    "Gman_jobs_acknowledged",
    "Gman_jobs_failed",
    "Gman_jobs_retried",
    "Gman_in_flight",
    "Gman_servers_down",
];

/// How many tables are named.
const TABLES: usize = 10;

/// The lines of the screen.
pub(super) fn lines(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    if status.problems.is_empty() {
        lines.push("all is well".to_owned());
    }
    for problem in &status.problems {
        let severity = match problem.severity {
            Severity::Broken => "broken ",
            Severity::Warning => "warning",
        };
        lines.push(format!("{severity}  {}", problem.text));
        lines.extend(
            problem
                .remedies
                .iter()
                .map(|remedy| format!("           {remedy}")),
        );
    }
    lines.push(String::new());
    database(&status.database, &mut lines);
    outboxes(&status.database, &mut lines);
    for server in &status.job_servers {
        job_server(server, &status.database, &mut lines);
    }
    for one in &status.workers {
        worker(one, &mut lines);
    }
    redis(status, &mut lines);
    lines
}

fn database(database: &Database, lines: &mut Vec<String>) {
    let plugins = database
        .plugins
        .iter()
        .map(|(name, version)| format!("{name} {version}"));
    let plugins: Vec<String> = plugins.collect();
    lines.push(format!(
        "database    {}, up {}; gman {}; {}",
        database.version,
        duration(database.uptime_seconds),
        env!("CARGO_PKG_VERSION"),
        match (database.has_functions, plugins.is_empty()) {
            (false, _) => "the library's functions are not installed".to_owned(),
            (true, true) => "functions without a plugin".to_owned(),
            (true, false) => format!("plugins {}", plugins.join(", ")),
        }
    ));
    let settings = SETTINGS.iter().filter_map(|name| {
        let value = database.settings.get(*name)?;
        Some(format!("{name} = {value}"))
    });
    lines.push(format!(
        "settings    {}",
        settings.collect::<Vec<_>>().join(", ")
    ));
    let tables = &database.tables;
    let named: Vec<String> = tables
        .iter()
        .take(TABLES)
        .map(|table| match table.uses_outbox {
            true => format!("{} (outbox)", table.table),
            false => table.table.clone(),
        })
        .collect();
    let more = match tables.len().saturating_sub(TABLES) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    lines.push(format!(
        "triggers    on {} tables: {}{more}",
        tables.len(),
        named.join(", ")
    ));
    let counters = COUNTERS.iter().filter_map(|name| {
        let value = database.counters.get(*name)?;
        let short = name.trim_start_matches("Gman_").replace('_', " ");
        Some(format!("{short} {value}{}", rate(&database.rates, name)))
    });
    let counters: Vec<String> = counters.collect();
    if !counters.is_empty() {
        lines.push(format!("counters    {}", counters.join(", ")));
    }
}

fn outboxes(database: &Database, lines: &mut Vec<String>) {
    for outbox in &database.outboxes {
        let schema = &outbox.schema;
        if outbox.error.is_some() {
            lines.push(format!("outbox      {schema}: cannot be read"));
            continue;
        }
        lines.push(format!(
            "outbox      {schema}: {} jobs, the oldest {:.1} s, {} set aside; confirmed by {}",
            outbox.depth,
            outbox.oldest_seconds.unwrap_or(0.0),
            outbox.dead,
            match outbox.confirm.as_str() {
                "worker" => "the worker",
                _ => "gearmand",
            }
        ));
        lines.push(match outbox.beat_seconds {
            Some(seconds) if !outbox.owner.is_empty() => {
                format!(
                    "            relayed by {}, {seconds:.1} s ago",
                    outbox.owner
                )
            }
            _ => "            relayed by nobody".to_owned(),
        });
    }
}

fn job_server(server: &JobServer, database: &Database, lines: &mut Vec<String>) {
    let of_server =
        |check: &&super::database::Check| check.server.as_ref() == Some(&server.address);
    let check = database.checks.iter().find(of_server);
    let seen = check.map_or_else(String::new, |check| {
        let version = check.version.as_deref().unwrap_or("?");
        match check.round_trip_ms {
            Some(ms) => format!(" {version}, {ms:.3} ms from the database"),
            None => format!(" {}", check.state),
        }
    });
    lines.push(format!("gearmand    {}{seen}", server.address));
    for queue in &server.queues {
        lines.push(format!(
            "            {}: {} jobs, {} of them running, {} workers",
            queue.function, queue.jobs, queue.running, queue.workers
        ));
    }
}

fn worker(worker: &Worker, lines: &mut Vec<String>) {
    let address = &worker.address;
    if worker.error.is_some() {
        lines.push(format!("worker      {address}: unreachable"));
        return;
    }
    let outcomes = ["written", "left_out", "failed", "given_back"];
    let outcomes = outcomes.iter().filter_map(|outcome| {
        let jobs = worker.jobs.get(*outcome)?;
        Some(format!(
            "{jobs} {}{}",
            outcome.replace('_', " "),
            rate(&worker.rates, outcome)
        ))
    });
    let outcomes: Vec<String> = outcomes.collect();
    let jobs = match outcomes.is_empty() {
        true => "none done".to_owned(),
        false => outcomes.join(", "),
    };
    lines.push(format!(
        "worker      {address}: jobs {jobs}; {} in flight",
        worker.in_flight
    ));
    if let Some(ages) = worker.ages {
        lines.push(format!("            {}", age(ages)));
    }
    let errors = worker.redis_errors.iter();
    let errors: Vec<String> = errors
        .map(|(error, count)| format!("{error} {count}"))
        .collect();
    if !errors.is_empty() {
        lines.push(format!(
            "            errors of Redis: {}; {} reconnects",
            errors.join(", "),
            worker.redis_reconnects
        ));
    }
}

fn age(ages: Ages) -> String {
    let bound = |seconds: Option<f64>| match seconds {
        None => "more than an hour".to_owned(),
        Some(seconds) if seconds < 1.0 => format!("at most {} ms", seconds * 1000.0),
        Some(seconds) => format!("at most {seconds} s"),
    };
    let when = match ages.are_recent {
        true => "",
        false => ", since it started",
    };
    format!(
        "age of changes once Redis has them: half {}, 99 % {}{when}",
        bound(ages.p50_seconds),
        bound(ages.p99_seconds)
    )
}

/// How fast a counter grows, if it does.
fn rate(rates: &BTreeMap<String, f64>, name: &str) -> String {
    let rate = rates.get(name);
    rate.map_or_else(String::new, |rate| format!(" ({rate:.0}/s)"))
}

fn redis(status: &Status, lines: &mut Vec<String>) {
    let redis = &status.redis;
    if redis.error.is_some() {
        lines.push("Redis       unreachable".to_owned());
        return;
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let limit = match redis.max_bytes {
        0 => "no limit".to_owned(),
        bytes => format!("{:.0} MiB at most, then {}", mib(bytes), redis.policy),
    };
    lines.push(format!(
        "Redis       {}: {} keys, {:.1} MiB, {limit}; {} keys evicted",
        redis.version,
        redis.keys,
        mib(redis.used_bytes),
        redis.evicted_keys
    ));
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
