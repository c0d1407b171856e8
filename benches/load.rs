//! How many rows a second `gman load` brings to Redis, and `gman verify` compares: `scripts/bench load` runs it.
//!
//! Each way of the rows has a gearmand, a worker and a Redis of its own, which keeps nothing on disk. The time
//! of a load counts from its start until the last row is in Redis. For comparison, a program that streams a
//! SELECT into Redis and does nothing else. Then single-row writers, alone and beside a load with `--rate`.
//! `GMAN_TEST_SERVER` chooses the database server. It ends with an error if a bar is missed.

#[path = "support/promise.rs"]
mod promise;
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::fs;
use std::process::{Child, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use mysql::prelude::Queryable;

use promise::Promise;
use support::{
    Database, Gearmand, Language, Redis, RedisWorker, gman_command, gman_program, gman_succeeds,
    product_file, wait_until,
};

/// Measures loading and verifying.
#[derive(Parser)]
struct Options {
    /// How many rows the table has.
    #[arg(long, default_value_t = 300_000)]
    rows: u32,
    /// How many bytes of text each row has, besides its numbers.
    #[arg(long, default_value_t = TEXT_BYTES)]
    bytes: u32,
    /// How many sessions write beside a load.
    #[arg(long, default_value_t = 4)]
    writers: u32,
    /// For how many seconds they do.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// How many rows a second the load beside them sends.
    #[arg(long, default_value_t = 5_000)]
    rate: u32,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

const PATIENCE: Duration = Duration::from_secs(600);

/// What the bars are for.
const TEXT_BYTES: u32 = 60;

/// The bars: rows a second, bytes of memory, and the share of the writers' rate that is left.
const DIRECT: f64 = 100_000.0;
const OUTBOX: f64 = 60_000.0;
const VERIFIED: f64 = 150_000.0;
const MEMORY_BYTES: u64 = 64 << 20;
const LEFT_FOR_WRITERS: f64 = 0.7;

/// One of the ways, and how fast it was.
struct Way {
    name: String,
    rows_a_second: f64,
    memory_bytes: u64,
    /// What the processes took of the processor for a row, in microseconds, in the order of [`PROCESSES`].
    processor_us: [f64; PROCESSES.len()],
}

/// Whose processor time is told.
const PROCESSES: [&str; 5] = ["database", "gman", "gearmand", "worker", "Redis"];

impl Way {
    fn new(
        name: &str,
        options: &Options,
        elapsed: Duration,
        processor: [Duration; PROCESSES.len()],
        memory_bytes: u64,
    ) -> Self {
        let rows = f64::from(options.rows);
        Self {
            name: name.to_owned(),
            rows_a_second: rows / elapsed.as_secs_f64(),
            memory_bytes,
            processor_us: processor.map(|taken| taken.as_secs_f64() * 1e6 / rows),
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    gman_program();
    let database = Database::builder()
        .option("--event-scheduler=OFF")
        .option("--innodb-buffer-pool-size=1G")
        .option("--loose-innodb-log-file-size=256M")
        .start();
    database.install_functions();
    let version: String = database.value("SELECT VERSION()");
    create_table(&database, &options);
    println!(
        "{version}, {} rows with {} bytes of text each\n",
        options.rows, options.bytes
    );

    let plain = stream(&database, &options);
    let (direct, verified) = load(&database, &options, &[], "gman load");
    let (alone, beside) = writers(&database, &options);
    database.execute("DROP FUNCTION gman_do_background");
    database.run_script(&product_file("sql/outbox.sql"));
    database.execute("SET GLOBAL event_scheduler = ON");
    let (outbox, _) = load(
        &database,
        &options,
        &["--outbox"],
        "gman load, by the outbox",
    );

    print_ways(&[&plain, &direct, &outbox, &verified]);
    println!(
        "\n{} single-row writers: {alone:.0} changes a second alone, {beside:.0} beside a load of {} rows a second",
        options.writers, options.rate
    );
    if options.bytes != TEXT_BYTES {
        println!("\nno bar: those are for {TEXT_BYTES} bytes of text");
        return ExitCode::SUCCESS;
    }
    let rate = |way: &Way, bar: f64| Promise {
        promised: format!("{}: at least {bar:.0} rows a second", way.name),
        found: format!("{:.0}", way.rows_a_second),
        kept: way.rows_a_second >= bar,
    };
    promise::judge(&[
        rate(&direct, DIRECT),
        rate(&outbox, OUTBOX),
        rate(&verified, VERIFIED),
        Promise {
            promised: "gman load uses at most 64 MiB".into(),
            found: format!("{} MiB", direct.memory_bytes.max(outbox.memory_bytes) >> 20),
            kept: direct.memory_bytes.max(outbox.memory_bytes) <= MEMORY_BYTES,
        },
        Promise {
            promised: "writers beside a load keep 70 % of their rate".into(),
            found: format!("{:.0} %", beside / alone * 100.0),
            kept: beside >= alone * LEFT_FOR_WRITERS,
        },
    ])
}

fn print_ways(ways: &[&Way]) {
    println!("| way                                 | rows a second | memory of gman |");
    println!("|-------------------------------------|--------------:|---------------:|");
    for way in ways {
        let mib = way.memory_bytes as f64 / f64::from(1 << 20);
        println!(
            "| {:<35} | {:>13.0} | {mib:>10.0} MiB |",
            way.name, way.rows_a_second
        );
    }
    println!("\nmicroseconds of the processor for a row:\n");
    println!(
        "| way                                 | {} |",
        PROCESSES.join(" | ")
    );
    println!(
        "|-------------------------------------|{}",
        PROCESSES
            .map(|name| format!("{:->width$}:|", "", width = name.len() + 1))
            .concat()
    );
    for way in ways {
        let numbers = PROCESSES.iter().zip(way.processor_us);
        let numbers: Vec<String> = numbers
            .map(|(name, us)| format!("{us:>width$.1}", width = name.len()))
            .collect();
        println!("| {:<35} | {} |", way.name, numbers.join(" | "));
    }
}

fn create_table(database: &Database, options: &Options) {
    database.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, price DECIMAL(10,2) NOT NULL, stock INT NOT NULL,
                         name VARCHAR(2000) NOT NULL) ENGINE=InnoDB",
    );
    let mut session = database.connect();
    let name = "x".repeat(options.bytes as usize);
    for first in (1..=options.rows).step_by(1000) {
        let ids = first..(first + 1000).min(options.rows + 1);
        let rows: Vec<String> = ids.map(|id| format!("({id},{id}.25,7,'{name}')")).collect();
        session
            .query_drop(format!("INSERT INTO t VALUES {}", rows.join(",")))
            .expect("rows");
    }
}

/// The limit: one SELECT, and HSETs as they come.
fn stream(database: &Database, options: &Options) -> Way {
    let redis = Redis::without_persistence();
    let mut connection = redis.connect();
    let mut session = database.connect();
    let began = Instant::now();
    let mut pipeline = redis::pipe();
    let before = [database.processor_time(), redis.processor_time()];
    let rows = session
        .query_iter("SELECT CONCAT(id), CONCAT(price), CONCAT(stock), name FROM t")
        .expect("a SELECT");
    for row in rows {
        let (id, price, stock, name): (String, String, String, String) =
            mysql::from_row(row.expect("a row"));
        pipeline.cmd("HSET").arg(format!("test.t:{id}")).arg(&[
            ("id", &id),
            ("price", &price),
            ("stock", &stock),
            ("name", &name),
        ]);
        if pipeline.len() == 1000 {
            pipeline.exec(&mut connection).expect("HSET");
            pipeline.clear();
        }
    }
    if !pipeline.is_empty() {
        pipeline.exec(&mut connection).expect("HSET");
    }
    let elapsed = began.elapsed();
    let none = Duration::ZERO;
    let taken = [
        database.processor_time() - before[0],
        none,
        none,
        none,
        redis.processor_time() - before[1],
    ];
    Way::new("a SELECT streamed into Redis", options, elapsed, taken, 0)
}

/// Loads the table, and compares it.
fn load(database: &Database, options: &Options, triggers: &[&str], name: &str) -> (Way, Way) {
    let (gearmand, redis) = (Gearmand::start(), Redis::without_persistence());
    let worker = RedisWorker::start_with(Language::Rust, &gearmand, &redis, &[]);
    let servers = gearmand.address();
    let _: String = database.value(&format!("SELECT gman_servers_set('{servers}')"));
    gman_succeeds(
        database,
        &[&["triggers", "--create", "test.t"], triggers].concat(),
    );

    let taken = |of_gman: Duration| {
        [
            database.processor_time(),
            of_gman,
            gearmand.processor_time(),
            worker.processor_time(),
            redis.processor_time(),
        ]
    };
    let since = |before: [Duration; PROCESSES.len()], of_gman| {
        let now = taken(of_gman);
        std::array::from_fn(|place| now[place] - before[place])
    };

    let (began, before) = (Instant::now(), taken(Duration::ZERO));
    let run_of_gman = run(database, &["load", "test.t"]);
    let mut connection = redis.connect();
    wait_until(PATIENCE, "the last row", || {
        let keys: u32 = redis::cmd("DBSIZE").query(&mut connection).expect("DBSIZE");
        if keys == options.rows {
            Ok(())
        } else {
            Err(keys)
        }
    });
    let loaded = Way::new(
        name,
        options,
        began.elapsed(),
        since(before, run_of_gman.processor),
        run_of_gman.peak_bytes,
    );
    let address = format!("--redis={}", redis.address());
    let (began, before) = (Instant::now(), taken(Duration::ZERO));
    let run_of_gman = run(database, &["verify", "test.t", &address]);
    let verified = Way::new(
        "gman verify",
        options,
        began.elapsed(),
        since(before, run_of_gman.processor),
        run_of_gman.peak_bytes,
    );
    (loaded, verified)
}

/// What a `gman` that has ended had taken.
#[derive(Default)]
struct Run {
    peak_bytes: u64,
    processor: Duration,
}

/// Runs `gman` to its end. Of the last 20 ms the processor time is not known.
fn run(database: &Database, arguments: &[&str]) -> Run {
    let mut command = gman_command(database, arguments);
    let mut child = command.stdout(Stdio::null()).spawn().expect("gman starts");
    let mut taken = Run::default();
    loop {
        taken.peak_bytes = taken.peak_bytes.max(peak_bytes(&child).unwrap_or(0));
        taken.processor = taken.processor.max(support::processor_time(child.id()));
        if let Some(status) = child.try_wait().expect("gman runs") {
            assert!(status.success(), "{arguments:?}: {status}");
            return taken;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// `VmHWM` of proc(5).
fn peak_bytes(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

/// The rates of single-row writers, alone and beside a load.
fn writers(database: &Database, options: &Options) -> (f64, f64) {
    let (gearmand, redis) = (Gearmand::start(), Redis::without_persistence());
    let _worker = RedisWorker::start_with(Language::Rust, &gearmand, &redis, &[]);
    let servers = gearmand.address();
    let _: String = database.value(&format!("SELECT gman_servers_set('{servers}')"));
    let (stop, changes) = (AtomicBool::new(false), AtomicU64::new(0));
    let seconds = Duration::from_secs(options.seconds.into());
    thread::scope(|scope| {
        for writer in 0..options.writers {
            let (stop, changes) = (&stop, &changes);
            scope.spawn(move || write(database, options, writer, stop, changes));
        }
        let rate = |meanwhile: &dyn Fn()| {
            let (began, before) = (Instant::now(), changes.load(Ordering::Relaxed));
            meanwhile();
            let made = changes.load(Ordering::Relaxed) - before;
            made as f64 / began.elapsed().as_secs_f64()
        };
        thread::sleep(Duration::from_secs(1));
        let alone = rate(&|| thread::sleep(seconds));
        let beside = rate(&|| {
            let limit = format!("id <= {}", options.rate * options.seconds);
            let speed = options.rate.to_string();
            run(
                database,
                &["load", "test.t", "--rate", &speed, "--where", &limit],
            );
        });
        stop.store(true, Ordering::Relaxed);
        (alone, beside)
    })
}

fn write(
    database: &Database,
    options: &Options,
    writer: u32,
    stop: &AtomicBool,
    changes: &AtomicU64,
) {
    let mut session = database.connect();
    let mut id = writer;
    while !stop.load(Ordering::Relaxed) {
        id = id.wrapping_mul(48_271).wrapping_add(11) % options.rows;
        session
            .query_drop(format!(
                "UPDATE t SET stock = stock + 1 WHERE id = {}",
                id + 1
            ))
            .expect("an UPDATE");
        changes.fetch_add(1, Ordering::Relaxed);
    }
}
