//! What arrives when servers are killed under transactions of every kind.
//!
//! `scripts/committed-faults` runs these with the numbers of a soak; by default they are small. Every
//! change has a token, which its transaction also writes into a table: what is in there at the end is what
//! has committed, whatever the client was told.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};

use super::install_plugins;
use crate::support::{
    Certificates, Database, Gearmand, Job, RecordingWorker, Stunnel, scale, unsupported, wait_until,
};

/// How many rows are changed, over and over.
const ROWS: u32 = 50;

/// How many sessions change them.
const WRITERS: u32 = 16;

const INSTALL: &str = "INSTALL PLUGIN gman_commit SONAME 'libgearman_mysql_udf.so'";

/// How long draining may take.
const PATIENCE: Duration = Duration::from_secs(300);

fn changes() -> u32 {
    scale("GMAN_FAULT_CHANGES", 3_000)
}

fn kills() -> u32 {
    scale("GMAN_FAULT_KILLS", 2)
}

/// A database in the mode `committed` from its start on, whose job server is at `job_server`, with a table
/// whose changes say `ROW:N:TOKEN`.
fn database(job_server: &str, options: &[&str]) -> Result<Database, String> {
    let probe = Database::builder().library().start();
    install_plugins(&probe)?;
    drop(probe);
    let mut builder = Database::builder().library().configuration(&format!(
        "plugin-load-add=libgearman_mysql_udf.so\n\
         loose-gman_servers={job_server}\n\
         loose-gman_delivery=committed\n\
         loose-gman_timeout_ms=60000\n\
         loose-gman_on_failure=error"
    ));
    for option in options {
        builder = builder.option(*option);
    }
    let database = builder.start();
    database.install_functions();
    for sql in [
        "CREATE TABLE c (id INT PRIMARY KEY, n INT NOT NULL, fails INT NOT NULL) ENGINE=InnoDB",
        "CREATE TABLE j (token BIGINT, id INT, PRIMARY KEY (token, id)) ENGINE=InnoDB",
        "CREATE TRIGGER changed AFTER UPDATE ON c FOR EACH ROW BEGIN \
           IF NEW.fails > 1 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'as asked'; END IF; \
           SET @handle = gman_do_background('f', CONCAT_WS(':', NEW.id, NEW.n, @token)); \
         END",
    ] {
        database.execute(sql);
    }
    for id in 1..=ROWS {
        database.execute(&format!("INSERT INTO c VALUES ({id}, 0, 0)"));
    }
    Ok(database)
}

/// What the writers did, as they were told.
#[derive(Debug, Default)]
struct Told {
    committed: AtomicU32,
    rolled_back: AtomicU32,
    failed: AtomicU32,
}

/// Makes changes of every kind until `changes()` have committed; reconnects when the server goes.
fn write(opts: &OptsBuilder, writer: u32, told: &Told) {
    let tokens = AtomicU64::new(u64::from(writer) << 32);
    let mut random = fastrand::Rng::with_seed(writer.into());
    let mut session = None;
    while told.committed.load(Ordering::SeqCst) < changes() {
        let Some(open) = session.as_mut() else {
            session = Conn::new(opts.clone()).ok();
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        let token = tokens.fetch_add(1, Ordering::SeqCst);
        let kind = random.u32(0..12);
        let (one, two) = (random.u32(1..=ROWS), random.u32(1..=ROWS));
        match change(open, token, kind, one, two) {
            Ok(true) => drop(told.committed.fetch_add(1, Ordering::SeqCst)),
            Ok(false) => drop(told.rolled_back.fetch_add(1, Ordering::SeqCst)),
            Err(mysql::Error::MySqlError(_)) => {
                // A deadlock's victim is rolled back whole; what else failed is ended here.
                told.failed.fetch_add(1, Ordering::SeqCst);
                if open.query_drop("ROLLBACK").is_err() {
                    session = None;
                }
            }
            Err(_) => session = None,
        }
        if kind == 11 {
            // The client goes, sometimes in mid-transaction.
            session = None;
        }
    }
}

/// One transaction; returns whether it committed.
fn change(session: &mut Conn, token: u64, kind: u32, one: u32, two: u32) -> mysql::Result<bool> {
    let update = |id: u32| format!("UPDATE c SET n = n + 1 WHERE id = {id}");
    let note = |id: u32| format!("INSERT INTO j VALUES ({token}, {id})");
    session.query_drop(format!("SET @token = {token}"))?;
    session.query_drop("BEGIN")?;
    session.query_drop(update(one))?;
    session.query_drop(note(one))?;
    match kind {
        // Two rows in any order: deadlocks.
        0..=2 if one != two => {
            session.query_drop(update(two))?;
            session.query_drop(note(two))?;
        }
        3 | 4 => {
            session.query_drop("SAVEPOINT s")?;
            session.query_drop("SET @token = -1")?;
            session.query_drop(update(two))?;
            session.query_drop("ROLLBACK TO s")?;
        }
        5 => {
            session.query_drop("SET @token = -2")?;
            let fails = session.query_drop(format!(
                "UPDATE c SET n = n + 1, fails = IF(id = {ROWS}, 2, 1) \
                 WHERE id IN ({one}, {ROWS}) ORDER BY id"
            ));
            // One that was a deadlock's victim has ended the transaction.
            if let Err(error) = fails
                && !error.to_string().contains("as asked")
            {
                return Err(error);
            }
        }
        6 | 7 => {
            session.query_drop("ROLLBACK")?;
            return Ok(false);
        }
        // The client is about to go.
        11 => return Ok(false),
        _ => {}
    }
    session.query_drop("COMMIT")?;
    Ok(true)
}

/// Runs the writers, and `fault` again and again while they write, spread over their changes.
fn under_faults(database: &mut Database, mut fault: impl FnMut(&mut Database)) -> Told {
    let told = Told::default();
    let opts = database.opts_in_test();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (opts, told) = (&opts, &told);
            scope.spawn(move || write(opts, writer, told));
        }
        for kill in 1..=kills() {
            let mark = changes() / (kills() + 1) * kill;
            wait_until(PATIENCE, "the writers to get on", || {
                match told.committed.load(Ordering::SeqCst) {
                    committed if committed >= mark => Ok(()),
                    committed => Err(committed),
                }
            });
            fault(database);
        }
    });
    told
}

