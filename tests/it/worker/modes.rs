//! What jobs do to Redis.

use std::collections::BTreeMap;
use std::process::Command;

use super::{run_job, start, statistic, wait_for_lines};
use crate::support::{FUNCTION, Gearmand, ROW_FUNCTION, Redis, Submitter, gman_program, run};

fn hash(fields: &[(&str, &str)]) -> BTreeMap<String, String> {
    fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn set_puts_the_name_under_the_prefix_and_the_id() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let _worker = start(&gearmand, &redis, &["--prefix=shop:"]);
    run_job(&gearmand, FUNCTION, r#"{"id":1,"name":"sm"}"#);
    assert_eq!(redis.get("shop:1").as_deref(), Some("sm"));
    run_job(&gearmand, FUNCTION, r#"{"id":1,"name":null}"#);
    assert_eq!(redis.get("shop:1"), None);
}

#[test]
fn hash_writes_every_member_and_removes_those_that_are_null() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let _worker = start(&gearmand, &redis, &["--mode=hash", "--prefix=h:"]);
    run_job(&gearmand, FUNCTION, r#"{"id":1,"name":"sm","price":12.50}"#);
    run_job(&gearmand, FUNCTION, r#"{"id":1,"name":null,"stock":3}"#);
    let expected = hash(&[("id", "1"), ("price", "12.50"), ("stock", "3")]);
    assert_eq!(redis.hash("h:1"), expected);
}

#[test]
fn delete_removes_the_key() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    redis.set("1", "cached");
    let _worker = start(&gearmand, &redis, &["--mode=delete"]);
    run_job(&gearmand, FUNCTION, r#"{"id":1}"#);
    assert_eq!(redis.get("1"), None);
}

#[test]
fn a_keyed_row_replaces_the_whole_hash_and_null_deletes_it() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let _worker = start(&gearmand, &redis, &["--prefix=p:"]);
    let row = r#"{"key":"test:1","row":{"id":1,"name":"x","dropped":true}}"#;
    run_job(&gearmand, ROW_FUNCTION, row);
    let row = r#"{"key":"test:1","row":{"id":1,"name":"ä"}}"#;
    run_job(&gearmand, ROW_FUNCTION, row);
    assert_eq!(redis.hash("p:test:1"), hash(&[("id", "1"), ("name", "ä")]));
    run_job(&gearmand, ROW_FUNCTION, r#"{"key":"test:1","row":null}"#);
    assert_eq!(redis.hash("p:test:1"), hash(&[]));
}

#[test]
fn a_keyed_row_takes_the_place_of_a_key_of_any_type() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    redis.set("test:1", "a string");
    let _worker = start(&gearmand, &redis, &[]);
    run_job(
        &gearmand,
        ROW_FUNCTION,
        r#"{"key":"test:1","row":{"id":1}}"#,
    );
    assert_eq!(redis.hash("test:1"), hash(&[("id", "1")]));
}

#[test]
fn a_row_that_is_older_than_what_redis_has_is_left_out() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let mut worker = start(&gearmand, &redis, &["--version-field=v"]);
    let row = |version, name: &str| {
        let row = format!(r#"{{"key":"t:1","row":{{"name":"{name}","v":{version}}}}}"#);
        run_job(&gearmand, ROW_FUNCTION, &row);
    };
    let name = || redis.hash("t:1").remove("name");
    row(7, "new");
    row(6, "old");
    assert_eq!(name().as_deref(), Some("new"));
    run_job(&gearmand, ROW_FUNCTION, r#"{"key":"t:1","row":null,"v":6}"#);
    assert_eq!(name().as_deref(), Some("new"));
    run_job(&gearmand, ROW_FUNCTION, r#"{"key":"t:1","row":null,"v":8}"#);
    row(7, "late");
    assert_eq!(name(), None);
    worker.stop();
    assert_eq!(statistic(&worker, "left_out"), 3.0);
}

#[test]
fn a_key_of_another_type_fails_its_job_and_not_the_others() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    redis.set("1", "a string");
    let mut worker = start(&gearmand, &redis, &["--mode=hash", "--version-field=v"]);
    run_job(&gearmand, FUNCTION, r#"{"id":1,"name":"sm","v":1}"#);
    wait_for_lines(&worker, "the key 1 holds another type", 1);
    run_job(&gearmand, FUNCTION, r#"{"id":2,"name":"sm","v":1}"#);
    assert_eq!(redis.hash("2")["name"], "sm");
    worker.stop();
    assert_eq!(statistic(&worker, "failed"), 1.0);
    assert_eq!(statistic(&worker, "done"), 1.0);
}

#[test]
fn the_functions_can_be_named_and_left_out() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    // The helper waits for either of the usual names.
    let names = ["--function=", "--row-function=syncRowToRedis"];
    let _worker = start(&gearmand, &redis, &names);
    let status = gearmand.status();
    assert_eq!(status[ROW_FUNCTION].workers, 1);
    assert!(!status.contains_key(FUNCTION), "{status:?}");
}

#[test]
fn every_option_has_an_environment_variable() {
    let help = run(Command::new(gman_program()).args(["worker", "--help"]));
    let options = help.matches("\n      --").count();
    let variables = help.matches("[env: ").count();
    assert!(options > 10, "{help}");
    assert_eq!(variables, options, "{help}");
}

#[test]
fn no_reader_sees_half_a_row() {
    const ROWS: u32 = 5_000;
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let _worker = start(&gearmand, &redis, &[]);
    let names = |n: u32| {
        if n.is_multiple_of(2) {
            ["a", "b"]
        } else {
            ["c", "d"]
        }
    };
    let rows = (1..=ROWS).map(|n| {
        let [one, other] = names(n);
        format!(r#"{{"key":"r","row":{{"{one}":{n},"{other}":{n}}}}}"#)
    });
    Submitter::to(&gearmand).submit(ROW_FUNCTION, rows.collect::<Vec<_>>());
    let (mut last, mut seen) = (0, 0);
    while last < ROWS {
        let found = redis.hash("r");
        let Some(n) = found.values().next() else {
            assert_eq!(last, 0, "the row was gone");
            continue;
        };
        let n: u32 = n.parse().expect("a number");
        let expected = names(n).map(|name| (name.to_owned(), n.to_string()));
        assert_eq!(found, expected.into());
        seen += u32::from(n > last);
        last = n;
    }
    assert!(seen > 1, "it was looked at {seen} times");
}
