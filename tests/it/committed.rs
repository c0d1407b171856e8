//! Delivery at commit: a job leaves when its transaction has committed, and never if it does not.

use std::time::Duration;

use mysql::Conn;
use mysql::prelude::Queryable;

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
        let mut session = self.database.connect();
        session
            .query_drop("DO gman_do_background('f', 'mark')")
            .expect("a job outside a transaction");
        let last = || {
            self.worker
                .jobs()
                .iter()
                .rposition(|job| job.workload == b"mark")
        };
        let before = last();
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
fn install_plugins(database: &Database) -> Result<(), String> {
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
    assert_eq!(stage.status("gman_held_bytes") > 0, true);
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
