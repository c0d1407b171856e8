//! A Redis that means harm, or is as good as one that does. `worker::limits` has what the worker does about answers
//! without end, and about those that nobody asked for.

use std::process::Command;
use std::thread;
use std::time::Duration;

use redis::RedisResult;

use super::{assert_plain, ends_within, fails_within};
use crate::support::{
    FUNCTION, FakeRedis, Gearmand, Gman, Language, Port, Redis, RedisWorker, Said, Submitter,
    gman_command, gman_succeeds, wait_until,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// The slot of the key `1`.
const SLOT: u16 = 9842;

/// How much memory `gman verify` may take, in bytes: what a row may have, several times.
const MEMORY: u64 = 6 << 30;

/// A table with triggers and one row.
fn with_row() -> Gman {
    let mut gman = Gman::start();
    gman.execute("CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20))");
    gman.execute("INSERT INTO t VALUES (1, 'sm')");
    gman_succeeds(&gman.database, &["triggers", "test.t", "--create"]);
    gman
}

fn verify(gman: &Gman, redis: &FakeRedis) -> Command {
    let redis = redis.address();
    let arguments = ["verify", "test.t", "--patience=1", "--redis", &redis];
    let command = gman_command(&gman.database, &arguments);
    let mut limited = Command::new("prlimit");
    limited
        .arg(format!("--as={MEMORY}"))
        .arg(command.get_program())
        .args(command.get_args());
    limited
}

/// What a Redis may say to any question, and what is then said of it.
fn answers() -> Vec<(Said, &'static str)> {
    let large = |kind: &str| {
        let mut bytes = format!("{kind}536870912\r\n").into_bytes();
        bytes.resize(1 << 16, b'a');
        Said::Endless(bytes)
    };
    vec![
        (Said::Nothing, "no answer within 2 s"),
        (
            Said::Drip(b"+OK".repeat(1000), Duration::from_millis(10)),
            "no answer within 2 s",
        ),
        (large("$"), ""),
        (large("*"), ""),
        (Said::Endless(b"*2\r\n".to_vec()), ""),
        (
            Said::Endless(b">1\r\n+a\r\n".to_vec()),
            "no answer within 2 s",
        ),
        (
            Said::Endless(b"+aaaaaaaaaaaaaaaaaaaa".to_vec()),
            "a line without an end",
        ),
        (
            Said::Bytes(b"HTTP/1.1 400 Bad Request\r\n".to_vec()),
            "the protocol of Redis",
        ),
        (Said::Bytes(b"-ERR \x1b[2J\x9b31m\r\n".to_vec()), "ERR"),
        (
            Said::Bytes(format!("-MOVED {SLOT} :1\r\n").into_bytes()),
            "",
        ),
    ]
}

#[test]
fn a_comparison_ends_whatever_redis_answers() {
    let gman = with_row();
    thread::scope(|scope| {
        for (said, expected) in answers() {
            let gman = &gman;
            scope.spawn(move || {
                let redis = FakeRedis::always("HGETALL", said);
                let ran = fails_within(PATIENCE, &mut verify(gman, &redis));
                assert!(ran.said.contains(expected), "{expected}: {ran:?}");
            });
        }
    });
}

#[test]
fn the_status_comes_whatever_redis_answers() {
    let gman = Gman::start();
    for command in ["PING", "CLUSTER", "INFO"] {
        thread::scope(|scope| {
            for (said, _) in answers() {
                let database = &gman.database;
                scope.spawn(move || {
                    let redis = FakeRedis::always(command, said);
                    let options = ["status", "--redis", &redis.address()];
                    let ran = ends_within(PATIENCE, &mut gman_command(database, &options));
                    assert!(ran.printed.contains("Redis "), "{ran:?}");
                    assert_plain(&ran.printed);
                });
            }
        });
    }
}

/// A node that says that the key has moved, where it has, and then nodes that lead in a circle.
#[test]
fn nodes_that_name_each_other_cost_the_worker_neither_threads_nor_memory() {
    let gearmand = Gearmand::start();
    let elsewhere = FakeRedis::always("SET", Said::Bytes(b"+OK\r\n".to_vec()));
    let moved = format!("-MOVED {SLOT} {}\r\n", elsewhere.address());
    let redis = FakeRedis::always("SET", Said::Bytes(moved.into_bytes()));
    let worker = start(&gearmand, &redis.address());
    Submitter::to(&gearmand).submit(FUNCTION, [r#"{"id":1,"name":"sm"}"#.to_owned()]);
    wait_until(
        PATIENCE,
        "the job to be done where the key has moved",
        || match gearmand.status()[FUNCTION].queued {
            0 => Ok(()),
            queued => Err(queued),
        },
    );
    drop(worker);

    let circle = FakeRedis::circle("SET", SLOT);
    let worker = start(&gearmand, &circle.address());
    let (threads, memory) = (worker.process().threads(), worker.rss_bytes());
    Submitter::to(&gearmand).submit(FUNCTION, [r#"{"id":1,"name":"sm"}"#.to_owned()]);
    wait_for(&worker, "keeping the jobs");
    thread::sleep(Duration::from_secs(3));
    assert!(
        worker.process().threads() <= threads + 2,
        "{}",
        worker.process().threads()
    );
    assert!(
        worker.rss_bytes() < memory + (16 << 20),
        "{}",
        worker.rss_bytes()
    );
    let busy = worker.processor_time();
    assert!(busy < Duration::from_secs(1), "{busy:?}");
    assert_plain(&worker.log());
}

fn start(gearmand: &Gearmand, redis: &str) -> RedisWorker {
    let options = [
        format!("--gearmand={}", gearmand.address()),
        format!("--redis={redis}"),
    ];
    RedisWorker::start_bare(&[gearmand], &options)
}

fn wait_for(worker: &RedisWorker, part: &str) {
    wait_until(PATIENCE, part, || match worker.log() {
        log if log.contains(part) => Ok(()),
        log => Err(log),
    });
}

/// Words that Redis makes up are counted as one, or they would fill the worker's memory.
#[test]
fn errors_that_redis_makes_up_are_one_number_and_nothing_for_a_terminal() {
    let gearmand = Gearmand::start();
    let made_up = format!(
        "-{} \x1b[2J\u{9b}31m nobody knows\r\n",
        "MADEUP".repeat(100)
    );
    let redis = FakeRedis::always("SET", Said::Bytes(made_up.into_bytes()));
    let port = Port::free();
    let metrics = format!("127.0.0.1:{}", port.number());
    let options = [
        format!("--gearmand={}", gearmand.address()),
        format!("--redis={}", redis.address()),
        format!("--metrics={metrics}"),
    ];
    let worker = RedisWorker::start_bare(&[&gearmand], &options);
    Submitter::to(&gearmand).submit(FUNCTION, [r#"{"id":1,"name":"sm"}"#.to_owned()]);
    wait_for(&worker, "nobody knows");
    assert_plain(&worker.log());
    let mut answer = ureq::get(format!("http://{metrics}/metrics"))
        .call()
        .expect("the numbers");
    let numbers = answer.body_mut().read_to_string().expect("text");
    assert!(
        numbers.contains("gman_worker_redis_errors_total{error=\"ERR\"}"),
        "{numbers}"
    );
    assert!(!numbers.contains("MADEUP"), "{numbers}");
}

/// A script that never ends keeps Redis from all else, until somebody ends it.
#[test]
fn a_script_that_never_ends_holds_jobs_up_and_loses_none() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let set: RedisResult<String> = redis.command(&["CONFIG", "SET", "lua-time-limit", "200"]);
    set.expect("a setting");
    let worker = RedisWorker::start(Language::Rust, &gearmand, &redis);
    run_endless_script(&redis);
    wait_until(PATIENCE, "Redis to be busy", || {
        match redis.command::<String>(&["PING"]) {
            Err(error) if error.to_string().contains("BUSY") => Ok(()),
            other => Err(other),
        }
    });
    Submitter::to(&gearmand).submit(FUNCTION, [r#"{"id":1,"name":"sm"}"#.to_owned()]);
    wait_for(&worker, "BUSY");
    // Whoever only looks is told as well.
    let gman = with_row();
    for subcommand in [&["status"][..], &["verify", "test.t", "--patience=1"]] {
        let mut command = gman_command(&gman.database, subcommand);
        let ended = command.args(["--redis", &redis.address()]).output();
        let ended = ended.expect("gman starts");
        let said = [ended.stdout, ended.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(
            said.contains("BUSY") || said.contains("unreachable"),
            "{said}"
        );
    }
    let killed: RedisResult<String> = redis.command(&["SCRIPT", "KILL"]);
    killed.expect("the script ends");
    wait_until(PATIENCE, "the job to be done", || match redis.get("1") {
        Some(name) if name == "sm" => Ok(()),
        other => Err(other),
    });
}

/// Runs `while true do end` from a client of its own.
fn run_endless_script(redis: &Redis) {
    let mut client = redis.connect();
    thread::spawn(move || {
        let mut script = redis::cmd("EVAL");
        // It ends with an error when somebody kills it.
        let _: RedisResult<()> = script.arg("while true do end").arg(0).query(&mut client);
    });
}
