//! Workloads as large as a server can have, and bounds of ours at both ends of their ranges.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable;

use super::deliveries;
use crate::outbox::Outbox;
use crate::support::{
    Database, FILE_NAME, Gearmand, Gman, RecordingWorker, RelayProcess, product_file, scale,
    unsupported, wait_until,
};

/// A workload of 1 GiB takes a minute on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// The smallest and the largest value of `gman_window_bytes` and `gman_transaction_bytes`.
const ENDS: [u64; 2] = [64 << 10, 64 << 30];

/// The largest packets that a server can have.
const ROOM: &str = "--max-allowed-packet=1G";

/// A server that takes packets of 1 GiB, with the library as it is shipped: the one for tests takes a minute to
/// copy so much. `None` if the server has no settings of ours.
fn roomy() -> Option<Gman> {
    let mut gman = Gman::start_on(Database::builder().option(ROOM));
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
fn large() -> u64 {
    u64::from(scale("GMAN_TEST_WORKLOAD_MIB", 64)) << 20
}

#[test]
fn a_large_workload_arrives_in_each_delivery() {
    let bytes = large();
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
        wait_until(PATIENCE, &format!("{delivery} to deliver"), || {
            match gman.call("gman_flush(60000)").text() {
                left if left == "0" => Ok(()),
                left => Err((left, last_error(&gman.database))),
            }
        });
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
fn a_large_row_of_the_outbox_is_submitted_or_set_aside_and_holds_up_no_other_function() {
    let gearmand = Gearmand::start();
    let mut outbox = Outbox::start_with(&[ROOM]);
    outbox.set_servers(&gearmand.address());
    goes_through(&outbox.database, &gearmand);
}

#[test]
fn a_large_row_is_submitted_or_set_aside_by_a_relay_outside_the_server() {
    let gearmand = Gearmand::start();
    let database = Database::builder().option(ROOM).start();
    database.run_script(&product_file("sql/outbox-plain.sql"));
    let relay = RelayProcess::between(&database, &gearmand);
    goes_through(&database, &gearmand);
    assert!(!relay.log().contains("panicked"), "{}", relay.log());
}

fn last_error(database: &Database) -> String {
    let row = database.query::<(String, String)>("SHOW GLOBAL STATUS LIKE 'gman_last_error'");
    row.into_iter().next().map_or_else(String::new, |row| row.1)
}

/// Writes a large row and a small one of another function. The small one arrives, and the large one does too or
/// is set aside with the reason.
fn goes_through(database: &Database, gearmand: &Gearmand) {
    let bytes = large();
    for (function, workload) in [
        ("large", format!("REPEAT('x', {bytes})")),
        ("small", "1".into()),
    ] {
        database.execute(&format!(
            "INSERT INTO gman_outbox (`function`, workload) VALUES ('{function}', {workload})"
        ));
    }
    let began = Instant::now();
    let (dead, error): (u64, Option<String>) =
        wait_until(PATIENCE, "the outbox to be empty", || {
            let status = database.query::<(u64, u64, Option<String>)>(
                "SELECT depth, dead, last_error FROM gman_outbox_status",
            );
            match status.into_iter().next().expect("a row") {
                (0, dead, error) => Ok((dead, error)),
                waiting => Err(waiting),
            }
        });
    let took = began.elapsed();
    println!("a row of {bytes} bytes: {dead} set aside after {took:?}: {error:?}");
    let worker = RecordingWorker::start(gearmand.port(), &["large", "small"]);
    let arrived = worker.wait_for(2 - dead as usize);
    let lengths = |function: &str| -> Vec<u64> {
        let ours = arrived.iter().filter(|job| job.function == function);
        ours.map(|job| job.workload.len() as u64).collect()
    };
    assert_eq!(lengths("small"), [1]);
    match dead {
        0 => assert_eq!(lengths("large"), [bytes]),
        _ => assert!(error.is_some_and(|error| !error.is_empty())),
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
