//! `gman_relay`, and the outbox of `sql/outbox.sql` with its event.

mod clocks;
mod confirmation;
mod disk;
mod faults;
mod locks;
mod relay;
mod stuck;
mod transactions;
mod wake;
mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use mysql::Conn;
use mysql::prelude::{FromRow, Queryable};

use crate::support::{Database, DatabaseBuilder, Gearmand, product_file, wait_until};

/// How long a test waits for the relay; it polls every 50 ms, after a failure more seldom, and is
/// started every second.
const PATIENCE: Duration = Duration::from_secs(60);

/// A database with an outbox, relaying to nobody yet.
pub(crate) struct Outbox {
    pub(crate) database: Database,
    pub(crate) session: Conn,
}

/// A row of `gman_outbox_status`.
#[derive(Debug)]
struct Status {
    depth: u64,
    oldest_seconds: Option<f64>,
    dead: u64,
    is_failing: bool,
    last_error: Option<String>,
}

impl Outbox {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With options of the server.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        let mut builder = Database::builder();
        for option in options {
            builder = builder.option(*option);
        }
        Self::on(builder)
    }

    fn on(builder: DatabaseBuilder) -> Self {
        let database = builder.option("--event-scheduler=ON").start();
        database.install_functions();
        database.execute("DROP FUNCTION gman_do_background");
        database.run_script(&product_file("sql/outbox.sql"));
        let session = database.connect();
        Self { database, session }
    }

    pub(crate) fn set_servers(&mut self, servers: &str) {
        let set: Option<String> = self
            .session
            .query_first(format!("SELECT gman_servers_set('{servers}')"))
            .unwrap_or_else(|error| panic!("gman_servers_set: {error}"));
        assert_eq!(set.as_deref(), Some(servers));
    }

    pub(crate) fn execute(&mut self, sql: &str) {
        self.session
            .query_drop(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    fn query<T: FromRow>(&mut self, sql: &str) -> Vec<T> {
        self.session
            .query(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The table `t` with the rows 1 ... `rows`, whose updates leave `id:n` for the function `f`.
    pub(crate) fn create_table(&mut self, rows: u32) {
        self.execute("CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB");
        let ids: Vec<u32> = (1..=rows).collect();
        for ids in ids.chunks(1000) {
            let rows: Vec<String> = ids.iter().map(|id| format!("({id}, 0)")).collect();
            self.execute(&format!("INSERT INTO t VALUES {}", rows.join(",")));
        }
        self.execute(
            "CREATE TRIGGER changed AFTER UPDATE ON t FOR EACH ROW
             SET @handle = gman_do_background('f', CONCAT(NEW.id, ':', NEW.n))",
        );
    }

    fn status(&self) -> Status {
        let rows = self.database.query(
            "SELECT depth, oldest_seconds, dead, failing_since IS NOT NULL, last_error
               FROM gman_outbox_status",
        );
        let (depth, oldest_seconds, dead, is_failing, last_error) =
            rows.into_iter().next().expect("a row");
        Status {
            depth,
            oldest_seconds,
            dead,
            is_failing,
            last_error,
        }
    }

    /// Waits for a status that the test wants to see.
    #[track_caller]
    fn wait_for_status(&self, what: &str, is_it: impl Fn(&Status) -> bool) -> Status {
        wait_until(PATIENCE, what, || {
            let status = self.status();
            if is_it(&status) {
                Ok(status)
            } else {
                Err(status)
            }
        })
    }

    /// Switches the event scheduler off, and waits until no relay is at work: one that runs goes on
    /// to its end, and so does the one that waits for it.
    fn stop_relay(&mut self) {
        self.execute("SET GLOBAL event_scheduler = OFF");
        wait_until(PATIENCE, "the relays to end", || {
            let events: Vec<u64> = self.query(
                "SELECT COUNT(*) FROM information_schema.processlist WHERE command = 'Connect'",
            );
            if events == [0] { Ok(()) } else { Err(events) }
        });
    }

    fn start_relay(&mut self) {
        self.execute("SET GLOBAL event_scheduler = ON");
    }

    /// Waits until nothing waits.
    #[track_caller]
    pub(crate) fn drain(&self) {
        self.wait_for_status("the outbox to be empty", |status| status.depth == 0);
    }
}

/// The workloads of jobs as text.
fn texts(jobs: &[crate::support::Job]) -> Vec<String> {
    jobs.iter()
        .map(|job| String::from_utf8_lossy(&job.workload).into_owned())
        .collect()
}

/// Starts an outbox that relays to a gearmand, which has no jobs.
fn outbox_and_gearmand() -> (Outbox, Gearmand) {
    let gearmand = Gearmand::start();
    let mut outbox = Outbox::start();
    outbox.set_servers(&gearmand.address());
    (outbox, gearmand)
}

/// The changes `id:n` of each row, in the order of their arrival, without immediate repetitions.
fn changes_of_rows(texts: &[String]) -> BTreeMap<u32, Vec<u32>> {
    let mut rows: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for text in texts {
        let (id, n) = text.split_once(':').expect("id:n");
        let (id, n) = (id.parse().expect("an id"), n.parse().expect("a number"));
        let row = rows.entry(id).or_default();
        if row.last() != Some(&n) {
            row.push(n);
        }
    }
    rows
}
