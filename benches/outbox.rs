//! What the outbox costs, and how fast it delivers: `scripts/bench outbox` runs it.
//!
//! Four tables: what a trigger adds to an UPDATE, how many jobs a second the relay hands over, how
//! long a commit takes to a worker, and how long a poll takes after many rows have gone through while
//! a transaction keeps InnoDB from removing them. `GMAN_TEST_SERVER` chooses the server. It ends with
//! an error if a bar is missed.

#[path = "support/bare_client.rs"]
mod bare_client;
#[path = "support/bare_worker.rs"]
mod bare_worker;
#[path = "support/gman_relay.rs"]
mod gman_relay;
#[path = "support/job_server.rs"]
mod job_server;
#[path = "support/outbox_event.rs"]
mod outbox_event;
#[path = "support/promise.rs"]
mod promise;
#[path = "../tests/it/support/mod.rs"]
mod support;
#[path = "support/trigger_table.rs"]
mod trigger_table;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use mysql::Conn;
use mysql::prelude::Queryable;

use gman_relay::Speed;
use promise::Promise;
use support::{
    Answer, Database, Gearmand, RecordingWorker, RelayProcess, Sink, product_file, wait_until,
};
use trigger_table::{JSON, keep_fastest, query, set_trigger, update, workload};

/// Measures the outbox.
#[derive(Parser)]
struct Options {
    /// How many rows an UPDATE changes.
    #[arg(long, default_value_t = 20_000)]
    rows: u32,
    /// How often everything but the latency is measured; the fastest time counts.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// How many jobs are relayed.
    #[arg(long, default_value_t = 100_000)]
    jobs: u32,
    /// How many commits a second are timed to the worker.
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// For how many seconds they are.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// How many rows go through the outbox before the last poll is timed.
    #[arg(long, default_value_t = 1_000_000)]
    through: u32,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(900);

/// How many rows go through before the first poll is timed.
const FEW_ROWS: u32 = 1_000;

fn main() -> ExitCode {
    let options = Options::parse();
    let database = Database::builder()
        .option("--event-scheduler=OFF")
        .option("--innodb-flush-log-at-trx-commit=1")
        .option("--innodb-buffer-pool-size=512M")
        // MariaDB's own default; the one of the tests is so small that its end is always near.
        .option("--loose-innodb-log-file-size=96M")
        .start();
    database.install_functions();
    database.execute("DROP FUNCTION gman_do_background");
    database.run_script(&product_file("sql/outbox.sql"));
    let version: String = database.value("SELECT VERSION()");
    println!("{version}, innodb_flush_log_at_trx_commit=1\n");

    let mut promises = vec![trigger_cost(&database, &options)];
    promises.extend(relay_speed(&database, &options));
    promises.extend(latencies(&database, &options));
    promises.push(poll_time(&database, &options));
    promise::judge(&promises)
}

fn set_servers(database: &Database, servers: &str) {
    let _: String = database.value(&format!("SELECT gman_servers_set('{servers}')"));
}

fn trigger_cost(database: &Database, options: &Options) -> Promise {
    let statements = [
        ("no trigger", None),
        ("only builds the JSON", Some(format!("SET @json = {JSON}"))),
        (
            "INSERT INTO gman_outbox",
            Some(format!(
                "INSERT INTO gman_outbox (`function`, workload) VALUES ('f', {JSON})"
            )),
        ),
        (
            "gman_do_background",
            Some(format!("SET @id = gman_do_background('f', {JSON})")),
        ),
    ];
    let mut session = database.connect();
    trigger_table::create(&mut session, options.rows);
    let mut fastest = [None; 4];
    for _ in 0..options.rounds {
        for ((_, statement), fastest) in statements.iter().zip(&mut fastest) {
            set_trigger(&mut session, statement.as_deref());
            keep_fastest(fastest, update(&mut session, options.rows));
            query(&mut session, "DELETE FROM gman_outbox");
        }
    }
    let [_, json, insert, function] = fastest.map(|time| time.expect("a round").as_secs_f64());
    let (rows, rounds) = (options.rows, options.rounds);
    println!("UPDATE of {rows} rows, fastest of {rounds}");
    println!("| trigger                 |    time |    a row | to JSON only |");
    println!("|-------------------------|--------:|---------:|-------------:|");
    for ((name, _), time) in statements.iter().zip(fastest) {
        let seconds = time.expect("a round").as_secs_f64();
        let row = seconds * 1e6 / f64::from(rows);
        let ratio = seconds / json;
        println!("| {name:<23} | {seconds:5.3} s | {row:5.2} us | {ratio:>12.2} |");
    }
    println!();
    Promise {
        promised: "a row with an INSERT costs at most 3 times what it costs with the JSON alone"
            .into(),
        found: format!(
            "{:.2} times; {:.2} by gman_do_background, which has the call of a stored function besides",
            insert / json,
            function / json
        ),
        kept: insert <= 3.0 * json,
    }
}

/// From the commit of a transaction that wrote all jobs, while a relay runs. Each time with a
/// gearmand of its own: one that holds jobs already takes others more slowly.
fn relay_speed(database: &Database, options: &Options) -> Vec<Promise> {
    let jobs = options.jobs;
    let (mut event, mut bare) = (Speed::new(), None);
    outbox_event::start(database);
    for _ in 0..options.rounds {
        let gearmand = job_server::start();
        set_servers(database, &gearmand.address());
        event.round(database, jobs);
        trigger_table::assert_jobs(&gearmand, jobs);
        keep_fastest(&mut bare, bare_client::submit(&job_server::start(), jobs));
    }
    outbox_event::stop(database);
    let processes = gman_relay::speeds(database, options);
    let bare = f64::from(jobs) / bare.expect("a round").as_secs_f64();
    println!("{jobs} jobs, fastest of {}", options.rounds);
    println!(
        "| relay                           | jobs a second | processor of the database for a job |"
    );
    println!(
        "|---------------------------------|--------------:|------------------------------------:|"
    );
    for (name, speed) in [
        ("gman_outbox_relay", &event),
        ("gman relay", &processes[0]),
        ("gman relay, confirmed by worker", &processes[1]),
    ] {
        let (rate, processor) = (speed.a_second(jobs), speed.processor_us(jobs));
        println!("| {name:<31} | {rate:>13.0} | {processor:>32.1} us |");
    }
    println!("| a bare client, 100 in flight    | {bare:>13.0} | |\n");
    let bar = f64::min(50_000.0, 0.5 * bare);
    let rate = event.a_second(jobs);
    let mut promises = vec![Promise {
        promised: format!("the event hands over at least {bar:.0} jobs a second"),
        found: format!("{rate:.0}"),
        kept: rate >= bar,
    }];
    promises.extend(gman_relay::promises(&event, &processes, jobs));
    promises
}

/// Fills the outbox with rows that have no gaps; returns the id of the last one.
fn fill(session: &mut Conn, jobs: u32) -> u64 {
    let mut last = 0;
    let ids: Vec<u32> = (1..=jobs).collect();
    for ids in ids.chunks(1000) {
        let rows: Vec<String> = ids
            .iter()
            .map(|id| format!("('f', '{}')", workload(*id)))
            .collect();
        let rows = rows.join(",");
        query(
            session,
            &format!("INSERT INTO gman_outbox (`function`, workload) VALUES {rows}"),
        );
        // The server returns the first id of the statement.
        last = session.last_insert_id() + ids.len() as u64 - 1;
    }
    last
}

/// Rows leave in the order of their ids, so all have once the last one has. To look for any other
/// would be to step over all that were deleted.
fn wait_until_gone(database: &Database, last: u64) {
    let mut session = database.connect();
    let sql = format!(
        "SELECT COUNT(*) FROM gman_outbox
          WHERE id = {last} AND id <> (SELECT kept FROM gman_outbox_state)"
    );
    wait_until(PATIENCE, "the last row to leave the outbox", || {
        let left: Option<u64> = session.query_first(&sql).expect("a query");
        if left == Some(0) { Ok(()) } else { Err(left) }
    });
}

/// Of the event, polling and woken by the commit, and of gman relay.
fn latencies(database: &Database, options: &Options) -> Vec<Promise> {
    println!(
        "{} commits a second for {} s, from before the INSERT to the worker",
        options.rate, options.seconds
    );
    println!("| relay             |     p50 |     p90 |     p99 |     max |");
    println!("|-------------------|--------:|--------:|--------:|--------:|");
    let gearmand = job_server::start();
    set_servers(database, &gearmand.address());
    outbox_event::start(database);
    let (p50, p99) = latency("gman_outbox_relay", database, &gearmand, options);
    outbox_event::stop(database);
    let of_event = Promise {
        promised: "a commit reaches the worker within 20 ms (p50) and 80 ms (p99)".into(),
        found: format!("{p50:.1} ms and {p99:.1} ms"),
        kept: p50 <= 20.0 && p99 <= 80.0,
    };
    let woken = woken_latency(database, &gearmand, options);
    let _relay = RelayProcess::between(database, &gearmand);
    let (p50, _) = latency("gman relay", database, &gearmand, options);
    println!();
    let of_process = Promise {
        promised: "by gman relay, which looks every 2 ms, within 5 ms (p50)".into(),
        found: format!("{p50:.1} ms"),
        kept: p50 <= 5.0,
    };
    let mut promises = vec![of_event, of_process];
    promises.extend(woken);
    promises
}

/// `None` if the server tells nobody of commits.
fn woken_latency(database: &Database, gearmand: &Gearmand, options: &Options) -> Option<Promise> {
    let mut session = database.connect();
    let install = "INSTALL PLUGIN gman_commit SONAME 'libgearman_mysql_udf.so'";
    session.query_drop(install).ok()?;
    database.run_script(&product_file("sql/outbox-wake.sql"));
    outbox_event::start(database);
    let (p50, p99) = latency("event, woken", database, gearmand, options);
    outbox_event::stop(database);
    query(&mut session, "DROP TRIGGER gman_outbox_written");
    Some(Promise {
        promised:
            "a commit that wakes the event reaches the worker within 1.5 ms (p50) and 5 ms (p99)"
                .into(),
        found: format!("{p50:.1} ms and {p99:.1} ms"),
        kept: p50 <= 1.5 && p99 <= 5.0,
    })
}

/// Prints a row of the table, and returns p50 and p99 in milliseconds.
fn latency(name: &str, database: &Database, gearmand: &Gearmand, options: &Options) -> (f64, f64) {
    wait_for_relay(database);
    let times = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&times);
    let worker = RecordingWorker::answering(gearmand.port(), &["timed"], move |job| {
        let text = String::from_utf8_lossy(&job.workload).into_owned();
        let committed: u128 = text.parse().expect("microseconds");
        let took = now_us().saturating_sub(committed);
        recorded.lock().expect("times").push(took);
        Answer::Complete(Vec::new())
    });
    let commits = options.rate * options.seconds;
    commit_at_rate(database, commits, options.rate);
    worker.wait_for(commits as usize);
    let mut times = times.lock().expect("times").clone();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    let (p50, p99) = (at(0.5), at(0.99));
    println!(
        "| {name:<17} | {p50:4.1} ms | {:4.1} ms | {p99:4.1} ms | {:4.1} ms |",
        at(0.9),
        at(1.0)
    );
    (p50, p99)
}

