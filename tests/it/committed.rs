//! Delivery at commit: a job leaves when its transaction has committed, and never if it does not.

mod faults;
mod lists;
mod waits;

use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, Row};

use crate::support::{Database, Gearmand, RecordingWorker, unsupported};

/// How long a test watches that nothing arrives: a job that leaves at once is there in a millisecond.
const QUIET: Duration = Duration::from_millis(100);

const SET_COMMITTED: &str = "SET GLOBAL gman_delivery = 'committed'";

/// A database in the mode `committed`, a job server, and a worker that records what arrives.
struct Stage {
    worker: RecordingWorker,
    gearmand: Gearmand,
    database: Database,
}

impl Stage {
    /// With a table `t` whose changes are jobs; or why the server cannot have that.
    fn start(options: &[&str]) -> Result<Self, String> {
        let mut builder = Database::builder().library();
        for option in options {
            builder = builder.option(*option);
        }
        let database = builder.start();
        database.install_functions();
        install_plugins(&database)?;
        let gearmand = Gearmand::start();
        let worker = RecordingWorker::start(gearmand.port(), &["f"]);
        let servers = gearmand.address();
        for sql in [
            &format!("SET GLOBAL gman_servers = '{servers}'"),
            "SET GLOBAL gman_on_failure = 'error'",
            SET_COMMITTED,
            "CREATE TABLE t (id INT PRIMARY KEY, v INT NOT NULL) ENGINE=InnoDB",
            "CREATE TRIGGER ins AFTER INSERT ON t FOR EACH ROW \
             SET @r = gman_do_background('f', CONCAT('i', NEW.id, ':', NEW.v))",
            "CREATE TRIGGER upd AFTER UPDATE ON t FOR EACH ROW \
             SET @r = gman_do_background('f', CONCAT('u', NEW.id, ':', NEW.v))",
        ] {
            database.execute(sql);
        }
        Ok(Self {
            worker,
            gearmand,
            database,
        })
    }

    /// Everything that arrives of what was committed so far, in order: a job of its own is the mark.
    fn arrived(&self) -> Vec<String> {
        let last = || {
            self.worker
                .jobs()
                .iter()
                .rposition(|job| job.workload == b"mark")
        };
        let before = last();
        let mut session = self.database.connect();
        session
            .query_drop("DO gman_do_background('f', 'mark')")
            .expect("a job outside a transaction");
        crate::support::wait_until(
            Duration::from_secs(60),
            "the mark to arrive",
            || match last() {
                now if now.is_some() && now != before => Ok(()),
                now => Err(now),
            },
        );
        let jobs = self.worker.jobs();
        jobs.iter()
            .filter(|job| job.workload != b"mark")
            .map(|job| String::from_utf8_lossy(&job.workload).into_owned())
            .collect()
    }

    fn session(&self) -> Conn {
        self.database.connect()
    }

    fn status(&self, name: &str) -> u64 {
        let rows: Vec<(String, u64)> = self
            .database
            .query(&format!("SHOW GLOBAL STATUS LIKE '{name}'"));
        rows[0].1
    }
}

/// Installs both plugins; or says why the server cannot have them.
pub(crate) fn install_plugins(database: &Database) -> Result<(), String> {
    let mut session = database.connect();
    for plugin in ["gman", "gman_commit"] {
        let sql = format!("INSTALL PLUGIN {plugin} SONAME 'libgearman_mysql_udf.so'");
        match session.query_drop(&sql) {
            Ok(()) => {}
            Err(mysql::Error::MySqlError(error))
                if error.message.contains("plugin interface version mismatch")
                    || error.message.contains("find symbol")
                    || error.message.contains("find plugin") =>
            {
                return Err(format!("no plugin {plugin} for this server"));
            }
            Err(error) => panic!("{sql}: {error}"),
        }
    }
    Ok(())
}

macro_rules! stage {
    ($($option:expr),*) => {
        match Stage::start(&[$($option),*]) {
            Ok(stage) => stage,
            Err(reason) => unsupported!("{reason}"),
        }
    };
}

