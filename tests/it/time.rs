//! What time does to the path of a change, in each delivery: clocks that are set, processes that stand still.

mod clocks;
mod frozen;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use crate::support::{
    Clock, Database, FUNCTION, Gearmand, Job, RecordingWorker, Redis, RedisWorker, RelayProcess,
    product_file, wait_until,
};

/// How long everything may take to arrive once nothing is wrong any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// `gman_timeout_ms`.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What a busy machine may add to a bound.
const SLACK: Duration = Duration::from_secs(2);

/// The Gearman function whose jobs are counted.
const COUNTED: &str = "f";

/// The ways of a job out of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Acked,
    Pipelined,
    Committed,
    /// Relayed by its event.
    Outbox,
    /// Relayed by `gman relay`.
    Relay,
}

impl Delivery {
    /// That of `gman_do_background`.
    fn setting(self) -> &'static str {
        match self {
            Self::Pipelined => "pipelined",
            Self::Committed => "committed",
            Self::Acked | Self::Outbox | Self::Relay => "acked",
        }
    }

    fn has_outbox(self) -> bool {
        matches!(self, Self::Outbox | Self::Relay)
    }
}

/// A row whose changes go to a worker that counts them, and to Redis.
struct Stage {
    delivery: Delivery,
    counter: RecordingWorker,
    /// What came before the job server was started again.
    before: Vec<Job>,
    relay: Option<RelayProcess>,
    worker: RedisWorker,
    redis: Redis,
    gearmand: Gearmand,
    database: Database,
}

impl Stage {
    /// All but Redis and the job server go by `clock`, if there is one; or says why this server cannot have
    /// the delivery.
    fn start(delivery: Delivery, clock: Option<&Clock>) -> Result<Self, String> {
        let builder = Database::builder().option("--event-scheduler=ON");
        let database = match clock {
            Some(clock) => builder.clock(clock),
            None => builder,
        }
        .start();
        let gearmand = Gearmand::start();
        let redis = Redis::start();
        let variables = clock.map(Clock::variables).unwrap_or_default();
        let worker = RedisWorker::with_variables(&gearmand, &redis, &variables);
        prepare(&database, delivery)?;
        let servers = gearmand.address();
        database.execute(&format!("SET GLOBAL gman_servers = '{servers}'"));
        let relay = (delivery == Delivery::Relay).then(|| {
            let options = [format!("--gearmand={servers}")];
            RelayProcess::of(&database, &options, &variables)
        });
        Ok(Self {
            delivery,
            counter: RecordingWorker::start(gearmand.port(), &[COUNTED]),
            before: Vec::new(),
            relay,
            worker,
            redis,
            gearmand,
            database,
        })
    }

    /// Waits until all of these jobs have arrived and Redis has the last change; nothing else may have
    /// arrived than what was tried.
    fn assert_whole(&self, changes: &Changes) {
        wait_until(PATIENCE, "what was promised to arrive", || {
            let arrived = self.arrived();
            match changes.promised.difference(&arrived).count() {
                0 => Ok(()),
                missing => Err(missing),
            }
        });
        let made_up: Vec<u32> = self.arrived().difference(&changes.tried).copied().collect();
        assert!(made_up.is_empty(), "{:?}: {made_up:?}", self.delivery);
        let last = changes.promised.last().copied().unwrap_or_default();
        wait_until(PATIENCE, "Redis to have the last change", || {
            let name = self
                .redis
                .get("1")
                .and_then(|name| name.parse::<u32>().ok());
            // One whose call failed may have gone through all the same.
            match name {
                Some(n) if n >= last => Ok(()),
                other => Err((other, last)),
            }
        });
    }

    /// Starts the job server again, without its jobs, and who counts them.
    fn restart_gearmand(&mut self) {
        let before = std::mem::take(&mut self.before);
        self.before = [before, self.counter.jobs()].concat();
        self.gearmand.restart();
        self.counter = RecordingWorker::start(self.gearmand.port(), &[COUNTED]);
    }

    fn arrived(&self) -> BTreeSet<u32> {
        let jobs = self.counter.jobs();
        self.before
            .iter()
            .chain(&jobs)
            .map(|job| {
                let text = String::from_utf8_lossy(&job.workload);
                text.parse().expect("a number")
            })
            .collect()
    }
}

/// The functions, the plugins that the delivery needs, the outbox if it needs that, and the table.
fn prepare(database: &Database, delivery: Delivery) -> Result<(), String> {
    database.install_functions();
    crate::committed::install_plugins(database)?;
    database.execute(&format!(
        "SET GLOBAL gman_delivery = '{}'",
        delivery.setting()
    ));
    match delivery {
        Delivery::Outbox => {
            database.execute("DROP FUNCTION gman_do_background");
            database.run_script(&product_file("sql/outbox.sql"));
        }
        Delivery::Relay => drop(database.run_script(&product_file("sql/outbox-plain.sql"))),
        Delivery::Acked | Delivery::Pipelined | Delivery::Committed => {}
    }
    database.execute("CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB");
    database.execute("INSERT INTO t VALUES (1, 0)");
    let (count, cache) = ("NEW.n", "json_object_udf(NEW.id, NEW.n AS name)");
    let body = match delivery.has_outbox() {
        true => format!(
            "INSERT INTO gman_outbox (`function`, workload)
             VALUES ('{COUNTED}', {count}), ('{FUNCTION}', {cache})"
        ),
        false => format!(
            "SET @cached = gman_do_background('{FUNCTION}', {cache}),
                 @answer = gman_do_background('{COUNTED}', {count})"
        ),
    };
    database.execute(&format!(
        "CREATE TRIGGER changed AFTER UPDATE ON t FOR EACH ROW BEGIN {body}; END"
    ));
    Ok(())
}

/// What was tried, and what the database promised to hand on.
#[derive(Debug, Default)]
struct Changes {
    tried: BTreeSet<u32>,
    promised: BTreeSet<u32>,
    /// How long the slowest took.
    slowest: Duration,
}

impl Changes {
    /// Changes the row once.
    fn make(&mut self, session: &mut Conn, delivery: Delivery) {
        let n = self.tried.last().map_or(1, |last| last + 1);
        self.tried.insert(n);
        let update = format!("UPDATE t SET n = {n} WHERE id = 1");
        let began = Instant::now();
        session
            .query_drop("SET @answer = NULL, @cached = NULL")
            .and_then(|()| session.query_drop(&update))
            .unwrap_or_else(|error| panic!("{delivery:?}: {update}: {error}"));
        self.slowest = self.slowest.max(began.elapsed());
        let answered: bool = session
            .query_first("SELECT @answer IS NOT NULL AND @cached IS NOT NULL")
            .expect("a query")
            .expect("a row");
        if answered || delivery.has_outbox() {
            self.promised.insert(n);
        }
    }
}
