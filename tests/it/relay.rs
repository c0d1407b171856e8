//! `gman relay` and `sql/outbox-plain.sql`, on servers without the library.

mod clocks;
mod confirmation;
mod disk;
mod failover;
mod faults;
mod lease;
mod tls;
mod wire;

use std::thread;
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::{FromRow, Queryable};

use crate::support::{
    Database, DatabaseBuilder, Gearmand, Job, RecordingWorker, RelayProcess, product_file,
    unsupported, wait_until,
};

/// How long a test waits for what takes seconds at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// `ER_TOO_BIG_ROWSIZE`: MySQL 5.6 takes no row of more than a tenth of its redo log.
const LARGER_THAN_THE_LOG: u16 = 1118;

/// The account of the relay, and all that it needs, as docs/outbox.md has it.
const ACCOUNT: [&str; 5] = [
    "CREATE USER relay@'%' IDENTIFIED BY 'secret'",
    "GRANT SELECT, DELETE ON test.gman_outbox TO relay@'%'",
    "GRANT SELECT, UPDATE ON test.gman_outbox_state TO relay@'%'",
    "GRANT INSERT ON test.gman_outbox_dead TO relay@'%'",
    "GRANT SELECT, DELETE ON test.gman_outbox_acknowledged TO relay@'%'",
];

/// A database with an outbox and without the library.
struct Outbox {
    database: Database,
    session: Conn,
}

impl Outbox {
    fn start() -> Self {
        Self::start_with(&[])
    }

    /// With options of the server.
    fn start_with(options: &[&str]) -> Self {
        let mut builder = Database::builder();
        for option in options {
            builder = builder.option(*option);
        }
        Self::on(builder)
    }

    fn on(builder: DatabaseBuilder) -> Self {
        let database = builder.start();
        database.run_script(&product_file("sql/outbox-plain.sql"));
        for sql in ACCOUNT {
            database.execute(sql);
        }
        let session = database.connect();
        Self { database, session }
    }

