//! `gman_commit_wait`: COMMIT returns when gearmand has the jobs of its transaction.

use std::thread;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;

use super::{Stage, run};
use crate::support::{unsupported, wait_until};

/// A MariaDB tells of durable commits only with a binary log.
const BINARY_LOG: [&str; 2] = ["--log-bin=log", "--server-id=1"];

/// How long a commit waits in vain.
const TIMEOUT: Duration = Duration::from_secs(5);

/// More than any commit takes that does not wait in vain, on a busy machine too.
const SOON: Duration = Duration::from_secs(4);

const TURN_ON: &str = "SET GLOBAL gman_commit_wait = ON";

/// What a server says that cannot have it.
const REFUSED: &str = "gman_commit_wait: this server calls no plugin between";

impl Stage {
    /// One whose commits wait; or why the server cannot have that.
    fn waiting() -> Result<Self, String> {
        let stage = Self::start(&BINARY_LOG)?;
        let timeout = TIMEOUT.as_millis();
        let set = format!("SET GLOBAL gman_timeout_ms = {timeout}");
        stage.database.execute(&set);
        match stage.session().query_drop(TURN_ON) {
            Ok(()) => Ok(stage),
            Err(error) if error.to_string().contains(REFUSED) => Err(error.to_string()),
            Err(error) => panic!("{TURN_ON}: {error}"),
        }
    }

    /// How many jobs gearmand has not acknowledged yet.
    fn in_flight(&self) -> u64 {
        self.status("gman_in_flight")
    }
}

macro_rules! waiting_stage {
    () => {
        match Stage::waiting() {
            Ok(stage) => stage,
            Err(reason) => unsupported!("{reason}"),
        }
    };
}

#[test]
fn gearmand_has_every_job_when_a_commit_returns() {
    let stage = waiting_stage!();
    let mut session = stage.session();
    let rows: Vec<String> = (1..=5_000).map(|id| format!("({id}, 0)")).collect();
    let insert = format!("INSERT INTO t VALUES {}", rows.join(","));
    for statements in [
        &[insert.as_str()][..],
        &[
            "BEGIN",
            "UPDATE t SET v = 1",
            "UPDATE t SET v = 2",
            "COMMIT",
        ],
        &[
            "SET autocommit = 0",
            "UPDATE t SET v = 3",
            "COMMIT",
            "SET autocommit = 1",
        ],
        &[
            "XA START 'x'",
            "UPDATE t SET v = 4",
            "XA END 'x'",
            "XA COMMIT 'x' ONE PHASE",
        ],
    ] {
        run(&mut session, statements);
        assert_eq!(stage.in_flight(), 0, "of {} statements", statements.len());
    }
    let update = session.prep("UPDATE t SET v = 5 WHERE id <= ?").unwrap();
    session.exec_drop(&update, (5_000,)).expect("an UPDATE");
    assert_eq!(stage.in_flight(), 0, "a prepared statement");
    assert_eq!(stage.status("gman_commit_waits_failed"), 0);
    assert_eq!(stage.arrived().len(), 6 * 5_000);
}

#[test]
fn a_commit_stands_that_waited_in_vain_and_the_next_does_not_wait() {
    let mut stage = waiting_stage!();
    let mut session = stage.session();
    run(&mut session, &["INSERT INTO t VALUES (1, 0)"]);
    stage.gearmand.stop();
    let began = Instant::now();
    run(&mut session, &["UPDATE t SET v = 1"]);
    assert!(began.elapsed() >= TIMEOUT, "{:?}", began.elapsed());
    assert!(began.elapsed() < TIMEOUT + SOON, "{:?}", began.elapsed());
    let began = Instant::now();
    run(&mut session, &["UPDATE t SET v = 2"]);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!(stage.status("gman_commit_waits_failed"), 2);
    let error: Vec<(String, String)> = stage
        .database
        .query("SHOW GLOBAL STATUS LIKE 'gman_last_error'");
    assert!(error[0].1.contains("COMMIT returned before"), "{error:?}");

    stage.gearmand.cont();
    assert_eq!(stage.arrived(), ["i1:0", "u1:1", "u1:2"]);
    stage.gearmand.kill();
    run(&mut session, &["UPDATE t SET v = 3"]);
    assert_eq!(stage.status("gman_commit_waits_failed"), 3);
    let v: i32 = stage.database.value("SELECT v FROM t");
    assert_eq!(v, 3);
}

