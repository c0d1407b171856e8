//! The changes of one key stay in their order.

use super::{ALL_IN_ORDER, count, start, submit_marks, wait_for_an_empty_queue};
use crate::support::{FUNCTION, Gearmand, ROW_FUNCTION, Redis, Submitter};

const JOBS: u32 = 10_000;

#[test]
fn many_threads_keep_the_order_of_each_key() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    submit_marks(&gearmand, "k", 0..JOBS);
    let _worker = start(&gearmand, &redis, &["--mode=hash", "--threads=8"]);
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    assert_eq!(count(&redis, "k", JOBS), ALL_IN_ORDER);
}

#[test]
fn an_update_and_the_delete_behind_it_stay_in_their_order() {
    const KEYS: u32 = 100;
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let _worker = start(&gearmand, &redis, &["--threads=4"]);
    // Every row is changed over and over; those with an even number are deleted in the end, the
    // others are deleted before and come back.
    let jobs = (0..JOBS).map(|n| {
        let key = n % KEYS;
        let row = match (n / KEYS + key) % 2 {
            0 => "null".to_owned(),
            _ => format!(r#"{{"n":{n}}}"#),
        };
        format!(r#"{{"key":"r{key}","row":{row}}}"#)
    });
    Submitter::to(&gearmand).submit(ROW_FUNCTION, jobs);
    wait_for_an_empty_queue(&gearmand, ROW_FUNCTION);
    for key in 0..KEYS {
        let last = JOBS - KEYS + key;
        let expected = match (last / KEYS + key) % 2 {
            0 => None,
            _ => Some(last.to_string()),
        };
        assert_eq!(redis.hash(&format!("r{key}")).remove("n"), expected);
    }
}

#[test]
fn one_job_at_a_time_is_enough() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    submit_marks(&gearmand, "k", 0..500);
    let _worker = start(&gearmand, &redis, &["--mode=hash", "--in-flight=1"]);
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    assert_eq!(count(&redis, "k", 500), ALL_IN_ORDER);
}
