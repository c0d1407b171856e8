//! How many jobs a second the worker takes from gearmand into Redis, against the worker in PHP; and how old
//! a change is when Redis has it.
//!
//! `scripts/bench worker` runs it, with a gearmand and a Redis of its own for each turn; Redis keeps nothing
//! on disk. The jobs are in the queue before the worker starts: submitting them meanwhile would take its share
//! of the machine. The time counts from starting the processes until gearmand says that nothing is left. Then
//! once more with a deep queue, where gearmand's own options decide; the limit is a worker that only takes jobs
//! and finishes them. It ends with an error if a bar is missed.

#[path = "support/bare_worker.rs"]
mod bare_worker;
#[path = "support/change_age.rs"]
mod change_age;
#[path = "support/job_server.rs"]
mod job_server;
#[path = "support/promise.rs"]
mod promise;
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

use bare_worker::BareWorker;
use change_age::ChangeAge;
use promise::Promise;
use support::{
    FUNCTION, Gearmand, Language, ROW_FUNCTION, Redis, RedisCluster, RedisWorker, Submitter,
    gman_program, wait_until,
};

/// How long a turn may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many keys the jobs write to.
const KEYS: u32 = 1000;

/// How many workers share the jobs of a contender with lanes.
const LANES: u32 = 4;

/// The option of one of the contenders.
const HASH: &str = "--mode=hash";

/// The bars.
const JOBS_A_SECOND: f64 = 20_000.0;
const TIMES_PHP: f64 = 3.0;
const CLUSTER_TIMES_ONE: f64 = 0.8;
const LANES_TIMES_ONE: f64 = 1.0;
const AGE_P50: f64 = 0.001;
const AGE_P99: f64 = 0.005;

/// Measures the workers.
#[derive(Parser)]
struct Options {
    /// How many jobs are in the queue when a worker starts.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1000..))]
    jobs: u32,
    /// How many are in the deep queue.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1000..))]
    deep: u32,
    /// How often each is measured; the fastest time of each counts.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How the jobs get into Redis.
enum Setup {
    /// One worker, and jobs that are rows.
    Rows(Language, &'static [&'static str]),
    /// One worker, and jobs that name their keys, as `gman triggers` has them.
    Keyed,
    /// The same into a cluster of three.
    Cluster,
    /// A worker for each lane.
    Lanes,
}

/// A way, and the fastest of its turns.
struct Contender {
    name: &'static str,
    setup: Setup,
    fastest: Duration,
}

impl Contender {
    const fn new(name: &'static str, setup: Setup) -> Self {
        Self {
            name,
            setup,
            fastest: Duration::MAX,
        }
    }

    /// Empties a queue, and makes sure that every key has its last value.
    fn take_turn(&mut self, jobs: u32) {
        let took = match self.setup {
            Setup::Rows(language, options) => rows(jobs, language, options),
            Setup::Keyed => keyed(jobs, 1),
            Setup::Lanes => keyed(jobs, LANES),
            Setup::Cluster => cluster(jobs),
        };
        self.fastest = self.fastest.min(took);
    }

    fn jobs_a_second(&self, jobs: u32) -> f64 {
        f64::from(jobs) / self.fastest.as_secs_f64()
    }
}

fn rows(jobs: u32, language: Language, options: &[&str]) -> Duration {
    rows_of(&job_server::start(), jobs, language, options)
}

fn rows_of(gearmand: &Gearmand, jobs: u32, language: Language, options: &[&str]) -> Duration {
    let redis = Redis::without_persistence();
    submit_rows(gearmand, jobs);
    let began = Instant::now();
    let _worker = RedisWorker::start_with(language, gearmand, &redis, options);
    wait_for_empty_queues(gearmand);
    let took = began.elapsed();
    for n in jobs - KEYS + 1..=jobs {
        let key = (n % KEYS).to_string();
        let found = if options.contains(&HASH) {
            redis.hash(&key).remove("name")
        } else {
            redis.get(&key)
        };
        assert_eq!(found, Some(n.to_string()), "{options:?}: key {key}");
    }
    took
}

/// Takes jobs and finishes them, and nothing else.
fn bare(gearmand: &Gearmand, jobs: u32) -> Duration {
    submit_rows(gearmand, jobs);
    let began = Instant::now();
    let _worker = BareWorker::start(gearmand, FUNCTION);
    wait_for_empty_queues(gearmand);
    began.elapsed()
}