fn run(session: &mut Conn, statements: &[&str]) {
    for sql in statements {
        session
            .query_drop(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

#[test]
fn nothing_leaves_before_commit() {
    let stage = stage!();
    let mut session = stage.session();
    run(
        &mut session,
        &[
            "BEGIN",
            "INSERT INTO t VALUES (1, 1), (2, 2)",
            "UPDATE t SET v = 3",
        ],
    );
    std::thread::sleep(QUIET);
    assert_eq!(stage.worker.count(), 0);
    assert!(stage.status("gman_held_bytes") > 0);
    run(&mut session, &["COMMIT"]);
    assert_eq!(stage.arrived(), ["i1:1", "i2:2", "u1:3", "u2:3"]);
    assert_eq!(stage.status("gman_held_bytes"), 0);
    drop(stage.gearmand);
}

#[test]
fn what_is_rolled_back_never_leaves() {
    let stage = stage!();
    let mut session = stage.session();
    run(
        &mut session,
        &[
            "INSERT INTO t VALUES (1, 1)",
            "BEGIN",
            "UPDATE t SET v = 2",
            "ROLLBACK",
            "BEGIN",
            "UPDATE t SET v = 3",
            "SAVEPOINT a",
            "UPDATE t SET v = 4",
            "SAVEPOINT b",
            "UPDATE t SET v = 5",
            "ROLLBACK TO b",
            "UPDATE t SET v = 6",
            "ROLLBACK TO a",
            "UPDATE t SET v = 7",
            "COMMIT",
        ],
    );
    assert_eq!(stage.arrived(), ["i1:1", "u1:3", "u1:7"]);
}

#[test]
fn a_statement_that_fails_drops_its_own_jobs_only() {
    let stage = stage!();
    let mut session = stage.session();
    run(&mut session, &["BEGIN", "INSERT INTO t VALUES (5, 1)"]);
    session
        .query_drop("INSERT INTO t VALUES (3, 1), (4, 1), (5, 1)")
        .expect_err("a duplicate key");
    run(&mut session, &["INSERT INTO t VALUES (6, 1)", "COMMIT"]);
    session
        .query_drop("INSERT INTO t VALUES (7, 1), (5, 1)")
        .expect_err("a duplicate key");
    assert_eq!(stage.arrived(), ["i5:1", "i6:1"]);
}

#[test]
fn every_end_of_a_transaction_is_heard() {
    let stage = stage!();
    let mut session = stage.session();
    run(
        &mut session,
        &[
            // An implicit commit by DDL.
            "BEGIN",
            "INSERT INTO t VALUES (1, 1)",
            "CREATE TABLE other (id INT)",
            // Without autocommit, and back.
            "SET autocommit = 0",
            "INSERT INTO t VALUES (2, 1)",
            "COMMIT AND CHAIN",
            "INSERT INTO t VALUES (3, 1)",
            "ROLLBACK AND CHAIN",
            "INSERT INTO t VALUES (4, 1)",
            "SET autocommit = 1",
            // Outside a transaction the statement is one.
            "DO gman_do_background('f', 'do')",
        ],
    );
    assert_eq!(stage.arrived(), ["i1:1", "i2:1", "i4:1", "do"]);
}

#[test]
fn a_session_that_ends_in_mid_transaction_drops_its_jobs() {
    let stage = stage!();
    let mut session = stage.session();
    run(&mut session, &["BEGIN", "INSERT INTO t VALUES (1, 1)"]);
    drop(session);
    let mut session = stage.session();
    run(&mut session, &["BEGIN", "INSERT INTO t VALUES (2, 1)"]);
    let id: u64 = session
        .query_first("SELECT CONNECTION_ID()")
        .unwrap()
        .unwrap();
    stage.database.execute(&format!("KILL {id}"));
    crate::support::wait_until(Duration::from_secs(60), "both to roll back", || match stage
        .status("gman_transactions_rolled_back")
    {
        2 => Ok(()),
        other => Err(other),
    });
    assert_eq!(stage.arrived(), [""; 0]);
    assert_eq!(stage.status("gman_held_bytes"), 0);
}

#[test]
fn a_deadlocks_victim_drops_its_jobs() {
    let stage = stage!();
    let (mut first, mut second) = (stage.session(), stage.session());
    run(&mut first, &["INSERT INTO t VALUES (1, 0), (2, 0)"]);
    run(&mut first, &["BEGIN", "UPDATE t SET v = 1 WHERE id = 1"]);
    run(&mut second, &["BEGIN", "UPDATE t SET v = 2 WHERE id = 2"]);
    let victims = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| first.query_drop("UPDATE t SET v = 1 WHERE id = 2").is_err());
        let second_failed = second
            .query_drop("UPDATE t SET v = 2 WHERE id = 1")
            .is_err();
        (waiting.join().unwrap(), second_failed)
    });
    run(&mut first, &["COMMIT"]);
    run(&mut second, &["COMMIT"]);
    let expected = match victims {
        (true, false) => ["u2:2", "u1:2"],
        (false, true) => ["u1:1", "u2:1"],
        both => panic!("one of them is the victim: {both:?}"),
    };
    assert_eq!(stage.arrived()[2..], expected);
}

