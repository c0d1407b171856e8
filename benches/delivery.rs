//! What the ways of delivery cost the statement, in one server and one run.
//!
//! `scripts/bench delivery` runs it. The same rows are updated without a trigger, with one that only
//! builds the JSON, and with one that delivers it in each way. Then the window is kept full, against
//! a bare client with a hundred jobs in flight; rows are updated one by one, each in a transaction of its
//! own; and a thousand times a second, to see when their jobs arrive at a waiting worker. On a server with a binary
//! log, the same is measured with commits that wait. It ends with an error if a bar is missed.

#[path = "support/bar_chart.rs"]
mod bar_chart;
#[path = "support/bare_client.rs"]
mod bare_client;
#[path = "delivery/commit_wait.rs"]
mod commit_wait;
#[path = "delivery/in_transactions.rs"]
mod in_transactions;
#[path = "support/job_server.rs"]
mod job_server;
#[path = "support/median.rs"]
mod median;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/promise.rs"]
mod promise;
#[path = "../tests/it/support/mod.rs"]
mod support;
#[path = "support/trigger_table.rs"]
mod trigger_table;

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use mysql::Conn;
use mysql::prelude::Queryable;

use bar_chart::Bar;
use in_transactions::{BLOCK, WARM_UP, deliver, flush, update_one_by_one};
use median::median;
use promise::Promise;
use support::{Answer, Database, RecordingWorker};
use trigger_table::{JSON, assert_jobs, keep_fastest, query, set_trigger, update, workload};

/// A window that is full after a tenth of the rows.
const SMALL_WINDOW: u32 = 1024 * 1024;

/// Time between two updates of a single row: a thousand a second.
const PACE: Duration = Duration::from_millis(1);

/// Measures delivery.
#[derive(Parser)]
struct Options {
    /// How many rows the table has.
    #[arg(long, default_value_t = 100_000)]
    rows: u32,
    /// How many of them the C peer updates: it needs a local port for each, and runs out of them.
    #[arg(long, default_value_t = 20_000)]
    peer_rows: u32,
    /// How many single rows are updated.
    #[arg(long, default_value_t = 5_000)]
    single: u32,
    /// How many blocks of transactions of a single row are timed in each way; the median counts.
    #[arg(long, default_value_t = 40)]
    blocks: u32,
    /// How often everything else is measured; the fastest time of each counts.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The fastest times.
#[derive(Debug, Default)]
struct Measured {
    nothing: Option<Duration>,
    json: Option<Duration>,
    peer: Option<Duration>,
    /// The one that keeps a client for each thread.
    kept_peer: Option<Duration>,
    acked: Option<Duration>,
    pipelined: Option<Duration>,
    /// Until a job server had the last job of `pipelined`.
    delivered: Option<Duration>,
    committed: Option<Duration>,
    outbox: Option<Duration>,
    sustained: Option<Duration>,
    bare: Option<Duration>,
    /// Transactions of a single row, for each `innodb_flush_log_at_trx_commit` of [`FLUSHES`].
    transactions: [Transactions; FLUSHES.len()],
    latency_acked: Latency,
    latency_pipelined: Latency,
    latency_committed: Latency,
}

/// Durable with the machine, and with the server's process.
const FLUSHES: [u32; 2] = [1, 2];

/// The times of blocks of single-row transactions.
#[derive(Debug, Default)]
struct Transactions {
    /// Without a trigger, and without the participant in the server.
    without_us: Vec<Duration>,
    /// Without a trigger; the participant is installed.
    nothing: Vec<Duration>,
    json: Vec<Duration>,
    committed: Vec<Duration>,
}

/// How long it took to the job's arrival: from the beginning of the statement, for `committed` from its end.
#[derive(Debug, Default, Clone, Copy)]
struct Latency {
    p50: Duration,
    p99: Duration,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let database = Database::builder()
        .library()
        .configuration("plugin-load-add=libgearman_mysql_udf.so")
        .configuration("gman_timeout_ms=60000\ngman_on_failure=error")
        .start();
    database.install_functions();
    peer::install(&database);
    let mut session = database.connect();
    trigger_table::create(&mut session, options.rows);
    query(
        &mut session,
        "CREATE TABLE outbox (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
           function_name VARCHAR(255) NOT NULL, workload LONGBLOB NOT NULL) ENGINE=InnoDB",
    );

