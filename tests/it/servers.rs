//! The support code itself: real servers start, answer, come back and go.

use std::panic;
use std::process::Command;
use std::time::Duration;

use crate::support::{Database, Gearmand, RecordingWorker, Redis, wait_until};

#[test]
fn a_database_keeps_its_data_over_a_restart_and_a_crash() {
    let mut database = Database::builder().option("--max-connections=17").start();
    assert_eq!(database.value::<u32>("SELECT @@max_connections"), 17);

    database.execute("CREATE TABLE kept (id INT PRIMARY KEY) ENGINE=InnoDB");
    database.execute("INSERT INTO kept VALUES (1)");
    database.restart();
    database.execute("INSERT INTO kept VALUES (2)");
    database.kill();
    database.restart();

    assert_eq!(
        database.query::<u32>("SELECT id FROM kept ORDER BY id"),
        [1, 2]
    );
    assert!(database.rss_bytes() > 0);
    assert!(database.error_log().contains("ready for connections"));
}

#[test]
fn a_server_that_does_not_start_shows_its_log() {
    let failed = panic::catch_unwind(|| Database::builder().option("--no-such-option=1").start());
    let message = failed.expect_err("the server refuses the option");
    let message = message
        .downcast_ref::<String>()
        .expect("a formatted message");
    let program = message.split(" ended (").next();
    assert!(matches!(program, Some("mariadbd" | "mysqld")), "{message}");
    assert!(message.contains("no-such-option"), "{message}");
}

#[test]
fn a_job_reaches_a_worker_and_gearmand_reports_it() {
    let gearmand = Gearmand::start();
    let submitted = Command::new("gearman")
        .args(["-h", "127.0.0.1", "-p", &gearmand.port().to_string()])
        .args(["-f", "reverse", "-u", "my-unique", "-b", "abcdef"])
        .output()
        .expect("gearman of the package gearman-tools");
    assert!(submitted.status.success(), "{submitted:?}");
    assert_eq!(gearmand.status()["reverse"].queued, 1);

    let worker = RecordingWorker::start(gearmand.port(), &["reverse"]);
    let jobs = worker.wait_for(1);
    assert_eq!(jobs[0].function, "reverse");
    assert_eq!(jobs[0].workload, b"abcdef");
    assert!(jobs[0].handle.starts_with("H:"), "{}", jobs[0].handle);
    wait_until(Duration::from_secs(5), "gearmand to forget the job", || {
        let queued = gearmand.status()["reverse"].queued;
        if queued == 0 { Ok(()) } else { Err(queued) }
    });
    assert_eq!(gearmand.open_sockets(), 1);
    drop(worker);
    wait_until(
        Duration::from_secs(5),
        "the worker's socket to go",
        || match gearmand.open_sockets() {
            0 => Ok(()),
            open => Err(open),
        },
    );
}

#[test]
fn gearmand_comes_back_on_its_port() {
    let mut gearmand = Gearmand::start();
    let port = gearmand.port();
    gearmand.kill();
    gearmand.restart();
    assert_eq!(gearmand.port(), port);
    assert!(gearmand.status().is_empty());
}

#[test]
fn redis_keeps_its_data_over_a_restart() {
    let mut redis = Redis::start();
    redis.set("1", "test1");
    redis.stop();
    redis.restart();
    assert_eq!(redis.get("1").as_deref(), Some("test1"));
    assert_eq!(redis.get("2"), None);
}