#[test]
fn jobs_of_a_prepared_transaction_wait_for_its_end_in_whichever_session() {
    let stage = stage!();
    for (id, (prepare, end)) in [
        ("XA PREPARE 'x'", "XA COMMIT 'x'"),
        ("XA PREPARE 'x'", "XA ROLLBACK 'x'"),
        ("DO 0", "XA COMMIT 'x' ONE PHASE"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut session = stage.session();
        let insert = format!("INSERT INTO t VALUES ({id}, 1)");
        run(
            &mut session,
            &["XA START 'x'", &insert, "XA END 'x'", prepare, end],
        );
        // What comes next in the session is not mixed with it.
        let next = format!("DO gman_do_background('f', 'next{id}')");
        run(&mut session, &[&next]);
    }
    assert_eq!(stage.arrived(), ["i0:1", "next0", "next1", "i2:1", "next2"]);

    for (id, end) in [(10, "XA COMMIT 'y'"), (11, "XA ROLLBACK 'y'")] {
        let mut session = stage.session();
        let insert = format!("INSERT INTO t VALUES ({id}, 1)");
        run(
            &mut session,
            &["XA START 'y'", &insert, "XA END 'y'", "XA PREPARE 'y'"],
        );
        drop(session);
        let mut other = stage.session();
        crate::support::wait_until(Duration::from_secs(60), "the session to let go", || {
            other.query_drop(end).map_err(|error| error.to_string())
        });
    }
    assert_eq!(stage.arrived()[5..], ["i10:1"]);
    assert_eq!(stage.status("gman_held_bytes"), 0);
}

#[test]
fn a_statement_inside_a_procedure_that_fails_drops_its_own_jobs() {
    let stage = stage!();
    stage.database.execute(
        "CREATE PROCEDURE p() BEGIN \
           DECLARE CONTINUE HANDLER FOR 1062 SET @failed = 1; \
           INSERT INTO t VALUES (1, 1); \
           INSERT INTO t VALUES (2, 1), (1, 1); \
           INSERT INTO t VALUES (3, 1); \
         END",
    );
    let mut session = stage.session();
    run(&mut session, &["BEGIN", "CALL p()", "COMMIT"]);
    run(&mut session, &["DELETE FROM t", "CALL p()"]);
    assert_eq!(stage.arrived(), ["i1:1", "i3:1", "i1:1", "i3:1"]);
}

#[test]
fn a_transaction_that_holds_back_too_much_is_an_error_of_its_statement() {
    let stage = stage!();
    let mut session = stage.session();
    run(&mut session, &["SET GLOBAL gman_transaction_bytes = 65536"]);
    let job = "SELECT gman_do_background('f', REPEAT('x', 30000))";
    run(&mut session, &["BEGIN", job, job]);
    let refused = session.query::<Row, _>(job).expect_err("more than it may");
    assert!(
        refused
            .to_string()
            .contains("more than gman_transaction_bytes = 65536"),
        "{refused}"
    );
    run(&mut session, &["COMMIT"]);
    assert_eq!(stage.arrived().len(), 2);
}

/// What is beyond a quarter of the window comes out of a pool, so a large transaction neither fails nor
/// leaves the others without room, while it lasts and while its jobs are delivered.
#[test]
fn a_huge_transaction_does_not_starve_the_others() {
    let stage = stage!();
    let (mut huge, mut small) = (stage.session(), stage.session());
    run(
        &mut huge,
        &["SET GLOBAL gman_window_bytes = 65536", "BEGIN"],
    );
    for _ in 0..20 {
        run(
            &mut huge,
            &["DO gman_do_background('f', REPEAT('x', 100000))"],
        );
    }
    stage.gearmand.stop();
    for id in 0..20 {
        run(&mut small, &[&format!("INSERT INTO t VALUES ({id}, 0)")]);
    }
    run(&mut huge, &["COMMIT"]);
    for id in 20..40 {
        run(&mut small, &[&format!("INSERT INTO t VALUES ({id}, 0)")]);
    }
    stage.gearmand.cont();
    let arrived = stage.arrived();
    assert_eq!(arrived.len(), 60);
    let last = arrived.iter().rposition(|job| job.starts_with("xxx"));
    assert_eq!(last, Some(39), "the jobs leave in the order of the commits");
}

#[test]
fn transactions_that_are_too_large_together_are_told_which_room_is_full() {
    let stage = stage!();
    let (mut first, mut second) = (stage.session(), stage.session());
    let job = |bytes| format!("SELECT gman_do_background('f', REPEAT('x', {bytes}))");
    run(
        &mut first,
        &[
            "SET GLOBAL gman_window_bytes = 65536",
            "SET GLOBAL gman_transaction_bytes = 65536",
            "SET GLOBAL gman_timeout_ms = 200",
            "BEGIN",
            &job(60_000),
        ],
    );
    run(&mut second, &["BEGIN"]);
    let refused = second.query::<Row, _>(job(30_000)).expect_err("no room");
    let refused = refused.to_string();
    assert!(refused.contains("outside the window"), "{refused}");
    assert!(
        refused.contains("gman_transaction_bytes = 65536"),
        "{refused}"
    );
    // Whoever fits into the window goes on meanwhile.
    run(&mut second, &[&job(10), "COMMIT"]);
    run(&mut first, &["COMMIT"]);
    run(&mut second, &["BEGIN", &job(30_000), "COMMIT"]);
    assert_eq!(stage.arrived().len(), 3);
}

#[test]
fn two_changes_of_one_row_arrive_in_the_order_of_their_commits() {
    const SESSIONS: u32 = 8;
    const CHANGES: u32 = 200;
    for options in [&["--skip-log-bin"][..], &["--log-bin=log", "--server-id=1"]] {
        let stage = match Stage::start(options) {
            Ok(stage) => stage,
            Err(reason) => unsupported!("{reason}"),
        };
        let mut session = stage.session();
        run(&mut session, &["INSERT INTO t VALUES (1, 0)"]);
        std::thread::scope(|scope| {
            for _ in 0..SESSIONS {
                scope.spawn(|| {
                    let mut session = stage.session();
                    for _ in 0..CHANGES {
                        run(&mut session, &["UPDATE t SET v = v + 1 WHERE id = 1"]);
                    }
                });
            }
        });
        let expected: Vec<String> = std::iter::once("i1:0".to_owned())
            .chain((1..=SESSIONS * CHANGES).map(|v| format!("u1:{v}")))
            .collect();
        let arrived = stage.arrived();
        let first = arrived
            .iter()
            .zip(&expected)
            .position(|(is, should)| is != should);
        assert_eq!(
            (first, arrived.len()),
            (None, expected.len()),
            "{options:?}: {arrived:?}"
        );
    }
}

/// A worker that reads the row again sees at least the change that its job tells of.
#[test]
fn a_job_leaves_once_its_change_can_be_seen() {
    let database_of = |options: &[&str]| Stage::start(options);
    for options in [
        &["--skip-log-bin", "--innodb-flush-log-at-trx-commit=1"][..],
        &[
            "--log-bin=log",
            "--server-id=1",
            "--innodb-flush-log-at-trx-commit=1",
        ],
    ] {
        let stage = match database_of(options) {
            Ok(stage) => stage,
            Err(reason) => unsupported!("{reason}"),
        };
        let mut writer = stage.session();
        let mut reader = stage.session();
        run(&mut writer, &["INSERT INTO t VALUES (1, 0)"]);
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..500 {
                    run(&mut writer, &["UPDATE t SET v = v + 1 WHERE id = 1"]);
                }
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let newest = stage.worker.jobs().last().map(|job| job.workload.clone());
                let Some(newest) = newest else { continue };
                let told = String::from_utf8(newest).expect("text");
                let told: u32 = told
                    .split(':')
                    .nth(1)
                    .expect("a value")
                    .parse()
                    .expect("a number");
                let seen: u32 = reader
                    .query_first("SELECT v FROM t WHERE id = 1")
                    .expect("a row")
                    .expect("a row");
                assert!(seen >= told, "told of {told}, seen {seen}");
            }
        });
    }
}

