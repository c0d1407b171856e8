//! What the outbox costs, and how fast it delivers: `scripts/bench outbox` runs it.
//!
//! Four tables: what a trigger adds to an UPDATE, how many jobs a second the relay hands over, how
//! long a commit takes to a worker, and how long a poll takes after many rows have gone through while
//! a transaction keeps InnoDB from removing them. `GMAN_TEST_SERVER` chooses the server.

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use mysql::Conn;
use mysql::prelude::Queryable;

use support::{Answer, Database, Gearmand, RecordingWorker, product_file, wait_until};

/// Measures the outbox.
#[derive(Parser)]
struct Options {
    /// How many rows an UPDATE changes.
    #[arg(long, default_value_t = 20_000)]
    rows: u32,
    /// How often each UPDATE runs; the fastest time counts.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// How many jobs are relayed.
    #[arg(long, default_value_t = 200_000)]
    jobs: u32,
    /// How many commits a second are timed to the worker, and for how many seconds.
    #[arg(long, default_value_t = 500)]
    rate: u32,
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

fn main() {
    let options = Options::parse();
    let gearmand = Gearmand::start();
    let database = Database::builder()
        .option("--event-scheduler=OFF")
        .option("--innodb-flush-log-at-trx-commit=1")
        .option("--innodb-buffer-pool-size=512M")
        .start();
    database.install_functions();
    database.execute("DROP FUNCTION gman_do_background");
    database.run_script(&product_file("sql/outbox.sql"));
    let servers = gearmand.address();
    let _: String = database.value(&format!("SELECT gman_servers_set('{servers}')"));
    let version: String = database.value("SELECT VERSION()");
    println!("{version}, innodb_flush_log_at_trx_commit=1\n");

    trigger_cost(&database, &options);
    relay_speed(&database, &gearmand, &options);
    latency(&database, &gearmand, &options);
    poll_time(&database, &gearmand, &options);
}

/// What is measured against what: a table each, whose trigger has this body.
const TRIGGERS: [(&str, Option<&str>); 4] = [
    ("no trigger", None),
    (
        "only builds the JSON",
        Some("SET @json = json_object_udf(NEW.id AS `id`, NEW.name AS `name`, NEW.n AS `n`)"),
    ),
    (
        "INSERT INTO gman_outbox",
        Some(
            "INSERT INTO gman_outbox (`function`, workload)
             VALUES ('f', json_object_udf(NEW.id AS `id`, NEW.name AS `name`, NEW.n AS `n`))",
        ),
    ),
    (
        "gman_do_background",
        Some(
            "SET @handle = gman_do_background('f',
               json_object_udf(NEW.id AS `id`, NEW.name AS `name`, NEW.n AS `n`))",
        ),
    ),
];

fn trigger_cost(database: &Database, options: &Options) {
    let mut session = database.connect();
    for (number, (_, body)) in TRIGGERS.iter().enumerate() {
        execute(
            &mut session,
            &format!(
                "CREATE TABLE t{number} (id INT PRIMARY KEY, name VARCHAR(40), n INT) ENGINE=InnoDB"
            ),
        );
        let ids: Vec<u32> = (1..=options.rows).collect();
        for ids in ids.chunks(1000) {
            let rows: Vec<String> = ids
                .iter()
                .map(|id| format!("({id}, 'customer {id}', 0)"))
                .collect();
            let rows = rows.join(",");
            execute(
                &mut session,
                &format!("INSERT INTO t{number} VALUES {rows}"),
            );
        }
        if let Some(body) = body {
            execute(
                &mut session,
                &format!("CREATE TRIGGER u{number} AFTER UPDATE ON t{number} FOR EACH ROW {body}"),
            );
        }
    }
    let mut fastest = [Duration::MAX; TRIGGERS.len()];
    for _ in 0..options.rounds {
        for (number, fastest) in fastest.iter_mut().enumerate() {
            let began = Instant::now();
            execute(&mut session, &format!("UPDATE t{number} SET n = n + 1"));
            *fastest = began.elapsed().min(*fastest);
            execute(&mut session, "DELETE FROM gman_outbox");
        }
    }
    let json = fastest[1].as_secs_f64();
    println!(
        "UPDATE of {} rows, fastest of {}",
        options.rows, options.rounds
    );
    println!("| trigger                 |    time |    a row | to JSON only |");
    println!("|-------------------------|--------:|---------:|-------------:|");
    for ((name, _), time) in TRIGGERS.iter().zip(fastest) {
        let seconds = time.as_secs_f64();
        let row = seconds * 1e6 / f64::from(options.rows);
        println!(
            "| {name:<23} | {seconds:5.3} s | {row:5.2} us | {:>12.2} |",
            seconds / json
        );
    }
    println!();
}

