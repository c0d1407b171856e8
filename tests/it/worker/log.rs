//! What the worker says: in plain words, each on one line of its own.

use super::{run_job, start, wait_for_lines};
use crate::support::{FUNCTION, Gearmand, Language, ROW_FUNCTION, Redis, RedisWorker, Submitter};

/// The longest line, with what stands before and behind what was cut.
const LINE_BYTES: usize = 1200;

#[test]
fn what_a_job_brings_stays_on_its_line_and_does_nothing_to_a_terminal() {
    for language in [Language::Rust, Language::Php] {
        stays_on_its_line(language);
    }
}

fn stays_on_its_line(language: Language) {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let worker = RedisWorker::start(language, &gearmand, &redis);
    let forged = "no json \u{1b}[31m\r\ngman worker: all is well\u{9b}\u{7}";
    run_job(&gearmand, FUNCTION, forged);
    let done = r#"{"id":"a\u001b","name":"1","more":"X"}"#.replace('X', "\u{7f}\u{9b}");
    run_job(&gearmand, FUNCTION, &done);
    wait_for_lines(&worker, "no json", 1);
    let log = worker.log();
    let harmful = |letter: char| letter.is_control() && letter != '\n';
    assert!(!log.contains(harmful), "{log:?}");
    assert!(
        !log.lines().any(|line| line == "gman worker: all is well"),
        "{log}"
    );
    assert!(log.contains("[31m\\r\\ngman worker: all is well"), "{log}");
}

#[test]
fn a_long_line_is_cut_and_says_how_much_is_missing() {
    for language in [Language::Rust, Language::Php] {
        is_cut(language);
    }
}

fn is_cut(language: Language) {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let worker = RedisWorker::start(language, &gearmand, &redis);
    run_job(&gearmand, FUNCTION, &"\u{1b}".repeat(100_000));
    run_job(
        &gearmand,
        FUNCTION,
        &format!(r#"{{"id":1,"name":"{}"}}"#, "ä".repeat(50_000)),
    );
    wait_for_lines(&worker, "more bytes", 2);
    for line in worker.log().lines() {
        assert!(line.len() <= LINE_BYTES, "{} bytes: {line}", line.len());
    }
}

/// `start` needs a password of Redis; what the worker says before any job has come.
fn said_to(redis_url: &str, expected: &str) -> (Gearmand, RedisWorker) {
    let gearmand = Gearmand::start();
    let options = [
        format!("--gearmand={}", gearmand.address()),
        format!("--redis={redis_url}"),
    ];
    let worker = RedisWorker::start_bare(&[&gearmand], &options);
    wait_for_lines(&worker, expected, 1);
    (gearmand, worker)
}

#[test]
fn a_password_that_is_missing_or_wrong_is_told_before_any_job() {
    let redis = Redis::start_with(Vec::new(), "secret");
    let address = redis.address();
    for (url, expected) in [
        (address.clone(), "wants a password"),
        (
            format!("redis://:mistake@{address}/"),
            "refuses the password",
        ),
        (
            format!("redis://ann:mistake@{address}/"),
            "refuses the password",
        ),
    ] {
        let (gearmand, worker) = said_to(&url, expected);
        // More words than Redis reads of somebody it does not know.
        let row = r#"{"key":"k","row":{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7}}"#;
        Submitter::to(&gearmand).submit(ROW_FUNCTION, [row.to_owned()]);
        wait_for_lines(&worker, "keeping the job", 1);
        let log = worker.log();
        for line in log.lines().filter(|line| line.contains("keeping the job")) {
            assert!(line.contains(expected), "{log}");
        }
        assert!(
            !log.contains("mistake") && !log.contains("multibulk"),
            "{log}"
        );
    }
    said_to(&format!("redis://:secret@{address}/"), "writing to Redis");
}

#[test]
fn a_row_that_takes_the_place_of_another_type_says_so() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    redis.set("test:1", "a string");
    let worker = start(&gearmand, &redis, &[]);
    for _ in 0..2 {
        run_job(
            &gearmand,
            ROW_FUNCTION,
            r#"{"key":"test:1","row":{"id":1}}"#,
        );
    }
    assert_eq!(redis.hash("test:1")["id"], "1");
    wait_for_lines(&worker, "the key test:1 held a string", 1);
    let log = worker.log();
    assert_eq!(log.matches("the key test:1 held").count(), 1, "{log}");
}