/// What arrived, against what has committed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    committed: usize,
    delivered: usize,
    duplicates: usize,
    lost: usize,
    phantom: usize,
    /// A change that arrived after a later one of the same row.
    out_of_order: usize,
}

impl Count {
    fn of(jobs: &[Job], database: &Database) -> Self {
        let committed: HashSet<(i64, u32)> = database
            .query("SELECT token, id FROM j")
            .into_iter()
            .collect();
        let mut count = Self {
            committed: committed.len(),
            ..Self::default()
        };
        let mut seen = HashSet::new();
        let mut newest: HashMap<u32, u32> = HashMap::new();
        for job in jobs {
            let text = String::from_utf8_lossy(&job.workload);
            let parts: Vec<i64> = text
                .split(':')
                .map(|part| part.parse().expect("a number"))
                .collect();
            let (id, n, token) = (parts[0] as u32, parts[1] as u32, parts[2]);
            if !committed.contains(&(token, id)) {
                count.phantom += 1;
            } else if !seen.insert((token, id)) {
                count.duplicates += 1;
            } else {
                let newest = newest.entry(id).or_default();
                count.out_of_order += usize::from(n < *newest);
                *newest = n.max(*newest);
            }
        }
        count.delivered = seen.len();
        count.lost = count.committed - count.delivered;
        count
    }

    fn report(&self, what: &str, told: &Told) {
        println!("{what}: {self:?}; the writers were told {told:?}");
    }
}

fn settle(database: &Database, gearmand: &Gearmand) {
    wait_until(PATIENCE, "the window to be empty", || {
        match database.value::<u64>("SELECT gman_flush(1000)") {
            0 => Ok(()),
            left => Err(left),
        }
    });
    wait_until(PATIENCE, "gearmand to be empty", || {
        match gearmand.status().get("f").map_or(0, |f| f.queued) {
            0 => Ok(()),
            queued => Err(queued),
        }
    });
}