#[test]
fn what_does_not_wait_for_a_commit_neither_waits_nor_lets_go_what_does() {
    let stage = stage!();
    let mut session = stage.session();
    run(&mut session, &["BEGIN", "INSERT INTO t VALUES (1, 1)"]);
    // A foreground job runs at once; nothing that is held back is waited for.
    let result: Option<String> = session
        .query_first("SELECT gman_do('f', 'now')")
        .expect("a result");
    assert_eq!(result.as_deref(), Some(""));
    let left: Option<u64> = session
        .query_first("SELECT gman_flush()")
        .expect("a number");
    assert_eq!(left, Some(0));
    // A job keeps the delivery that it was submitted with.
    stage.database.execute("SET GLOBAL gman_delivery = 'acked'");
    run(&mut session, &["INSERT INTO t VALUES (2, 1)"]);
    stage.database.execute(SET_COMMITTED);
    run(&mut session, &["INSERT INTO t VALUES (3, 1)"]);
    stage.worker.wait_for(2);
    stage
        .database
        .execute("SET GLOBAL gman_delivery = 'pipelined'");
    run(&mut session, &["COMMIT"]);
    stage.database.execute(SET_COMMITTED);
    assert_eq!(stage.arrived(), ["now", "i2:1", "i1:1", "i3:1"]);
}