    let mut measured = Measured::default();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        measured.round(&database, &mut session, &options);
    }
    eprintln!("transactions of a single row");
    measured.transactions =
        FLUSHES.map(|flush| Transactions::measure(&database, &mut session, flush, options.blocks));
    eprintln!("single rows");
    measured.latency_acked = latency(&mut session, "acked", options.single);
    measured.latency_pipelined = latency(&mut session, "pipelined", options.single);
    measured.latency_committed = latency(&mut session, "committed", options.single);

    let version: String = database.value("SELECT VERSION()");
    drop(session);
    drop(database);
    eprintln!("commits that wait");
    let waits = commit_wait::measure();
    let mut promises = report(&version, &options, &measured);
    promises.extend(waits.iter().flat_map(commit_wait::report));
    promise::judge(&promises)
}

impl Measured {
    /// Everything once. The statements take turns, so that what disturbs the machine disturbs all.
    fn round(&mut self, database: &Database, session: &mut Conn, options: &Options) {
        let rows = options.rows;
        set_trigger(session, None);
        keep_fastest(&mut self.nothing, update(session, rows));
        set_trigger(session, Some(&format!("SET @r = {JSON}")));
        keep_fastest(&mut self.json, update(session, rows));

        let peers = [
            ("peer_do_background", options.peer_rows, &mut self.peer),
            ("peer_kept_do_background", rows, &mut self.kept_peer),
        ];
        for (function, rows, time) in peers {
            peer::keep_fastest_update(function, time, session, rows);
        }

        let gearmand = deliver(session, "acked");
        keep_fastest(&mut self.acked, update(session, rows));
        assert_jobs(&gearmand, rows);

        let gearmand = deliver(session, "pipelined");
        let began = Instant::now();
        keep_fastest(&mut self.pipelined, update(session, rows));
        flush(session);
        keep_fastest(&mut self.delivered, began.elapsed());
        assert_jobs(&gearmand, rows);

        // In a session of its own, whose end lets the participant be removed.
        let mut own = database.connect();
        let gearmand = deliver(&mut own, "committed");
        keep_fastest(&mut self.committed, update(&mut own, rows));
        flush(&mut own);
        assert_jobs(&gearmand, rows);
        drop(own);

        query(
            session,
            &format!("SET GLOBAL gman_window_bytes = {SMALL_WINDOW}"),
        );
        let gearmand = deliver(session, "pipelined");
        let began = Instant::now();
        update(session, rows);
        flush(session);
        keep_fastest(&mut self.sustained, began.elapsed());
        assert_jobs(&gearmand, rows);
        query(session, "SET GLOBAL gman_window_bytes = DEFAULT");

        let gearmand = job_server::start();
        keep_fastest(&mut self.bare, bare_client::submit(&gearmand, rows));
        assert_jobs(&gearmand, rows);

        let insert = format!("INSERT INTO outbox (function_name, workload) VALUES ('f', {JSON})");
        set_trigger(session, Some(&insert));
        query(session, "TRUNCATE outbox");
        keep_fastest(&mut self.outbox, update(session, rows));
    }
}

impl Transactions {
    /// The ways take turns in being the first, so that a machine that gets slower is slower for all.
    fn measure(database: &Database, session: &mut Conn, flush_log: u32, blocks: u32) -> Self {
        let mut measured = Self::default();
        query(
            session,
            &format!("SET GLOBAL innodb_flush_log_at_trx_commit = {flush_log}"),
        );
        let ways: [fn(&mut Self, &Database, &mut Conn); 4] =
            [Self::without_us, Self::nothing, Self::json, Self::committed];
        for block in 0..blocks as usize {
            for place in 0..ways.len() {
                ways[(block + place) % ways.len()](&mut measured, database, session);
            }
        }
        measured
    }

    fn without_us(&mut self, database: &Database, session: &mut Conn) {
        set_trigger(session, None);
        query(session, "SET GLOBAL gman_delivery = 'acked'");
        remove_participant(session);
        self.without_us.push(update_one_by_one(database));
        query(session, INSTALL_PARTICIPANT);
    }

    fn nothing(&mut self, database: &Database, session: &mut Conn) {
        set_trigger(session, None);
        self.nothing.push(update_one_by_one(database));
    }

    fn json(&mut self, database: &Database, session: &mut Conn) {
        set_trigger(session, Some(&format!("SET @r = {JSON}")));
        self.json.push(update_one_by_one(database));
    }

    fn committed(&mut self, database: &Database, session: &mut Conn) {
        let gearmand = deliver(session, "committed");
        self.committed.push(update_one_by_one(database));
        flush(session);
        assert_jobs(&gearmand, WARM_UP + BLOCK);
    }
}

