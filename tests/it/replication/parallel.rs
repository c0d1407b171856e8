//! Replicas that apply transactions at the same time, some of them before it is clear that they can commit.

use std::collections::{HashMap, HashSet};
use std::thread;
use std::time::Duration;

use mysql::Row;
use mysql::prelude::Queryable;

use super::Pair;
use crate::committed::install_plugins;
use crate::support::{Database, RecordingWorker, unsupported, wait_until};

/// Rows that all transactions change: two at a time, so that they conflict.
const ROWS: u32 = 8;
const SESSIONS: u32 = 4;
const TRANSACTIONS: u32 = 150;

/// What MariaDB's replica needs for each of its modes.
const MARIADB: [&str; 2] = [
    "--slave-parallel-threads=8",
    "--slave-transaction-retries=1000",
];

/// The triggers of the replica run for statements, and for rows if it is told so.
const FOR_ROWS: &str = "--slave-run-triggers-for-rbr=YES";

macro_rules! replicate {
    ($mode:literal) => {
        let mode = concat!("--slave-parallel-mode=", $mode);
        let options = [&MARIADB[..], &[mode]].concat();
        if let Err(reason) = replicate("STATEMENT", &options) {
            unsupported!("{reason}");
        }
        let for_rows = [&options[..], &[FOR_ROWS]].concat();
        replicate("ROW", &for_rows).expect("the same server");
    };
}

#[test]
fn a_conservative_replica_sends_what_it_commits() {
    replicate!("conservative");
}

#[test]
fn an_optimistic_replica_sends_nothing_for_what_it_takes_back() {
    replicate!("optimistic");
}

#[test]
fn an_aggressive_replica_sends_nothing_for_what_it_takes_back() {
    replicate!("aggressive");
}

/// MySQL's, which applies at the same time what its primary has found to touch other rows.
#[test]
fn a_replica_with_several_workers_sends_what_it_commits() {
    for order in ["ON", "OFF"] {
        let order = format!("--replica-preserve-commit-order={order}");
        if let Err(reason) = replicate("STATEMENT", &["--replica-parallel-workers=8", &order]) {
            unsupported!("{reason}");
        }
    }
}

/// Has sessions of the primary change the same rows, and compares what the replica's job server was sent with
/// what the replica has committed; or says why the replica cannot have these options.
fn replicate(format: &str, options: &[&str]) -> Result<(), String> {
    let pair = pair(format, options)?;
    let worker = RecordingWorker::start(pair.replica.gearmand.port(), &["f"]);
    pair.replica.database.execute(pair.words.stop());
    write(&pair);
    pair.replica.database.execute(pair.words.start());
    pair.catch_up();

    let replica = &pair.replica.database;
    wait_until(
        Duration::from_secs(60),
        "the window to be empty",
        || match replica.value::<u64>("SELECT gman_flush(1000)") {
            0 => Ok(()),
            left => Err(left),
        },
    );
    let committed: HashSet<(u32, u32)> = replica
        .query("SELECT token, id FROM j")
        .into_iter()
        .collect();
    let jobs = worker.wait_for(committed.len());
    let mut arrived = HashSet::new();
    let mut newest: HashMap<u32, u32> = HashMap::new();
    for job in &jobs {
        let text = String::from_utf8_lossy(&job.workload).into_owned();
        let parts: Vec<u32> = text
            .split(':')
            .map(|part| part.parse().expect("a number"))
            .collect();
        let (id, n, token) = (parts[0], parts[1], parts[2]);
        assert!(committed.contains(&(token, id)), "made up: {text}");
        assert!(arrived.insert((token, id)), "twice: {text}");
        let newest = newest.entry(id).or_default();
        assert!(n > *newest, "out of order: {text} after {newest}");
        *newest = n;
    }
    assert_eq!(arrived.len(), committed.len());
    let retried: Vec<(String, String)> =
        replica.query("SHOW GLOBAL STATUS LIKE 'slave_retried_transactions'");
    let dropped: Vec<(String, u64)> = replica.query("SHOW GLOBAL STATUS LIKE 'gman_jobs_dropped'");
    println!(
        "{format} {options:?}: {} jobs, {retried:?}, {dropped:?}",
        jobs.len()
    );
    Ok(())
}

/// A primary and its replica in the mode `committed`, whose trigger says `ROW:N:TOKEN`.
fn pair(format: &str, options: &[&str]) -> Result<Pair, String> {
    let (option, _) = options[0].split_once('=').expect("a value");
    let variable = option.trim_start_matches("--").replace('-', "_");
    let known = Database::start().query::<Row>(&format!("SHOW VARIABLES LIKE '{variable}'"));
    if known.is_empty() {
        return Err(format!("the server has no {option}"));
    }
    let options = [options, &["--log-bin=replica"]].concat();
    let pair = Pair::start_with(format, &options);
    pair.install();
    pair.catch_up();
    let primary = &pair.primary.database;
    for sql in [
        "CREATE TABLE c (id INT PRIMARY KEY, n INT NOT NULL, token INT NOT NULL) ENGINE=InnoDB",
        "CREATE TABLE j (token INT, id INT, PRIMARY KEY (token, id)) ENGINE=InnoDB",
    ] {
        primary.execute(sql);
    }
    for id in 1..=ROWS {
        primary.execute(&format!("INSERT INTO c VALUES ({id}, 0, 0)"));
    }
    pair.catch_up();
    // The primary has none, as it would have run it for the replica's rows as well.
    pair.replica.database.execute(
        "CREATE TRIGGER changed AFTER UPDATE ON c FOR EACH ROW \
         SET @handle = gman_do_background('f', CONCAT_WS(':', NEW.id, NEW.n, NEW.token))",
    );
    pair.replica.set_servers();
    install_plugins(&pair.replica.database)?;
    for sql in [
        "SET GLOBAL gman_on_failure = 'error'",
        "SET GLOBAL gman_timeout_ms = 30000",
        "SET GLOBAL gman_delivery = 'committed'",
    ] {
        pair.replica.database.execute(sql);
    }
    Ok(pair)
}

/// Changes two rows in each transaction, in the order of their ids, so that none is a deadlock's victim here.
fn write(pair: &Pair) {
    thread::scope(|scope| {
        for session in 0..SESSIONS {
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(session.into());
                let mut connection = pair.primary.database.connect();
                for transaction in 0..TRANSACTIONS {
                    let token = session * TRANSACTIONS + transaction + 1;
                    let one = random.u32(1..ROWS);
                    let two = random.u32(one + 1..=ROWS);
                    for sql in [
                        "BEGIN".to_owned(),
                        format!("UPDATE c SET n = n + 1, token = {token} WHERE id = {one}"),
                        format!("UPDATE c SET n = n + 1, token = {token} WHERE id = {two}"),
                        format!("INSERT INTO j VALUES ({token}, {one}), ({token}, {two})"),
                        "COMMIT".to_owned(),
                    ] {
                        connection
                            .query_drop(&sql)
                            .unwrap_or_else(|error| panic!("{sql}: {error}"));
                    }
                }
            });
        }
    });
}