/// Until the event has started and hands over.
fn wait_for_relay(database: &Database) {
    let last = fill(&mut database.connect(), 1);
    wait_until_gone(database, last);
}

/// Writes `commits` jobs, each with the time before its INSERT.
fn commit_at_rate(database: &Database, commits: u32, rate: u32) {
    let mut session = database.connect();
    let began = Instant::now();
    for commit in 0..commits {
        let due = began + Duration::from_secs_f64(f64::from(commit) / f64::from(rate));
        thread::sleep(due.saturating_duration_since(Instant::now()));
        query(
            &mut session,
            &format!(
                "INSERT INTO gman_outbox (`function`, workload) VALUES ('timed', '{}')",
                now_us()
            ),
        );
    }
}

fn now_us() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock")
        .as_micros()
}

/// The search of a poll, from the horizon and from the first id, while an old transaction keeps
/// every deleted row alive. The jobs go to a job server that forgets them.
fn poll_time(database: &Database, options: &Options) -> Promise {
    let mut old = database.connect();
    query(&mut old, "START TRANSACTION WITH CONSISTENT SNAPSHOT");
    let sink = Sink::start();
    set_servers(database, &sink.address());
    println!("a poll of an empty outbox, while a transaction keeps all deleted rows");
    println!("| rows through it | from the horizon | from the first id |");
    println!("|----------------:|-----------------:|------------------:|");
    let (mut through, mut last) = (0, 0);
    let [few, many] = [FEW_ROWS, options.through].map(|goal| {
        outbox_event::start(database);
        while through < goal {
            let more = (goal - through).min(100_000);
            last = fill(&mut database.connect(), more);
            wait_until_gone(database, last);
            through += more;
        }
        let horizon = wait_for_horizon(database, last);
        outbox_event::stop(database);
        let (fast, slow) = (search(database, horizon), search(database, 1));
        println!("| {through:>15} | {fast:>13.0} us | {slow:>14.0} us |");
        fast
    });
    Promise {
        promised: format!(
            "a poll after {} rows takes at most 2 times what it takes after {FEW_ROWS}",
            options.through
        ),
        found: format!("{many:.0} us after {few:.0} us"),
        kept: many <= 2.0 * few,
    }
}

/// The horizon, once the relay has written it down behind the row `last`, at the end of a run.
fn wait_for_horizon(database: &Database, last: u64) -> u64 {
    wait_until(PATIENCE, "the horizon to pass the last row", || {
        let horizon: u64 = database.value("SELECT horizon FROM gman_outbox_state");
        if horizon > last {
            Ok(horizon)
        } else {
            Err(horizon)
        }
    })
}

/// The fastest of ten, in microseconds.
fn search(database: &Database, from: u64) -> f64 {
    let mut session = database.connect();
    let kept: u64 = database.value("SELECT kept FROM gman_outbox_state");
    let sql = format!(
        "SELECT COALESCE((SELECT MIN(id) FROM gman_outbox WHERE id >= {from} AND id < {kept}),
                         (SELECT MIN(id) FROM gman_outbox WHERE id >= {}))",
        from.max(kept + 1)
    );
    (0..10)
        .map(|_| {
            let began = Instant::now();
            let _: Option<Option<u64>> = session.query_first(&sql).expect("a search");
            began.elapsed().as_secs_f64() * 1e6
        })
        .fold(f64::MAX, f64::min)
}