fn relay_speed(database: &Database, gearmand: &Gearmand, options: &Options) {
    fill(database, options.jobs);
    let began = Instant::now();
    database.execute("SET GLOBAL event_scheduler = ON");
    wait_for_empty(database);
    let relayed = f64::from(options.jobs) / began.elapsed().as_secs_f64();
    database.execute("SET GLOBAL event_scheduler = OFF");
    let bare = bare_client(gearmand, options.jobs);
    println!("{} jobs of 60 bytes", options.jobs);
    println!("| relay                           | jobs a second |");
    println!("|---------------------------------|--------------:|");
    println!("| gman_outbox_relay               | {relayed:>13.0} |");
    println!("| a bare client, 100 in flight    | {bare:>13.0} |\n");
    let worker = drain_worker(gearmand);
    let _ = worker.wait_for(1);
    wait_until(PATIENCE, "gearmand to be empty", || {
        let left: u64 = gearmand.status().values().map(|f| f.queued).sum();
        if left == 0 { Ok(()) } else { Err(left) }
    });
}

/// Fills the outbox, by doubling, with rows that have no gaps.
fn fill(database: &Database, jobs: u32) {
    let mut session = database.connect();
    execute(&mut session, "SET autocommit = 1");
    let rows: Vec<String> = (0..1000)
        .map(|id| format!("('f', '{{\"id\":{id:010},\"name\":\"a customer whose row changed\"}}')"))
        .collect();
    let rows = rows.join(",");
    for _ in 0..jobs / 1000 {
        execute(
            &mut session,
            &format!("INSERT INTO gman_outbox (`function`, workload) VALUES {rows}"),
        );
    }
}

fn wait_for_empty(database: &Database) {
    let mut session = database.connect();
    wait_until(PATIENCE, "the outbox to be empty", || {
        let first: Option<u64> = session
            .query_first("SELECT id FROM gman_outbox WHERE id <> (SELECT kept FROM gman_outbox_state) ORDER BY id DESC LIMIT 1")
            .expect("a query");
        first.map_or(Ok(()), Err)
    });
}

/// Jobs a second of a client that does nothing else: a hundred requests are under way at a time.
fn bare_client(gearmand: &Gearmand, jobs: u32) -> f64 {
    let mut stream = TcpStream::connect(gearmand.address()).expect("a connection");
    stream.set_nodelay(true).expect("an option");
    let mut answers = stream.try_clone().expect("a clone");
    let began = Instant::now();
    let mut buffer = vec![0; 65_536];
    let mut left_over = Vec::new();
    let (mut sent, mut answered) = (0_u32, 0_u32);
    while answered < jobs {
        let mut out = Vec::new();
        while sent < jobs && sent - answered < 100 {
            let body = format!(
                "f\0bare:{sent}\0{{\"id\":{sent:010},\"name\":\"a customer whose row changed\"}}"
            );
            out.extend(b"\0REQ\0\0\0\x12");
            out.extend((body.len() as u32).to_be_bytes());
            out.extend(body.as_bytes());
            sent += 1;
        }
        stream.write_all(&out).expect("a request");
        let count = answers.read(&mut buffer).expect("an answer");
        left_over.extend_from_slice(&buffer[..count]);
        let mut start = 0;
        while left_over.len() >= start + 12 {
            let length: [u8; 4] = left_over[start + 8..start + 12].try_into().expect("four");
            let end = start + 12 + u32::from_be_bytes(length) as usize;
            if left_over.len() < end {
                break;
            }
            start = end;
            answered += 1;
        }
        left_over.drain(..start);
    }
    f64::from(jobs) / began.elapsed().as_secs_f64()
}