const INSTALL_PARTICIPANT: &str = "INSTALL PLUGIN gman_commit SONAME 'libgearman_mysql_udf.so'";

/// MariaDB takes the plugin away when the last session that used it has ended, MySQL when it is told then.
fn remove_participant(session: &mut Conn) {
    support::wait_until(Duration::from_secs(60), "the participant to go", || {
        // Fails once it has gone, and on MySQL until it can.
        let _ = session.query_drop("UNINSTALL PLUGIN gman_commit");
        let plugins: Vec<String> = session
            .query(
                "SELECT PLUGIN_NAME FROM information_schema.PLUGINS \
                 WHERE PLUGIN_NAME = 'gman_commit'",
            )
            .expect("a list of plugins");
        match plugins.is_empty() {
            true => Ok(()),
            false => Err(plugins),
        }
    });
}

/// Updates single rows at a steady pace while a worker waits.
fn latency(session: &mut Conn, delivery: &str, updates: u32) -> Latency {
    let gearmand = deliver(session, delivery);
    let arrivals: Arc<Mutex<HashMap<Vec<u8>, Instant>>> = Arc::default();
    let seen = Arc::clone(&arrivals);
    let worker = RecordingWorker::answering(gearmand.port(), &["f"], move |job| {
        let mut arrivals = seen.lock().expect("not poisoned");
        arrivals.insert(job.workload.clone(), Instant::now());
        Answer::Complete(Vec::new())
    });
    let mut sent = Vec::new();
    let began = Instant::now();
    for id in 1..=updates {
        let due = began + PACE * id;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let began = Instant::now();
        query(session, &format!("UPDATE t SET n = n + 1 WHERE id = {id}"));
        sent.push(match delivery {
            "committed" => Instant::now(),
            _ => began,
        });
    }
    worker.wait_for(updates as usize);
    drop(worker);
    let arrivals = arrivals.lock().expect("not poisoned");
    let mut times: Vec<Duration> = (1..=updates)
        .zip(&sent)
        .map(|(id, sent)| arrivals[workload(id).as_bytes()].saturating_duration_since(*sent))
        .collect();
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    Latency {
        p50: at(50),
        p99: at(99),
    }
}

/// One line of the table.
struct Line {
    name: &'static str,
    rows: u32,
    time: Duration,
    ours: bool,
}

impl Line {
    fn per_second(&self) -> f64 {
        f64::from(self.rows) / self.time.as_secs_f64()
    }
}

/// Prints the tables and draws the picture.
fn report(version: &str, options: &Options, measured: &Measured) -> Vec<Promise> {
    let lines = lines(options, measured);
    let title = format!(
        "{version}, UPDATE of {} rows (with a client a call: {}), fastest of {}",
        options.rows, options.peer_rows, options.rounds
    );
    println!("{title}\n");
    println!(
        "| trigger                        |     time |   rows a second | a row, above no trigger |"
    );
    println!(
        "|--------------------------------|---------:|----------------:|------------------------:|"
    );
    let nothing = taken(measured.nothing).as_secs_f64() / f64::from(options.rows);
    for line in &lines {
        let row = line.time.as_secs_f64() / f64::from(line.rows) - nothing;
        println!(
            "| {:<30} | {:6.3} s | {:15.0} | {:20.1} us |",
            line.name,
            line.time.as_secs_f64(),
            line.per_second(),
            row.max(0.0) * 1e6
        );
    }
    println!("\n| single rows, 1,000 a second: arrival after | p50 | p99 |\n|---|---|---|");
    for (name, Latency { p50, p99 }) in [
        ("acked", measured.latency_acked),
        ("pipelined", measured.latency_pipelined),
        (
            "committed, after COMMIT returned",
            measured.latency_committed,
        ),
    ] {
        println!("| {name} | {:.2} ms | {:.2} ms |", in_ms(p50), in_ms(p99));
    }
    println!(
        "\n| transactions of one row, innodb_flush_log_at_trx_commit | no plugin | no trigger | only the JSON | committed |\n|---|---|---|---|---|"
    );
    for (flush, times) in FLUSHES.iter().zip(&measured.transactions) {
        let each = |times| median(times).as_secs_f64() * 1e6 / f64::from(BLOCK);
        println!(
            "| {flush} | {:.1} us | {:.1} us | {:.1} us | {:.1} us |",
            each(&times.without_us),
            each(&times.nothing),
            each(&times.json),
            each(&times.committed)
        );
    }
    draw(&lines, &title);
    promises(options, measured)
}

fn taken(time: Option<Duration>) -> Duration {
    time.expect("at least one round")
}