#[test]
fn a_commit_that_waits_holds_no_row_and_ends_when_it_is_killed() {
    let stage = waiting_stage!();
    let mut session = stage.session();
    run(
        &mut session,
        &[
            "INSERT INTO t VALUES (1, 0)",
            "SET GLOBAL gman_timeout_ms = 60000",
        ],
    );
    let id: u64 = session
        .query_first("SELECT CONNECTION_ID()")
        .unwrap()
        .unwrap();
    stage.gearmand.stop();
    let began = Instant::now();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            // The server may tell the client that it was killed; the commit stands.
            let _ = session.query_drop("UPDATE t SET v = 1");
            began.elapsed()
        });
        let mut other = stage.session();
        run(&mut other, &["SET innodb_lock_wait_timeout = 1"]);
        wait_until(Duration::from_secs(10), "the change to be seen", || {
            let seen: mysql::Result<Option<i32>> =
                other.query_first("SELECT v FROM t WHERE id = 1 FOR UPDATE");
            match seen {
                Ok(Some(1)) => Ok(()),
                seen => Err(format!("{seen:?}")),
            }
        });
        assert!(!waiting.is_finished(), "the commit waits");
        run(&mut other, &[&format!("KILL QUERY {id}")]);
        let took = waiting.join().unwrap();
        assert!(took < Duration::from_secs(20), "{took:?}");
    });
    assert_eq!(stage.status("gman_commit_waits_failed"), 1);
    stage.gearmand.cont();
    assert_eq!(stage.arrived(), ["i1:0", "u1:1"]);
}

#[test]
fn a_shutdown_ends_a_commit_that_waits_and_the_commit_stands() {
    let mut stage = waiting_stage!();
    let mut session = stage.session();
    run(
        &mut session,
        &[
            "INSERT INTO t VALUES (1, 0)",
            "SET GLOBAL gman_timeout_ms = 60000",
        ],
    );
    stage.gearmand.stop();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| session.query_drop("UPDATE t SET v = 1"));
        let database = &stage.database;
        wait_until(
            Duration::from_secs(10),
            "the change to be seen",
            || match database.value::<i32>("SELECT v FROM t") {
                1 => Ok(()),
                v => Err(v),
            },
        );
        assert!(!waiting.is_finished(), "the commit waits");
        database.execute("SET GLOBAL gman_timeout_ms = 1000");
        let began = Instant::now();
        stage.database.shutdown();
        let took = began.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?}");
        // Whatever the client is told.
        let _ = waiting.join().expect("a session");
    });
    let log = stage.database.error_log();
    assert!(
        log.contains("no job server has taken these jobs: 1 for f"),
        "{log}"
    );
    stage.gearmand.cont();
    stage.database.restart();
    assert_eq!(stage.database.value::<i32>("SELECT v FROM t"), 1);
}

/// FLUSH TABLES WITH READ LOCK waits for the commits that have begun, and those of others for it.
#[test]
fn a_lock_on_all_tables_waits_for_a_commit_no_longer_than_that_waits() {
    let stage = waiting_stage!();
    let mut session = stage.session();
    run(&mut session, &["INSERT INTO t VALUES (1, 0), (2, 0)"]);
    for lock in [
        &["FLUSH TABLES WITH READ LOCK", "UNLOCK TABLES"][..],
        &[
            "BACKUP STAGE START",
            "BACKUP STAGE BLOCK_COMMIT",
            "BACKUP STAGE END",
        ],
    ] {
        stage.gearmand.stop();
        let began = Instant::now();
        thread::scope(|scope| {
            let waiting =
                scope.spawn(|| run(&mut session, &["UPDATE t SET v = v + 1 WHERE id = 1"]));
            let mut other = stage.session();
            wait_until(
                Duration::from_secs(10),
                "the commit to wait",
                || match stage.in_flight() {
                    1 => Ok(()),
                    jobs => Err(jobs),
                },
            );
            run(&mut other, lock);
            println!("{lock:?}: {:?}", began.elapsed());
            waiting.join().expect("a session");
        });
        assert!(
            began.elapsed() < TIMEOUT + SOON,
            "{lock:?}: {:?}",
            began.elapsed()
        );
        stage.gearmand.cont();
        stage.arrived();
    }
    assert_eq!(stage.arrived(), ["i1:0", "i2:0", "u1:1", "u1:2"]);
}

#[test]
fn a_server_that_does_not_tell_of_durable_commits_refuses() {
    let stage = match Stage::start(&["--skip-log-bin"]) {
        Ok(stage) => stage,
        Err(reason) => unsupported!("{reason}"),
    };
    let refused = stage.session().query_drop(TURN_ON).expect_err("refused");
    assert!(refused.to_string().contains(REFUSED), "{refused}");
    let mut session = stage.session();
    run(&mut session, &["INSERT INTO t VALUES (1, 0)"]);
    assert_eq!(stage.arrived(), ["i1:0"]);
}
