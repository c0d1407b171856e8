//! What a cache is asked for: JSON, keys that expire, messages about changes, and keys that lead to others.

use std::collections::BTreeSet;

use redis::Commands;

use super::{PATIENCE, run_job, start, start_for, wait_for_an_empty_queue, wait_for_lines};
use crate::support::{
    FUNCTION, Gearmand, ROW_FUNCTION, Redis, RedisCluster, Submitter, wait_until,
};

#[test]
fn a_row_can_be_one_json_text() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let _worker = start(&gearmand, &redis, &["--mode=json"]);
    let row = r#"{"id":1,"name":null,"price":12.50}"#;
    run_job(&gearmand, FUNCTION, row);
    assert_eq!(redis.get("1").as_deref(), Some(row));
    run_job(
        &gearmand,
        ROW_FUNCTION,
        &format!(r#"{{"key":"t:1","row":{row}}}"#),
    );
    assert_eq!(redis.get("t:1").as_deref(), Some(row));
    run_job(&gearmand, ROW_FUNCTION, r#"{"key":"t:1","row":null}"#);
    assert_eq!(redis.get("t:1"), None);
}

/// No Debian has the module: HSET stands in for its command, which makes the path `$` a field.
#[test]
fn a_row_can_be_a_document_where_redis_has_the_module() {
    let options = ["--rename-command", "HSET", "JSON.SET"].map(str::to_owned);
    let gearmand = Gearmand::start();
    let mut redis = Redis::start_with(options.to_vec(), "");
    let row = r#"{"id":1,"name":null}"#;
    let job = format!(r#"{{"key":"t:1","row":{row}}}"#);
    {
        let _worker = start(&gearmand, &redis, &["--mode=redis-json"]);
        run_job(&gearmand, ROW_FUNCTION, &job);
        assert_eq!(redis.hash("t:1")["$"], row);
    }
    let without = Redis::start();
    let worker = start(&gearmand, &without, &["--mode=redis-json"]);
    Submitter::to(&gearmand).submit(ROW_FUNCTION, [job]);
    wait_for_lines(&worker, "keeping the jobs", 1);
    assert!(
        worker.log().contains("JSON.SET") || worker.log().contains("nknown"),
        "{}",
        worker.log()
    );
    redis.stop();
}

#[test]
fn keys_expire_within_the_last_tenth_of_their_time_and_deletes_need_none() {
    for (mode, function) in [
        ("set", FUNCTION),
        ("hash", FUNCTION),
        ("json", ROW_FUNCTION),
        ("set", ROW_FUNCTION),
    ] {
        let (gearmand, redis) = (Gearmand::start(), Redis::start());
        let _worker = start(
            &gearmand,
            &redis,
            &[&format!("--mode={mode}"), "--expire=1000"],
        );
        let job = |n: u32| match function {
            FUNCTION => format!(r#"{{"id":{n},"name":"sm"}}"#),
            _ => format!(r#"{{"key":"{n}","row":{{"id":{n}}}}}"#),
        };
        Submitter::to(&gearmand).submit(function, (0..50).map(job));
        wait_for_an_empty_queue(&gearmand, function);
        let mut connection = redis.connect();
        let times: BTreeSet<i64> = (0..50).map(|n| connection.pttl(n).expect("PTTL")).collect();
        // The machine may be busy, but not for minutes.
        assert!(
            times.iter().all(|ms| (800_000..=1_000_000).contains(ms)),
            "{times:?}"
        );
        assert!(
            times.last().expect("times") - times.first().expect("times") > 20_000,
            "{times:?}"
        );
    }
}

#[test]
fn the_key_of_every_row_that_has_changed_is_published() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let _worker = start(
        &gearmand,
        &redis,
        &["--publish=changes", "--prefix=p:", "--version-field=v"],
    );
    let mut connection = redis.connect();
    let mut messages = connection.as_pubsub();
    messages.subscribe("changes").expect("SUBSCRIBE");
    messages
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout");
    let mut next = || -> String {
        let message = messages.get_message().expect("a message");
        message.get_payload().expect("a text")
    };
    run_job(&gearmand, ROW_FUNCTION, r#"{"key":"t:1","row":{"v":2}}"#);
    // Redis has a newer one: nothing changes.
    run_job(&gearmand, ROW_FUNCTION, r#"{"key":"t:1","row":{"v":1}}"#);
    run_job(&gearmand, ROW_FUNCTION, r#"{"key":"t:2","row":null}"#);
    run_job(&gearmand, FUNCTION, r#"{"id":3,"name":"sm","v":1}"#);
    assert_eq!([next(), next(), next()], ["p:t:1", "p:t:2", "p:3"]);
}

#[test]
fn lookup_keys_follow_the_row_on_one_redis_and_on_a_cluster() {
    let redis = Redis::start();
    follow(&redis.address(), |key| redis.get(key));
    let cluster = RedisCluster::start();
    follow(&cluster.url(), |key| {
        cluster.connect().get(key).expect("GET")
    });
}

fn follow(url: &str, get: impl Fn(&str) -> Option<String>) {
    let gearmand = Gearmand::start();
    let _worker = start_for(&gearmand, url, &["--prefix=p:"]);
    let job = |row: &str, lookups: &str, before: &str| {
        let job = format!(
            r#"{{"key":"u:1","row":{row},"lookups":[{lookups}],"old_lookups":[{before}]}}"#
        );
        run_job(&gearmand, ROW_FUNCTION, &job);
    };
    job(r#"{"mail":"a"}"#, r#""u:mail:a",null"#, "");
    assert_eq!(get("p:u:mail:a").as_deref(), Some("p:u:1"));
    job(
        r#"{"mail":"b"}"#,
        r#""u:mail:b",null"#,
        r#""u:mail:a",null"#,
    );
    assert_eq!(
        (get("p:u:mail:a"), get("p:u:mail:b").as_deref()),
        (None, Some("p:u:1"))
    );
    // Another row has it meanwhile.
    run_job(
        &gearmand,
        ROW_FUNCTION,
        r#"{"key":"u:2","row":{"mail":"b"},"lookups":["u:mail:b"]}"#,
    );
    job("null", "", r#""u:mail:b""#);
    assert_eq!(get("p:u:mail:b").as_deref(), Some("p:u:2"));
}

#[test]
fn a_row_that_is_left_out_moves_no_lookup_key() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let _worker = start(&gearmand, &redis, &["--version-field=v"]);
    let job = |version, mail| {
        let job = format!(
            r#"{{"key":"u:1","row":{{"v":{version}}},"lookups":["u:mail:{mail}"],"old_lookups":[]}}"#
        );
        run_job(&gearmand, ROW_FUNCTION, &job);
    };
    job(2, "new");
    job(1, "old");
    wait_until(PATIENCE, "the newer lookup key", || {
        match redis.get("u:mail:new") {
            Some(_) => Ok(()),
            None => Err(()),
        }
    });
    assert_eq!(redis.get("u:mail:old"), None);
}