fn in_ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn lines(options: &Options, measured: &Measured) -> Vec<Line> {
    let line = |name, time: Option<Duration>, ours| Line {
        name,
        rows: options.rows,
        time: taken(time),
        ours,
    };
    vec![
        line("no trigger", measured.nothing, false),
        line("only the JSON", measured.json, false),
        Line {
            rows: options.peer_rows,
            ..line("C peer, a client a call", measured.peer, false)
        },
        line("C peer, a client a thread", measured.kept_peer, false),
        line("acked", measured.acked, true),
        line("pipelined", measured.pipelined, true),
        line("committed, with its COMMIT", measured.committed, true),
        line("pipelined, until delivered", measured.delivered, true),
        line("pipelined, window full", measured.sustained, true),
        line("bare client, 100 in flight", measured.bare, false),
        line("INSERT into an outbox", measured.outbox, false),
    ]
}

fn promises(options: &Options, measured: &Measured) -> Vec<Promise> {
    let rate = |rows: u32, time: Option<Duration>| f64::from(rows) / taken(time).as_secs_f64();
    let pipelined = rate(options.rows, measured.pipelined);
    let to_json = rate(options.rows, measured.json) / pipelined;
    let sustained = rate(options.rows, measured.sustained) / rate(options.rows, measured.bare);
    let committed = rate(options.rows, measured.committed);
    let committed_to_json = rate(options.rows, measured.json) / committed;
    let committed_to_pipelined = pipelined / committed;
    let ratio = |over: &[Duration], under: &[Duration]| {
        median(over).as_secs_f64() / median(under).as_secs_f64()
    };
    let [durable, fast] = &measured.transactions;
    let singles = [durable, fast].map(|times| ratio(&times.committed, &times.json));
    let others = [durable, fast].map(|times| ratio(&times.nothing, &times.without_us));
    let (acked, later) = (measured.latency_acked, measured.latency_pipelined);
    let above = |later: Duration, acked: Duration| in_ms(later) - in_ms(acked);
    let (p50, p99) = (above(later.p50, acked.p50), above(later.p99, acked.p99));
    vec![
        Promise {
            promised:
                "pipelined, until the window fills: at most 1.5 times the time of the JSON alone"
                    .into(),
            found: format!("{to_json:.2} times"),
            kept: to_json <= 1.5,
        },
        Promise {
            promised: "sustained, window full: at least 0.8 times a bare client with 100 in flight"
                .into(),
            found: format!("{sustained:.2} times"),
            kept: sustained >= 0.8,
        },
        Promise {
            promised: "committed, with its COMMIT: at most 1.4 times the time of the JSON alone"
                .into(),
            found: format!("{committed_to_json:.2} times"),
            kept: committed_to_json <= 1.4,
        },
        Promise {
            promised: "committed: at most 1.1 times the time of pipelined".into(),
            found: format!("{committed_to_pipelined:.2} times"),
            kept: committed_to_pipelined <= 1.1,
        },
        Promise {
            promised: "committed, transactions of one row: at most 1.15 times the JSON alone"
                .into(),
            found: format!("{:.2} and {:.2} times", singles[0], singles[1]),
            kept: singles.iter().all(|&ratio| ratio <= 1.15),
        },
        Promise {
            promised: "a session that never calls us: at most 1.05 times without the plugin".into(),
            found: format!("{:.2} and {:.2} times", others[0], others[1]),
            kept: others.iter().all(|&ratio| ratio <= 1.05),
        },
        Promise {
            promised: "committed: arrival after COMMIT returned, p50: at most 0.5 ms".into(),
            found: format!("{:.2} ms", in_ms(measured.latency_committed.p50)),
            kept: in_ms(measured.latency_committed.p50) <= 0.5,
        },
        Promise {
            promised: "arrival of single rows, p50 and p99: at most 1 ms later than acked".into(),
            found: format!("{p50:+.2} ms and {p99:+.2} ms"),
            kept: p50 <= 1.0 && p99 <= 1.0,
        },
    ]
}

fn draw(lines: &[Line], title: &str) {
    let bars: Vec<Bar> = lines
        .iter()
        .map(|line| Bar {
            name: line.name.to_owned(),
            value: line.per_second(),
            label: format!("{:.0}", line.per_second()),
            ours: line.ours,
        })
        .collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/delivery.svg");
    bar_chart::draw(&path, "Rows a second through a trigger", title, &bars)
        .unwrap_or_else(|error| panic!("cannot draw {}: {error}", path.display()));
    println!("\ndrawn: docs/delivery.svg");
}