    fn execute(&mut self, sql: &str) {
        self.session
            .query_drop(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    fn row<T: FromRow>(&mut self, sql: &str) -> T {
        let row = self.session.query_first(sql);
        row.unwrap_or_else(|error| panic!("{sql}: {error}"))
            .unwrap_or_else(|| panic!("{sql}: expected a row"))
    }

    /// Commits jobs of `function`.
    fn write<'a>(&mut self, function: &str, workloads: impl IntoIterator<Item = &'a str>) {
        let rows: Vec<String> = workloads
            .into_iter()
            .map(|workload| format!("('{function}', '{workload}')"))
            .collect();
        let rows = rows.join(",");
        self.execute(&format!(
            "INSERT INTO gman_outbox (`function`, workload) VALUES {rows}"
        ));
    }

    fn confirm(&mut self, by: &str) {
        self.execute(&format!("UPDATE gman_outbox_state SET confirm = '{by}'"));
    }

    fn depth(&mut self) -> u64 {
        self.row("SELECT depth FROM gman_outbox_status")
    }

    #[track_caller]
    fn wait_until_empty(&mut self) {
        wait_until(PATIENCE, "the outbox to be empty", || match self.depth() {
            0 => Ok(()),
            depth => Err((depth, self.trouble())),
        });
    }

    /// What `gman_outbox_status` says, if the relay is failing.
    fn trouble(&mut self) -> Option<String> {
        let (is_failing, error): (bool, Option<String>) =
            self.row("SELECT failing_since IS NOT NULL, last_error FROM gman_outbox_status");
        error.filter(|_| is_failing)
    }

    #[track_caller]
    fn wait_for_trouble(&mut self, part: &str) {
        wait_until(
            PATIENCE,
            &format!("the status to say {part}"),
            || match self.trouble() {
                Some(trouble) if trouble.contains(part) => Ok(()),
                trouble => Err(trouble),
            },
        );
    }

    #[track_caller]
    fn wait_until_well(&mut self) {
        wait_until(PATIENCE, "the trouble to be over", || {
            match self.trouble() {
                None => Ok(()),
                trouble => Err(trouble),
            }
        });
    }

    /// A relay with the account that has the least privileges.
    fn relay(&self, gearmand: &str) -> RelayProcess {
        self.relay_with(gearmand, &[])
    }

    /// With further options.
    fn relay_with(&self, gearmand: &str, more: &[String]) -> RelayProcess {
        let mut options = self.options_of_relay(gearmand);
        options.extend_from_slice(more);
        RelayProcess::start(&options)
    }

    fn options_of_relay(&self, gearmand: &str) -> Vec<String> {
        let port = self.database.port();
        vec![
            format!("--mysql=mysql://relay:secret@127.0.0.1:{port}"),
            format!("--gearmand={gearmand}"),
        ]
    }
}

#[track_caller]
fn wait_for_log(relay: &RelayProcess, part: &str) {
    wait_until(PATIENCE, &format!("the relay to say {part}"), || {
        let log = relay.log();
        if log.contains(part) { Ok(()) } else { Err(log) }
    });
}

fn outbox_and_gearmand() -> (Outbox, Gearmand) {
    (Outbox::start(), Gearmand::start())
}

fn texts(jobs: &[Job]) -> Vec<String> {
    let text = |job: &Job| String::from_utf8_lossy(&job.workload).into_owned();
    jobs.iter().map(text).collect()
}

fn numbers(from: u32, to: u32) -> Vec<String> {
    (from..=to).map(|number| number.to_string()).collect()
}

fn as_strs(texts: &[String]) -> impl Iterator<Item = &str> {
    texts.iter().map(String::as_str)
}

/// Each can be run by itself, with nothing but a client, so both have the text.
#[test]
fn outbox_sql_and_outbox_plain_sql_make_the_same_tables() {
    let script = |name: &str| {
        let path = product_file(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let (whole, plain) = (script("sql/outbox.sql"), script("sql/outbox-plain.sql"));
    let begin = plain.find("SET @gman_sql_mode").expect("a beginning");
    let end = plain.rfind("SET sql_mode").expect("an end");
    let tables = plain[begin..end].trim_end();
    assert!(tables.len() > 4000, "{tables}");
    assert!(whole.contains(tables), "sql/outbox.sql makes other tables");
}

#[test]
fn committed_rows_are_submitted_in_their_order_and_deleted() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let mut relay = outbox.relay(&gearmand.address());
    let all = numbers(1, 5000);
    outbox.write("f", as_strs(&all[..2000]));
    outbox.execute("START TRANSACTION");
    outbox.write("f", ["never"]);
    outbox.execute("ROLLBACK");
    outbox.write("f", as_strs(&all[2000..]));
    outbox.wait_until_empty();
    assert_eq!(texts(&worker.wait_for(5000)), all);
    assert!(relay.stop().success(), "{}", relay.log());
}

/// Between a search from the horizon and a search of all ids such a row would be found after the other.
#[test]
fn a_row_that_commits_late_is_not_passed_by_a_later_change_of_its_key() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let _relay = outbox.relay(&gearmand.address());
    let mut late = outbox.database.connect();
    let mut expected = Vec::new();
    for round in 0..50 {
        let (first, other, second) = (
            format!("{round} a"),
            format!("{round} b"),
            format!("{round} c"),
        );
        late.query_drop("START TRANSACTION").expect("a transaction");
        late.query_drop(format!(
            "INSERT INTO gman_outbox (`function`, workload) VALUES ('f', '{first}')"
        ))
        .expect("a row");
        outbox.write("f", [other.as_str()]);
        worker.wait_for(3 * round + 1);
        late.query_drop("COMMIT").expect("a commit");
        outbox.write("f", [second.as_str()]);
        worker.wait_for(3 * round + 3);
        expected.extend([other, first, second]);
    }
    assert_eq!(texts(&worker.jobs()), expected);
}

/// Without a gap the horizon passes ids at once; it must not pass those that a batch had no room for.
#[test]
fn rows_that_did_not_fit_are_not_passed_by_later_ones() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let _relay = outbox.relay_with(&gearmand.address(), &["--batch=10".to_owned()]);
    // It passes ids at once once it has passed all that were there, five seconds after the last one.
    outbox.write("f", ["first"]);
    outbox.wait_until_empty();
    thread::sleep(Duration::from_secs(6));
    let mut expected: Vec<Vec<u8>> = vec![b"first".to_vec()];
    for round in 0..20 {
        let small: Vec<String> = (0..30).map(|row| format!("{round} {row}")).collect();
        outbox.execute("START TRANSACTION");
        outbox.write("f", as_strs(&small));
        outbox.execute(
            "INSERT INTO gman_outbox (`function`, workload) VALUES ('f', REPEAT('y', 100000))",
        );
        outbox.write("f", ["behind"]);
        outbox.execute("COMMIT");
        outbox.write("f", ["last"]);
        expected.extend(small.into_iter().map(String::into_bytes));
        expected.extend([vec![b'y'; 100_000], b"behind".to_vec(), b"last".to_vec()]);
    }
    let written = Instant::now();
    outbox.wait_until_empty();
    let jobs = worker.wait_for(expected.len());
    let arrived: Vec<Vec<u8>> = jobs.into_iter().map(|job| job.workload).collect();
    assert!(arrived == expected, "they have overtaken each other");
    // Sooner than all ids are searched again.
    assert!(written.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_read_only_server_is_waited_for() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.write("f", ["1"]);
    outbox.execute("SET GLOBAL read_only = 1");
    let relay = outbox.relay(&gearmand.address());
    wait_until(PATIENCE, "the relay to wait", || {
        let log = relay.log();
        if log.contains("it is read-only") {
            Ok(())
        } else {
            Err(log)
        }
    });
    assert_eq!(worker.count(), 0);
    outbox.execute("SET GLOBAL read_only = 0");
    outbox.wait_until_empty();
    // A primary that becomes a replica while it is relayed from.
    outbox.execute("SET GLOBAL read_only = 1");
    wait_until(PATIENCE, "the relay to wait again", || {
        let log = relay.log();
        if log.matches("it is read-only").count() >= 2 {
            Ok(())
        } else {
            Err(log)
        }
    });
    outbox.execute("SET GLOBAL read_only = 0");
    outbox.write("f", ["2"]);
    assert_eq!(texts(&worker.wait_for(2)), ["1", "2"]);
}

#[test]
fn a_large_row_arrives_in_its_place() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let _relay = outbox.relay(&gearmand.address());
    outbox.execute("START TRANSACTION");
    outbox.write("f", ["1"]);
    let large = "INSERT INTO gman_outbox (`function`, workload) VALUES ('f', REPEAT('x', 64 << 20)), ('f', REPEAT('y', 100000))";
    match outbox.session.query_drop(large) {
        Err(mysql::Error::MySqlError(error)) if error.code == LARGER_THAN_THE_LOG => {
            unsupported!("{}", error.message)
        }
        result => result.expect("large rows"),
    }
    outbox.write("f", ["4"]);
    outbox.execute("COMMIT");
    outbox.wait_until_empty();
    let jobs = worker.wait_for(4);
    let sizes: Vec<usize> = jobs.iter().map(|job| job.workload.len()).collect();
    assert_eq!(sizes, [1, 64 << 20, 100_000, 1]);
}
