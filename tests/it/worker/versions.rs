//! Changes that come late, behind newer ones.

use redis::Commands;

use super::{run_job, start};
use crate::support::{FUNCTION, Gearmand, ROW_FUNCTION, Redis};

const OPTION: &str = "--version-field=v";

fn row(gearmand: &Gearmand, key: &str, version: u64, name: &str) {
    let row = format!(r#"{{"key":"{key}","row":{{"name":"{name}","v":{version}}}}}"#);
    run_job(gearmand, ROW_FUNCTION, &row);
}

/// Takes away what a Redis that is full may take away: each key by itself.
fn evict(redis: &Redis, which: impl Fn(&[u8]) -> bool) {
    let mut connection = redis.connect();
    let keys: Vec<Vec<u8>> = connection.keys("*").expect("the keys");
    let gone: Vec<_> = keys.into_iter().filter(|key| which(key)).collect();
    assert!(!gone.is_empty(), "nothing to evict");
    let count: usize = connection.del(gone.clone()).expect("DEL");
    assert_eq!(count, gone.len());
}

#[test]
fn versions_are_whole_numbers_of_64_bits() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let _worker = start(&gearmand, &redis, &[OPTION]);
    for newer in [9_007_199_254_740_993, 10_000_000_000_000_000_000, u64::MAX] {
        let key = newer.to_string();
        row(&gearmand, &key, newer, "new");
        row(&gearmand, &key, newer - 1, "old");
        assert_eq!(redis.hash(&key)["name"], "new", "{newer}");
        let value = |version, name| format!(r#"{{"id":"s{key}","name":"{name}","v":{version}}}"#);
        run_job(&gearmand, FUNCTION, &value(newer, "new"));
        run_job(&gearmand, FUNCTION, &value(newer - 1, "old"));
        assert_eq!(redis.get(&format!("s{key}")).as_deref(), Some("new"));
    }
    row(&gearmand, "digits", 9, "nine");
    row(&gearmand, "digits", 10, "ten");
    assert_eq!(redis.hash("digits")["name"], "ten");
}

#[test]
fn no_key_of_a_row_is_where_the_version_of_another_is_kept() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let _worker = start(&gearmand, &redis, &[OPTION]);
    row(&gearmand, "users:1", 5, "first");
    row(&gearmand, "users:1:version", 9, "a row of its own");
    row(&gearmand, "users:1", 6, "second");
    assert_eq!(redis.hash("users:1")["name"], "second");
    assert_eq!(redis.hash("users:1:version")["name"], "a row of its own");
    let keys: Vec<Vec<u8>> = redis.connect().keys("*").expect("the keys");
    let others = keys.iter().filter(|key| std::str::from_utf8(key).is_ok());
    assert_eq!(others.count(), 2, "a row's key is UTF-8: {keys:?}");
}

#[test]
fn an_older_row_does_not_win_when_redis_evicts_a_key() {
    for (options, function) in [
        (vec![OPTION], ROW_FUNCTION),
        (vec![OPTION, "--mode=hash"], FUNCTION),
    ] {
        let (gearmand, redis) = (Gearmand::start(), Redis::start());
        let _worker = start(&gearmand, &redis, &options);
        let change = |version, name| {
            let row = format!(r#"{{"id":"t:1","name":"{name}","v":{version}}}"#);
            match function {
                FUNCTION => run_job(&gearmand, FUNCTION, &row),
                _ => self::row(&gearmand, "t:1", version, name),
            }
        };
        change(8, "new");
        evict(&redis, |key| key != b"t:1");
        change(7, "old");
        assert_eq!(redis.hash("t:1")["name"], "new", "{options:?}");

        change(9, "newer");
        evict(&redis, |key| key == b"t:1");
        change(8, "old");
        assert!(redis.hash("t:1").is_empty(), "{options:?}");
    }
}

#[test]
fn a_change_that_fails_leaves_no_version_behind() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    redis.set("1", "a string");
    let _worker = start(&gearmand, &redis, &["--mode=hash", OPTION]);
    run_job(&gearmand, FUNCTION, r#"{"id":1,"name":"sm","v":9}"#);
    let _: usize = redis.connect().del("1").expect("DEL");
    run_job(&gearmand, FUNCTION, r#"{"id":1,"name":"sm","v":8}"#);
    assert_eq!(redis.hash("1")["name"], "sm");
}
