//! How many jobs a second the worker takes from gearmand into Redis, against the worker in PHP.
//!
//! `scripts/bench worker` runs it, with a gearmand and a Redis of its own for each turn. The jobs are in
//! the queue before the worker starts: submitting them meanwhile would take its share of the machine.
//! They are few enough for gearmand, which slows down with hundreds of thousands in the queue, and the
//! time counts from starting the process until gearmand says that nothing is left. It ends with an error
//! if a bar is missed.

#[path = "support/job_server.rs"]
mod job_server;
#[path = "support/promise.rs"]
mod promise;
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

use promise::Promise;
use support::{FUNCTION, Language, Redis, RedisWorker, Submitter, gman_program, wait_until};

/// How long a turn may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many keys the jobs write to.
const KEYS: u32 = 1000;

/// The option of one of the contenders.
const HASH: &str = "--mode=hash";

/// The bars.
const JOBS_A_SECOND: f64 = 20_000.0;
const TIMES_PHP: f64 = 3.0;

/// Measures the workers.
#[derive(Parser)]
struct Options {
    /// How many jobs are in the queue when a worker starts.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1000..))]
    jobs: u32,
    /// How often each is measured; the fastest time of each counts.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A worker with options, and the fastest of its turns.
struct Contender {
    name: &'static str,
    language: Language,
    options: &'static [&'static str],
    fastest: Duration,
}

impl Contender {
    const fn new(name: &'static str, language: Language, options: &'static [&'static str]) -> Self {
        Self {
            name,
            language,
            options,
            fastest: Duration::MAX,
        }
    }

    /// Lets the worker empty a queue, and makes sure that every key has its last value.
    fn take_turn(&mut self, jobs: u32) {
        let (gearmand, redis) = (job_server::start(), Redis::start());
        let workloads = (1..=jobs).map(|n| format!(r#"{{"id":{},"name":"{n}"}}"#, n % KEYS));
        Submitter::to(&gearmand).submit(FUNCTION, workloads);

        let began = Instant::now();
        let _worker = RedisWorker::start_with(self.language, &gearmand, &redis, self.options);
        wait_until(PATIENCE, "an empty queue", || {
            match gearmand.status()[FUNCTION].queued {
                0 => Ok(()),
                queued => Err(queued),
            }
        });
        self.fastest = self.fastest.min(began.elapsed());

        for n in jobs - KEYS + 1..=jobs {
            let key = (n % KEYS).to_string();
            let found = if self.options.contains(&HASH) {
                redis.hash(&key).remove("name")
            } else {
                redis.get(&key)
            };
            assert_eq!(found, Some(n.to_string()), "{}: key {key}", self.name);
        }
    }

    fn jobs_a_second(&self, jobs: u32) -> f64 {
        f64::from(jobs) / self.fastest.as_secs_f64()
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    // Built before any turn is timed.
    gman_program();
    let mut contenders = [
        Contender::new("worker.php", Language::Php, &[]),
        Contender::new("gman worker", Language::Rust, &[]),
        Contender::new("gman worker --threads 2", Language::Rust, &["--threads=2"]),
        Contender::new("gman worker --mode hash", Language::Rust, &[HASH]),
    ];
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        for contender in &mut contenders {
            contender.take_turn(options.jobs);
        }
    }
    report(&options, &contenders)
}

fn report(options: &Options, contenders: &[Contender]) -> ExitCode {
    let Options { jobs, rounds, .. } = options;
    println!("{jobs} jobs in gearmand's queue, {KEYS} keys, fastest of {rounds}\n");
    println!("| worker                   |    time | jobs a second | times worker.php |");
    println!("|--------------------------|--------:|--------------:|-----------------:|");
    let [php, rust, ..] = contenders else {
        unreachable!("both are contenders");
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
    promise::judge(&[
        Promise {
            promised: format!("at least {JOBS_A_SECOND} jobs a second"),
            found: format!("{:.0}", rust.jobs_a_second(*jobs)),
            kept: rust.jobs_a_second(*jobs) >= JOBS_A_SECOND,
        },
        Promise {
            promised: format!("at least {TIMES_PHP} times worker.php"),
            found: format!("{:.1} times", times(rust, php)),
            kept: times(rust, php) >= TIMES_PHP,
        },
    ])
}

/// How many times as fast `one` is as `other`.
fn times(one: &Contender, other: &Contender) -> f64 {
    other.fastest.as_secs_f64() / one.fastest.as_secs_f64()
}
