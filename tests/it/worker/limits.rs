//! What protects the worker from those that it talks to, and from their jobs.

use std::time::{Duration, Instant};

use super::{
    PATIENCE, run_job, start, start_for, statistic, wait_for_an_empty_queue, wait_for_lines,
};
use crate::support::{
    FUNCTION, FakeRedis, Gearmand, Language, Redis, RedisWorker, Said, Submitter, TaskLimit,
    unsupported, wait_until,
};

/// What a Redis says, how often the worker is to complain, and that the job is done in the end.
fn survives(said: Said, complaint: &str) -> RedisWorker {
    let (gearmand, redis) = (Gearmand::start(), FakeRedis::start(&[said]));
    let worker = start_for(&gearmand, &redis.address(), &[]);
    let began = Instant::now();
    run_job(&gearmand, FUNCTION, r#"{"id":1,"name":"sm"}"#);
    wait_for_lines(&worker, complaint, 1);
    assert!(worker.log().contains(&redis.address()), "{}", worker.log());
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    worker
}

#[test]
fn an_answer_has_two_seconds_however_slowly_it_comes() {
    let drip = Said::Drip(b"+OK".repeat(1000), Duration::from_millis(10));
    survives(drip, "no answer within 2 s");
    survives(Said::Nothing, "no answer within 2 s");
}

#[test]
fn an_answer_that_never_ends_costs_neither_memory_nor_time() {
    let mut endless = b"$2000000000\r\n".to_vec();
    endless.resize(1 << 16, b'a');
    for (said, complaint) in [
        (Said::Endless(endless), "far too long"),
        (
            Said::Endless(b"+aaaaaaaaaaaaaaaaaaaa".to_vec()),
            "a line without an end",
        ),
        (Said::Endless(b"*100000000\r\n".to_vec()), "far too long"),
        (
            Said::Endless(b"$60000\r\n".to_vec()),
            "the protocol of Redis",
        ),
        (
            Said::Bytes(b"HTTP/1.1 400 Bad Request\r\n".to_vec()),
            "the protocol of Redis",
        ),
    ] {
        let worker = survives(said, complaint);
        assert!(
            worker.rss_bytes() < 100 << 20,
            "{} bytes",
            worker.rss_bytes()
        );
    }
}

#[test]
fn more_answers_than_questions_are_believed_by_nobody() {
    survives(
        Said::Bytes(b"+OK\r\n+OK\r\n".to_vec()),
        "nobody has asked for",
    );
}

#[test]
fn a_workload_that_is_too_large_fails_its_job_and_no_other() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let mut worker = start(&gearmand, &redis, &["--max-workload=1000"]);
    let large = |bytes| format!(r#"{{"id":1,"name":"{}"}}"#, "x".repeat(bytes));
    let good = r#"{"id":2,"name":"sm"}"#.to_owned();
    Submitter::to(&gearmand).submit(FUNCTION, [large(1000), large(50 << 20), good]);
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    assert_eq!(redis.get("2").as_deref(), Some("sm"));
    assert_eq!(redis.get("1"), None);
    wait_for_lines(&worker, "--max-workload is 1000", 2);
    assert!(
        worker.rss_bytes() < 60 << 20,
        "{} bytes",
        worker.rss_bytes()
    );
    worker.stop();
    assert_eq!(statistic(&worker, "failed"), 2.0);
    assert_eq!(statistic(&worker, "in_flight"), 0.0);
}

#[test]
fn a_worker_without_a_thread_for_a_key_ends_and_another_does_its_jobs() {
    const KEYS: u32 = 50;
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let mut worker = start(&gearmand, &redis, &["--threads=8"]);
    let threads = match TaskLimit::of(worker.process().pid()) {
        Ok(threads) => threads,
        Err(reason) => unsupported!("{reason}"),
    };
    threads.set();
    let job = |n| format!(r#"{{"id":{n},"name":"sm"}}"#);
    Submitter::to(&gearmand).submit(FUNCTION, (0..KEYS).map(job));
    wait_for_lines(&worker, "the system has no thread left", 1);
    assert_eq!(worker.stop().code(), Some(1), "{}", worker.log());
    assert!(!worker.log().contains("panicked"), "{}", worker.log());
    wait_until(
        PATIENCE,
        "the job server to miss the worker",
        || match gearmand.status()[FUNCTION].workers {
            0 => Ok(()),
            workers => Err(workers),
        },
    );
    let _another = start(&gearmand, &redis, &["--threads=8"]);
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    for n in 0..KEYS {
        assert_eq!(redis.get(&n.to_string()).as_deref(), Some("sm"), "{n}");
    }
}

#[test]
fn what_is_held_is_bounded_in_bytes() {
    const BYTES: usize = 100_000;
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let worker = start(&gearmand, &redis, &["--in-flight-bytes=2000000"]);
    redis.freeze();
    let job = |n| format!(r#"{{"id":{n},"name":"{}"}}"#, "x".repeat(BYTES));
    Submitter::to(&gearmand).submit(FUNCTION, (0..200).map(job));
    // Jobs that wait for a Redis that is away let others come, up to the bytes.
    let running = || gearmand.status()[FUNCTION].running;
    wait_until(
        PATIENCE,
        "as many jobs as there is room for",
        || match running() {
            running if running >= 15 => Ok(()),
            running => Err(running),
        },
    );
    wait_for_lines(&worker, "keeping the jobs", 2);
    let held = running();
    assert!((15..=20).contains(&held), "{held}");
    redis.thaw();
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    assert_eq!(redis.get("199").map(|name| name.len()), Some(BYTES));
}

/// Redis reads no value above its own limit, and closes the connection over it.
#[test]
fn a_job_that_redis_cannot_read_fails_alone() {
    let options = ["--proto-max-bulk-len", "1048576"].map(str::to_owned);
    let (gearmand, redis) = (Gearmand::start(), Redis::start_with(options.to_vec(), ""));
    let mut worker = RedisWorker::start_with(Language::Rust, &gearmand, &redis, &[]);
    let poison = format!(r#"{{"id":1,"name":"{}"}}"#, "x".repeat(2 << 20));
    let good = |n| format!(r#"{{"id":{n},"name":"sm"}}"#);
    Submitter::to(&gearmand).submit(FUNCTION, [good(0), poison, good(2), good(1)]);
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    for key in ["0", "1", "2"] {
        assert_eq!(redis.get(key).as_deref(), Some("sm"), "{key}");
    }
    worker.stop();
    assert_eq!(statistic(&worker, "failed"), 1.0);
}