/// The session cannot tell: documented.
#[test]
fn a_table_without_transactions_keeps_its_row_and_loses_the_job_of_a_rollback() {
    let stage = stage!();
    let mut session = stage.session();
    run(
        &mut session,
        &[
            "CREATE TABLE m (id INT PRIMARY KEY) ENGINE=MyISAM",
            "CREATE TRIGGER m_ins AFTER INSERT ON m FOR EACH ROW \
             SET @r = gman_do_background('f', CONCAT('m', NEW.id))",
            "INSERT INTO m VALUES (1)",
            "BEGIN",
            "INSERT INTO m VALUES (2)",
            "INSERT INTO t VALUES (1, 1)",
            "ROLLBACK",
        ],
    );
    let rows: Vec<u32> = session.query("SELECT id FROM m").expect("rows");
    assert_eq!(rows, [1, 2]);
    assert_eq!(stage.arrived(), ["m1"]);
}

#[test]
fn committed_is_refused_without_its_plugin() {
    let database = Database::builder().library().start();
    database.install_functions();
    let installed = database
        .connect()
        .query_drop("INSTALL PLUGIN gman SONAME 'libgearman_mysql_udf.so'");
    if installed.is_err() {
        unsupported!("no plugin gman for this server");
    }
    let refused = database
        .connect()
        .query_drop(SET_COMMITTED)
        .expect_err("no plugin");
    let refused = refused.to_string();
    assert!(
        refused.contains("INSTALL PLUGIN gman_commit") || refused.contains("not possible"),
        "{refused}"
    );
    let delivery: String = database.value("SELECT @@GLOBAL.gman_delivery");
    assert_eq!(delivery, "acked");
}

#[test]
fn no_table_can_be_made_with_the_participant() {
    let stage = stage!();
    let mut session = stage.session();
    let refused = session
        .query_drop("CREATE TABLE x (id INT) ENGINE=gman_commit")
        .expect_err("no engine for tables");
    println!("{refused}");
    let tables: Vec<String> = session.query("SHOW TABLES LIKE 'x'").expect("a query");
    assert_eq!(tables, [""; 0]);
    drop(stage.gearmand);
}

#[test]
fn without_a_binary_log_no_server_begins_to_keep_one_for_two_phases() {
    let has_log = |database: &Database| database.data_dir().join("tc.log").exists();
    let stage = stage!("--skip-log-bin");
    let mut session = stage.session();
    run(&mut session, &["INSERT INTO t VALUES (1, 1)"]);
    assert_eq!(stage.arrived(), ["i1:1"]);
    let without_us = Database::builder().option("--skip-log-bin").start();
    assert_eq!(has_log(&stage.database), has_log(&without_us));
}

/// As above, where the plugin is there when the server starts.
#[test]
fn a_server_that_starts_with_the_plugin_keeps_no_log_for_two_phases_either() {
    let without_us = Database::builder().option("--skip-log-bin").start();
    if Stage::start(&[]).is_err() {
        unsupported!("no plugin gman_commit for this server");
    }
    let database = Database::builder()
        .library()
        .configuration("plugin-load-add=libgearman_mysql_udf.so\nloose-gman_delivery=committed")
        .option("--skip-log-bin")
        .start();
    database.install_functions();
    let gearmand = Gearmand::start();
    database.execute(&format!(
        "SET GLOBAL gman_servers = '{}'",
        gearmand.address()
    ));
    let unique: Option<String> = database.value("SELECT gman_do_background('f', 'w')");
    assert_eq!(unique.map(|unique| unique.len()), Some(36));
    let log = |database: &Database| database.data_dir().join("tc.log").exists();
    assert_eq!(log(&database), log(&without_us));
}

