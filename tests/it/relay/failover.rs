//! A primary and its replica behind one address.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, Row};

use crate::support::{
    Database, Gearmand, RecordingWorker, RelayProcess, ReplicationWords, Switch, product_file,
    wait_until,
};

use super::{ACCOUNT, PATIENCE, numbers, texts, wait_for_log};

/// Longer than a relay needs to find rows, and than a lease lasts.
const LONG_ENOUGH: Duration = Duration::from_secs(7);

/// An outbox on a primary, which a replica follows, and a relay that knows one address.
struct Pair {
    primary: Database,
    replica: Database,
    words: ReplicationWords,
    address: Switch,
    _gearmand: Gearmand,
    worker: RecordingWorker,
    relay: RelayProcess,
}

impl Pair {
    fn start() -> Self {
        let start = |id: u8| {
            let builder = Database::builder()
                .option(format!("--server-id={id}"))
                .option("--log-bin=binlog")
                .option("--binlog-format=ROW");
            builder.start()
        };
        let (primary, replica) = (start(1), start(2));
        let mut session = primary.connect();
        let words = ReplicationWords::of(&mut session);
        for sql in [
            "CREATE USER repl@127.0.0.1 IDENTIFIED BY 'repl'",
            "GRANT REPLICATION SLAVE ON *.* TO repl@127.0.0.1",
        ] {
            execute(&mut session, sql);
        }
        for sql in words.follow(primary.port()) {
            replica.execute(&sql);
        }
        replica.execute("SET GLOBAL read_only = 1");
        primary.run_script(&product_file("sql/outbox-plain.sql"));
        for sql in ACCOUNT {
            execute(&mut session, sql);
        }
        let address = Switch::start(primary.port());
        let gearmand = Gearmand::start();
        let worker = RecordingWorker::start(gearmand.port(), &["f"]);
        let relay = RelayProcess::start(&[
            format!("--mysql=mysql://relay:secret@127.0.0.1:{}", address.port()),
            format!("--gearmand={}", gearmand.address()),
        ]);
        Self {
            primary,
            replica,
            words,
            address,
            _gearmand: gearmand,
            worker,
            relay,
        }
    }

    /// Waits until the replica has all that the primary has.
    #[track_caller]
    fn catch_up(&self) {
        let position: Row = self
            .primary
            .query(self.words.show_position())
            .pop()
            .expect("a binary log");
        let file: String = position.get("File").expect("its name");
        let position: u64 = position.get("Position").expect("its length");
        let waited: Option<i64> = self.replica.value(&self.words.wait(&file, position));
        assert!(waited.is_some_and(|events| events >= 0), "{waited:?}");
    }

    fn promote_replica(&self) {
        self.replica.execute(self.words.stop());
        self.replica.execute("SET GLOBAL read_only = 0");
    }

    #[track_caller]
    fn wait_until_empty(&self, database: &Database) {
        wait_until(PATIENCE, "the outbox to be empty", || {
            match database.value::<u64>("SELECT depth FROM gman_outbox_status") {
                0 => Ok(()),
                depth => Err((depth, self.relay.log())),
            }
        });
    }

    /// The jobs so far, each where it arrived first.
    fn arrived(&self) -> Vec<String> {
        let mut seen = HashSet::new();
        let mut jobs = texts(&self.worker.jobs());
        jobs.retain(|job| seen.insert(job.clone()));
        jobs
    }
}

fn execute(session: &mut Conn, sql: &str) {
    session
        .query_drop(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

fn write(database: &Database, numbers: &[String]) {
    let rows: Vec<String> = numbers
        .iter()
        .map(|number| format!("('f', '{number}')"))
        .collect();
    database.execute(&format!(
        "INSERT INTO gman_outbox (`function`, workload) VALUES {}",
        rows.join(",")
    ));
}

#[test]
fn the_relay_goes_on_when_the_primary_dies_but_not_before_the_replica_is_promoted() {
    let mut pair = Pair::start();
    let all = numbers(1, 600);
    write(&pair.primary, &all[..500]);
    pair.worker.wait_for(500);
    pair.wait_until_empty(&pair.primary);
    pair.catch_up();
    pair.primary.kill();
    pair.address.lead_to(pair.replica.port());
    // root may.
    write(&pair.replica, &all[500..550]);
    wait_for_log(&pair.relay, "it is read-only");
    thread::sleep(LONG_ENOUGH);
    assert_eq!(pair.worker.count(), 500);
    pair.promote_replica();
    write(&pair.replica, &all[550..]);
    pair.wait_until_empty(&pair.replica);
    assert_eq!(texts(&pair.worker.wait_for(600)), all);
}

#[test]
fn the_relay_follows_when_the_primary_becomes_read_only() {
    let pair = Pair::start();
    let all = numbers(1, 1000);
    write(&pair.primary, &all[..500]);
    pair.worker.wait_for(1);
    pair.primary.execute("SET GLOBAL read_only = 1");
    pair.catch_up();
    // The relay is still connected to it, and the replica does not get this row.
    let mut session = pair.primary.connect();
    execute(&mut session, "SET sql_log_bin = 0");
    execute(
        &mut session,
        "INSERT INTO gman_outbox (`function`, workload) VALUES ('f', 'never')",
    );
    pair.address.lead_to(pair.replica.port());
    pair.promote_replica();
    write(&pair.replica, &all[500..]);
    pair.wait_until_empty(&pair.replica);
    wait_for_log(&pair.relay, "read-only");
    wait_until(PATIENCE, "all jobs to arrive", || match pair.arrived() {
        arrived if arrived.len() >= all.len() => Ok(()),
        arrived => Err(arrived.len()),
    });
    assert_eq!(pair.arrived(), all);
    // Rows whose deletion had not been replicated come again, and the newest ones after them.
    assert_eq!(texts(&pair.worker.jobs()).last(), all.last());
}