/// Job `n` writes its number to its key.
fn submit_rows(gearmand: &Gearmand, jobs: u32) {
    let workloads = (1..=jobs).map(|n| format!(r#"{{"id":{},"name":"{n}"}}"#, n % KEYS));
    Submitter::to(gearmand).submit(FUNCTION, workloads);
}

/// A queue so deep that gearmand's options matter, for each kind of them.
fn deep(jobs: u32) {
    println!("\n{jobs} jobs in gearmand's queue\n");
    println!(
        "| gearmand                         | gman worker: jobs a second | only taking them |"
    );
    println!(
        "|----------------------------------|---------------------------:|-----------------:|"
    );
    let a_second = |took: Duration| f64::from(jobs) / took.as_secs_f64();
    let of_packages: (&str, fn() -> Gearmand) =
        ("with the options of the packages", job_server::start);
    for (name, start) in [of_packages, ("as it is by default", Gearmand::start)] {
        let ours = a_second(rows_of(&start(), jobs, Language::Rust, &[]));
        let limit = a_second(bare(&start(), jobs));
        println!("| {name:<32} | {ours:>26.0} | {limit:>16.0} |");
    }
}

/// Jobs that name their keys, in as many lanes.
fn keyed(jobs: u32, lanes: u32) -> Duration {
    let (gearmand, redis) = (job_server::start(), Redis::without_persistence());
    submit_keyed(&gearmand, jobs, lanes);
    let options = |lane| {
        let mut options = vec![
            format!("--gearmand={}", gearmand.address()),
            format!("--redis={}", redis.address()),
        ];
        options.extend((lanes > 1).then(|| format!("--lane={lane}/{lanes}")));
        options
    };
    let began = Instant::now();
    let _workers: Vec<RedisWorker> = (1..=lanes)
        .map(|lane| RedisWorker::start_bare(&[&gearmand], &options(lane)))
        .collect();
    wait_for_empty_queues(&gearmand);
    let took = began.elapsed();
    assert_current(jobs, |key| redis.hash(key).remove("n"));
    took
}

fn cluster(jobs: u32) -> Duration {
    let (gearmand, cluster) = (job_server::start(), RedisCluster::of_masters());
    submit_keyed(&gearmand, jobs, 1);
    let options = [
        format!("--gearmand={}", gearmand.address()),
        format!("--redis={}", cluster.url()),
    ];
    let began = Instant::now();
    let _worker = RedisWorker::start_bare(&[&gearmand], &options);
    wait_for_empty_queues(&gearmand);
    let took = began.elapsed();
    assert_current(jobs, |key| cluster.hash(key).remove("n"));
    took
}

/// As [`submit_rows`], with the names of the keys.
fn submit_keyed(gearmand: &Gearmand, jobs: u32, lanes: u32) {
    let submitter = Submitter::to(gearmand);
    let key = |n: u32| format!("t:{}", n % KEYS);
    for lane in 1..=lanes {
        let of_lane =
            (1..=jobs).filter(|&n| 1 + crc32fast::hash(key(n).as_bytes()) % lanes == lane);
        let workloads = of_lane.map(|n| format!(r#"{{"key":"{}","row":{{"n":{n}}}}}"#, key(n)));
        let function = match lanes {
            1 => ROW_FUNCTION.to_owned(),
            _ => format!("{ROW_FUNCTION}.{lane}"),
        };
        submitter.submit(&function, workloads);
    }
}

fn assert_current(jobs: u32, mut value: impl FnMut(&str) -> Option<String>) {
    for n in jobs - KEYS + 1..=jobs {
        let key = format!("t:{}", n % KEYS);
        assert_eq!(value(&key), Some(n.to_string()), "{key}");
    }
}

fn wait_for_empty_queues(gearmand: &Gearmand) {
    wait_until(PATIENCE, "empty queues", || {
        let status = gearmand.status();
        match status.values().map(|function| function.queued).sum() {
            0_u64 => Ok(()),
            queued => Err(queued),
        }
    });
}

fn main() -> ExitCode {
    let options = Options::parse();
    // Built before any turn is timed.
    gman_program();
    let rust = |options| Setup::Rows(Language::Rust, options);
    let mut contenders = [
        Contender::new("worker.php", Setup::Rows(Language::Php, &[])),
        Contender::new("gman worker", rust(&[])),
        Contender::new("gman worker --threads 2", rust(&["--threads=2"])),
        Contender::new("gman worker --mode hash", rust(&[HASH])),
        Contender::new("rows of gman triggers", Setup::Keyed),
        Contender::new("the same, cluster of 3", Setup::Cluster),
        Contender::new("the same, 4 lanes", Setup::Lanes),
    ];
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        for contender in &mut contenders {
            contender.take_turn(options.jobs);
        }
    }
    let age = change_age::measure();
    report(&options, &contenders, age.as_ref())
}

fn report(options: &Options, contenders: &[Contender], age: Option<&ChangeAge>) -> ExitCode {
    let Options { jobs, rounds, .. } = options;
    println!("{jobs} jobs in gearmand's queue, {KEYS} keys, fastest of {rounds}\n");
    println!("| worker                   |    time | jobs a second | times worker.php |");
    println!("|--------------------------|--------:|--------------:|-----------------:|");
    let [php, rust, _, _, keyed, cluster, lanes] = contenders else {
        unreachable!("all are contenders");
    };
    for contender in contenders {
        println!(
            "| {:<24} | {:5.3} s | {:13.0} | {:16.1} |",
            contender.name,
            contender.fastest.as_secs_f64(),
            contender.jobs_a_second(*jobs),
            times(contender, php)
        );
    }
    let at_least = |bar: f64, what: &str, found: f64| Promise {
        promised: format!("at least {bar} times {what}"),
        found: format!("{found:.2} times"),
        kept: found >= bar,
    };
    let mut promises = vec![
        Promise {
            promised: format!("at least {JOBS_A_SECOND} jobs a second"),
            found: format!("{:.0}", rust.jobs_a_second(*jobs)),
            kept: rust.jobs_a_second(*jobs) >= JOBS_A_SECOND,
        },
        at_least(TIMES_PHP, "worker.php", times(rust, php)),
        at_least(
            CLUSTER_TIMES_ONE,
            "one Redis, on a cluster",
            times(cluster, keyed),
        ),
        at_least(
            LANES_TIMES_ONE,
            "one worker, by four with lanes",
            times(lanes, keyed),
        ),
    ];
    deep(options.deep);
    if let Some(age) = age {
        println!("\n{age}");
        for (name, found, bar) in [("p50", age.p50, AGE_P50), ("p99", age.p99, AGE_P99)] {
            promises.push(Promise {
                promised: format!("{name} of a change's age at most {} ms", bar * 1000.0),
                found: format!("{:.2} ms", found * 1000.0),
                kept: found <= bar,
            });
        }
    }
    promise::judge(&promises)
}

/// How many times as fast `one` is as `other`.
fn times(one: &Contender, other: &Contender) -> f64 {
    other.fastest.as_secs_f64() / one.fastest.as_secs_f64()
}
