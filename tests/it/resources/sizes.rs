//! Workloads as large as a server can have, and bounds of ours at both ends of their ranges.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable;

use super::deliveries;
use crate::support::{
    Database, FILE_NAME, Gearmand, Gman, RecordingWorker, scale, unsupported, wait_until,
};

const PATIENCE: Duration = Duration::from_secs(120);

/// The smallest and the largest value of `gman_window_bytes` and `gman_transaction_bytes`.
const ENDS: [u64; 2] = [64 << 10, 64 << 30];

/// A server that takes packets of 1 GiB, with the library as it is shipped: the one for tests takes a minute to
/// copy so much. `None` if the server has no settings of ours.
fn roomy() -> Option<Gman> {
    let mut gman = Gman::start_on(Database::builder().option("--max-allowed-packet=1G"));
    let install = format!("INSTALL PLUGIN gman SONAME '{FILE_NAME}'");
    gman.session.query_drop(install).ok()?;
    for setting in [
        "gman_on_failure = 'error'",
        "gman_timeout_ms = 60000",
        "gman_do_timeout_ms = 60000",
        "gman_transaction_bytes = 4294967296",
    ] {
        gman.execute(&format!("SET GLOBAL {setting}"));
    }
    Some(gman)
}

/// `GMAN_TEST_WORKLOAD_MIB=1024` is the largest that a server can have.
#[test]
fn a_large_workload_arrives_in_each_delivery() {
    let bytes = u64::from(scale("GMAN_TEST_WORKLOAD_MIB", 64)) << 20;
    let gearmand = Gearmand::start();
    let Some(mut gman) = roomy() else {
        unsupported!("the server cannot have the plugin gman");
    };
    gman.set_servers(&gearmand.address());
    let calls = deliveries(&mut gman).into_iter().map(|delivery| {
        let call = format!("gman_do_background('f', REPEAT('x', {bytes}))");
        (delivery, call)
    });
    let relay = format!("gman_relay(1, 'f', REPEAT('x', {bytes}))");
    let all: Vec<(&str, String)> = calls.chain([("acked", relay)]).collect();
    for (delivery, call) in all {
        gman.execute(&format!("SET GLOBAL gman_delivery = '{delivery}'"));
        let began = Instant::now();
        gman.call(&call).text();
        let called = began.elapsed();
        assert_eq!(gman.call("gman_flush(60000)").text(), "0", "{delivery}");
        println!(
            "{delivery}, {bytes} bytes: {called:?}, delivered after {:?}",
            began.elapsed()
        );
        let worker = RecordingWorker::start(gearmand.port(), &["f"]);
        let workload = worker.wait_for(1).remove(0).workload;
        assert_eq!(workload.len() as u64, bytes, "{delivery}");
        assert!(workload.iter().all(|&byte| byte == b'x'));
    }
}

#[test]
fn what_is_larger_than_any_workload_is_an_error_of_its_statement() {
    let gearmand = Gearmand::start();
    let Some(mut gman) = roomy() else {
        unsupported!("the server cannot have the plugin gman");
    };
    gman.set_servers(&gearmand.address());
    // Only what a function makes of its arguments can be so long.
    let quotes = "gman_do_background('f', json_object_udf(REPEAT('\"', 600000000) AS a))";
    let error = gman.call(quotes).error();
    assert!(error.contains("longer than 1073741824 bytes"), "{error}");
    gman.call("gman_do_background('f', 'w')").text();
}

#[test]
fn the_smallest_and_the_largest_bounds_keep_every_job_and_its_order() {
    const ROUNDS: u32 = 50;
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let mut gman = Gman::with_switches();
    gman.set("gman_on_failure", "error");
    gman.set("gman_timeout_ms", 30_000);
    gman.set_servers(&gearmand.address());
    let deliveries = deliveries(&mut gman);
    let mut expected = Vec::new();
    for window in ENDS {
        for transaction in ENDS {
            gman.set("gman_window_bytes", window);
            gman.set("gman_transaction_bytes", transaction);
            let before = gman.database.rss_bytes();
            for delivery in &deliveries {
                gman.set("gman_delivery", delivery);
                for round in 0..ROUNDS {
                    // Some are larger than the smallest window; none is than the smallest transaction.
                    let bytes = match (round % 10, *delivery) {
                        (9, "committed") => 60_000,
                        (9, _) => 200_000,
                        (small, _) => small,
                    };
                    gman.call(&format!(
                        "gman_do_background('f', RPAD({round}, {bytes}, 'x'))"
                    ))
                    .text();
                    expected.push(bytes as usize);
                }
                assert_eq!(gman.call("gman_flush(30000)").text(), "0");
            }
            let grown = gman.database.rss_bytes().saturating_sub(before);
            assert!(grown < 32 << 20, "{window}, {transaction}: {grown} bytes");
        }
    }
    let arrived = wait_until(PATIENCE, "every job to arrive", || match worker.jobs() {
        jobs if jobs.len() == expected.len() => Ok(jobs),
        jobs => Err(jobs.len()),
    });
    let lengths: Vec<usize> = arrived.iter().map(|job| job.workload.len()).collect();
    assert_eq!(lengths, expected);
}
