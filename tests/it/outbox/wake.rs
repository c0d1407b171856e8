//! A commit wakes the relay, if the plugin that knows of commits is there.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable;

use super::{Outbox, outbox_and_gearmand, texts};
use crate::support::{Gearmand, RecordingWorker, product_file, unsupported};

/// Without a wake the relay looks after 500 ms.
const UNDOUBTEDLY_WOKEN: Duration = Duration::from_millis(100);

/// Or why this server tells nobody of commits.
fn woken_outbox() -> mysql::Result<(Outbox, Gearmand)> {
    let (outbox, gearmand) = outbox_and_gearmand();
    let install = "INSTALL PLUGIN gman_commit SONAME 'libgearman_mysql_udf.so'";
    outbox.database.connect().query_drop(install)?;
    outbox
        .database
        .run_script(&product_file("sql/outbox-wake.sql"));
    Ok((outbox, gearmand))
}

#[test]
fn a_commit_wakes_the_relay() {
    let (mut outbox, gearmand) = match woken_outbox() {
        Ok(started) => started,
        Err(error) => unsupported!("the plugin gman_commit: {error}"),
    };
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.create_table(1);
    let mut times = Vec::new();
    for number in 1..=21 {
        // The relay has nothing to do by then, and waits.
        outbox.drain();
        std::thread::sleep(Duration::from_millis(100));
        outbox.execute("BEGIN");
        outbox.execute("UPDATE t SET n = n + 1");
        let committed = Instant::now();
        outbox.execute("COMMIT");
        worker.wait_for(number);
        times.push(committed.elapsed());
    }
    times.sort();
    println!("from COMMIT to the worker: {times:?}");
    assert!(times[10] < UNDOUBTEDLY_WOKEN, "{times:?}");
}

#[test]
fn every_way_to_commit_wakes_it_and_none_sends_what_was_rolled_back() {
    let (mut outbox, gearmand) = match woken_outbox() {
        Ok(started) => started,
        Err(error) => unsupported!("the plugin gman_commit: {error}"),
    };
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let insert = |workload: &str| {
        format!("INSERT INTO gman_outbox (`function`, workload) VALUES ('f', '{workload}')")
    };
    outbox.execute(&insert("autocommit"));
    worker.wait_for(1);
    for sql in [
        "BEGIN",
        &insert("never"),
        "ROLLBACK",
        "BEGIN",
        &insert("before"),
        "SAVEPOINT s",
        &insert("never"),
        "ROLLBACK TO s",
        &insert("after"),
        "COMMIT",
        "SET autocommit = 0",
        &insert("implicit"),
        "CREATE TABLE other (id INT)",
        "SET autocommit = 1",
        "XA START 'x'",
        &insert("xa"),
        "XA END 'x'",
        "XA PREPARE 'x'",
        "XA COMMIT 'x'",
    ] {
        outbox.execute(sql);
    }
    outbox.drain();
    let expected = ["autocommit", "before", "after", "implicit", "xa"];
    assert_eq!(texts(&worker.wait_for(5)), expected);
}

#[test]
fn without_the_plugin_the_relay_looks_for_itself() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    outbox
        .database
        .run_script(&product_file("sql/outbox-wake.sql"));
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.execute("INSERT INTO gman_outbox (`function`, workload) VALUES ('f', '1')");
    assert_eq!(texts(&worker.wait_for(1)), ["1"]);
}