/// MariaDB takes a plugin away once its last session has ended; MySQL refuses until then.
#[test]
fn the_plugin_can_be_removed_once_no_session_uses_it() {
    const UNINSTALL: &str = "UNINSTALL PLUGIN gman_commit";
    let stage = stage!();
    let mut session = stage.session();
    run(&mut session, &["BEGIN", "INSERT INTO t VALUES (1, 1)"]);
    let refused = stage.session().query_drop(UNINSTALL).is_err();
    run(&mut session, &["INSERT INTO t VALUES (2, 1)", "COMMIT"]);
    stage.worker.wait_for(2);
    drop(session);
    crate::support::wait_until(Duration::from_secs(60), "the plugin to go", || {
        if refused {
            // Succeeds once.
            let _ = stage.session().query_drop(UNINSTALL);
        }
        let plugins: Vec<String> = stage.database.query(
            "SELECT PLUGIN_NAME FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'gman_commit'",
        );
        match plugins.as_slice() {
            [] => Ok(()),
            _ => Err(plugins),
        }
    });
    let missing = stage
        .session()
        .query_drop("INSERT INTO t VALUES (3, 1)")
        .expect_err("no plugin");
    assert!(
        missing.to_string().contains("needs the plugin gman_commit"),
        "{missing}"
    );
    stage
        .database
        .execute("INSTALL PLUGIN gman_commit SONAME 'libgearman_mysql_udf.so'");
    run(&mut stage.session(), &["INSERT INTO t VALUES (3, 1)"]);
    assert_eq!(stage.arrived(), ["i1:1", "i2:1", "i3:1"]);
}

/// Sends `stage`'s jobs of `f` to `gearmand` from now on.
fn redirect(stage: &Stage, gearmand: &Gearmand) {
    let servers = gearmand.address();
    stage
        .database
        .execute("SET GLOBAL gman_servers_set_enabled = ON");
    let set = format!("DO gman_servers_set('{servers}', 'f')");
    stage.database.execute(&set);
}

#[test]
fn a_commit_after_the_functions_list_has_changed_is_not_overtaken() {
    let stage = stage!();
    let (mut early, mut late) = (stage.session(), stage.session());
    run(&mut late, &["INSERT INTO t VALUES (1, 0), (2, 0)"]);
    assert_eq!(stage.arrived(), ["i1:0", "i2:0"]);
    run(&mut early, &["BEGIN", "UPDATE t SET v = 1 WHERE id = 1"]);
    let new = Gearmand::start();
    redirect(&stage, &new);
    stage.gearmand.stop();
    // Committed on the old way, and stuck there.
    run(&mut early, &["UPDATE t SET v = 2 WHERE id = 1", "COMMIT"]);
    let overtaking = late
        .query_drop("UPDATE t SET v = 3 WHERE id = 1")
        .expect_err("an earlier job of the function is still on its way")
        .to_string();
    assert!(overtaking.contains("must not overtake"), "{overtaking}");
    assert!(new.status().is_empty(), "{:?}", new.status());

    stage.gearmand.cont();
    let flush = || stage.database.value::<u64>("SELECT gman_flush(30)");
    assert_eq!(flush(), 0);
    run(&mut late, &["UPDATE t SET v = 4 WHERE id = 1"]);
    assert_eq!(flush(), 0);
    stage.worker.wait_for(5);
    let jobs = stage.worker.jobs();
    let old: Vec<_> = jobs.iter().map(|job| job.workload.as_slice()).collect();
    assert_eq!(old[3..], [b"u1:1", b"u1:2"]);
    assert_eq!(new.status()["f"].queued, 1);
}

#[test]
fn a_commit_after_the_functions_list_was_taken_away_loses_nothing() {
    let stage = stage!();
    let own = Gearmand::start();
    redirect(&stage, &own);
    let mut session = stage.session();
    run(&mut session, &["BEGIN", "INSERT INTO t VALUES (1, 1)"]);
    stage.database.execute("DO gman_servers_set('', 'f')");
    run(&mut session, &["COMMIT"]);
    drop(session);
    assert_eq!(stage.arrived(), ["i1:1"]);
}