fn drain_worker(gearmand: &Gearmand) -> RecordingWorker {
    RecordingWorker::start(gearmand.port(), &["f"])
}

fn latency(database: &Database, gearmand: &Gearmand, options: &Options) {
    let times = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&times);
    let _worker = RecordingWorker::answering(gearmand.port(), &["timed"], move |job| {
        let text = String::from_utf8_lossy(&job.workload).into_owned();
        let committed: u128 = text.parse().expect("microseconds");
        recorded
            .lock()
            .expect("times")
            .push(now_us().saturating_sub(committed));
        Answer::Complete(Vec::new())
    });
    database.execute("SET GLOBAL event_scheduler = ON");
    thread::sleep(Duration::from_secs(3));
    let mut session = database.connect();
    let commits = options.rate * options.seconds;
    let began = Instant::now();
    for commit in 0..commits {
        let due = began + Duration::from_secs_f64(f64::from(commit) / f64::from(options.rate));
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let sql = format!(
            "INSERT INTO gman_outbox (`function`, workload) VALUES ('timed', '{}')",
            now_us()
        );
        execute(&mut session, &sql);
    }
    let took = began.elapsed().as_secs_f64();
    wait_until(PATIENCE, "the last job", || {
        let count = times.lock().expect("times").len();
        if count >= commits as usize {
            Ok(())
        } else {
            Err(count)
        }
    });
    database.execute("SET GLOBAL event_scheduler = OFF");
    let mut times = times.lock().expect("times").clone();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    println!(
        "{:.0} commits a second for {took:.0} s, from before the INSERT to the worker",
        f64::from(commits) / took
    );
    println!("|     p50 |     p90 |     p99 |     max |");
    println!("|--------:|--------:|--------:|--------:|");
    println!(
        "| {:4.1} ms | {:4.1} ms | {:4.1} ms | {:4.1} ms |\n",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}

fn now_us() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock")
        .as_micros()
}

/// The search of a poll, from the horizon and from the first id, while an old transaction keeps
/// every deleted row alive.
fn poll_time(database: &Database, gearmand: &Gearmand, options: &Options) {
    let mut old = database.connect();
    execute(&mut old, "START TRANSACTION WITH CONSISTENT SNAPSHOT");
    let _worker = drain_worker(gearmand);
    println!("a poll of an empty outbox, while a transaction keeps all deleted rows");
    println!("| rows through it | from the horizon | from the first id |");
    println!("|----------------:|-----------------:|------------------:|");
    let mut through = 0;
    for goal in [1000, options.through] {
        database.execute("SET GLOBAL event_scheduler = ON");
        while through < goal {
            let more = (goal - through).min(100_000);
            fill(database, more);
            wait_for_empty(database);
            through += more;
        }
        // The horizon is written down at the end of a run.
        thread::sleep(Duration::from_secs(4));
        database.execute("SET GLOBAL event_scheduler = OFF");
        let horizon: u64 = database.value("SELECT horizon FROM gman_outbox_state");
        let (fast, slow) = (search(database, horizon), search(database, 1));
        println!("| {through:>15} | {fast:>13.0} us | {slow:>14.0} us |");
    }
}

/// The fastest of ten, in microseconds.
fn search(database: &Database, from: u64) -> f64 {
    let mut session = database.connect();
    let sql = format!(
        "SELECT id FROM gman_outbox FORCE INDEX (PRIMARY)
          WHERE id >= {from} AND id <> (SELECT kept FROM gman_outbox_state) ORDER BY id LIMIT 1"
    );
    (0..10)
        .map(|_| {
            let began = Instant::now();
            let _: Option<u64> = session.query_first(&sql).expect("a search");
            began.elapsed().as_secs_f64() * 1e6
        })
        .fold(f64::MAX, f64::min)
}

fn execute(session: &mut Conn, sql: &str) {
    session
        .query_drop(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}