/// gearmand keeps its queue: what it has acknowledged and not yet given to a worker would die with it.
#[test]
fn nothing_is_lost_or_made_up_when_gearmand_is_killed() {
    let mut gearmand = Gearmand::start_persistent("H:committed");
    let mut database = match database(&gearmand.address(), &["--innodb-lock-wait-timeout=5"]) {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let mut workers = vec![RecordingWorker::start(gearmand.port(), &["f"])];
    let told = under_faults(&mut database, |_| {
        gearmand.kill();
        gearmand.restart();
        workers.push(RecordingWorker::start(gearmand.port(), &["f"]));
    });
    assert_whole("gearmand killed", &database, &gearmand, &workers, &told);
}

/// What speaks TLS is killed in turn with gearmand itself.
#[test]
fn nothing_is_lost_or_made_up_over_tls_when_either_end_is_killed() {
    let certificates = Certificates::new();
    let mut gearmand = Gearmand::start_persistent("H:committed");
    let mut stunnel = Stunnel::start(&certificates, gearmand.port());
    let ca = format!("--loose-gman-tls-ca={}", certificates.path("ca.pem"));
    let options = ["--innodb-lock-wait-timeout=5", &ca];
    let mut database = match database(&stunnel.address(), &options) {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let mut workers = vec![RecordingWorker::start(gearmand.port(), &["f"])];
    let mut kill = 0;
    let told = under_faults(&mut database, |_| {
        kill += 1;
        if kill % 2 == 1 {
            stunnel.kill();
            stunnel.restart();
        } else {
            gearmand.kill();
            gearmand.restart();
            workers.push(RecordingWorker::start(gearmand.port(), &["f"]));
        }
    });
    assert_whole("killed over TLS", &database, &gearmand, &workers, &told);
}

/// MariaDB takes the plugin away once no session uses it, MySQL refuses; what is called meanwhile fails.
#[test]
fn nothing_is_lost_or_made_up_while_the_plugin_comes_and_goes() {
    let gearmand = Gearmand::start();
    let mut database = match database(&gearmand.address(), &["--innodb-lock-wait-timeout=5"]) {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let workers = [RecordingWorker::start(gearmand.port(), &["f"])];
    let server = database.pid();
    let told = under_faults(&mut database, |database| {
        let mut session = database.connect();
        for _ in 0..20 {
            // Each may fail, as the plugin is on its way out or was not let go.
            let _ = session.query_drop("UNINSTALL PLUGIN gman_commit");
            let _ = session.query_drop(INSTALL);
        }
        wait_until(PATIENCE, "the plugin to be there", || {
            let _ = session.query_drop(INSTALL);
            let status: Option<String> = session
                .query_first(
                    "SELECT PLUGIN_STATUS FROM information_schema.PLUGINS \
                     WHERE PLUGIN_NAME = 'gman_commit'",
                )
                .expect("a status");
            match status.as_deref() {
                Some("ACTIVE") => Ok(()),
                _ => Err(status),
            }
        });
    });
    assert_whole(
        "the plugin gone and back",
        &database,
        &gearmand,
        &workers,
        &told,
    );
    assert_eq!(database.pid(), server, "the server was started again");
}

/// Commits are inside our callback at that moment, others wait to be called.
#[test]
fn nothing_is_lost_or_made_up_when_the_database_is_shut_down() {
    for options in [
        &["--skip-log-bin"][..],
        &["--log-bin=log", "--server-id=1"],
        &[
            "--log-bin=log",
            "--server-id=1",
            "--loose-gman-commit-wait=ON",
        ],
    ] {
        let gearmand = Gearmand::start();
        let options = [options, &["--innodb-lock-wait-timeout=5"]].concat();
        let mut database = match database(&gearmand.address(), &options) {
            Ok(database) => database,
            Err(reason) => unsupported!("{reason}"),
        };
        let workers = [RecordingWorker::start(gearmand.port(), &["f"])];
        let told = under_faults(&mut database, Database::restart);
        let what = format!("database shut down, {options:?}");
        assert_whole(&what, &database, &gearmand, &workers, &told);
        let log = database.error_log();
        assert!(!log.contains("no job server has taken"), "{log}");
    }
}

/// Everything that has committed has arrived, in order, and nothing else.
#[track_caller]
fn assert_whole(
    what: &str,
    database: &Database,
    gearmand: &Gearmand,
    workers: &[RecordingWorker],
    told: &Told,
) {
    settle(database, gearmand);
    let jobs: Vec<Job> = workers.iter().flat_map(RecordingWorker::jobs).collect();
    let count = Count::of(&jobs, database);
    count.report(what, told);
    assert_eq!(
        (count.lost, count.phantom, count.out_of_order),
        (0, 0, 0),
        "{count:?}"
    );
}

#[test]
fn nothing_is_made_up_when_the_database_is_killed_with_a_binary_log() {
    database_is_killed(
        "database killed, binary log",
        &["--log-bin=log", "--server-id=1"],
    );
}

#[test]
fn nothing_is_made_up_when_the_database_is_killed_without_a_binary_log() {
    database_is_killed("database killed, no binary log", &["--skip-log-bin"]);
}

/// What waits in the window dies with the server, which is counted; what arrived has committed.
fn database_is_killed(what: &str, options: &[&str]) {
    let gearmand = Gearmand::start();
    let options = [
        options,
        &[
            "--innodb-flush-log-at-trx-commit=1",
            "--innodb-lock-wait-timeout=5",
        ],
    ]
    .concat();
    let mut database = match database(&gearmand.address(), &options) {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let told = under_faults(&mut database, |database| {
        database.kill();
        database.restart();
    });
    settle(&database, &gearmand);
    let count = Count::of(&worker.jobs(), &database);
    count.report(what, &told);
    assert_eq!((count.phantom, count.out_of_order), (0, 0), "{count:?}");
}
