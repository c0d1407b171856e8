//! The servers of a soak.

use std::sync::Arc;
use std::time::Duration;

use mysql::prelude::Queryable;

use crate::ledger::Ledger;
use crate::support::{
    Answer, Database, FUNCTION, Gearmand, Language, Port, Proxy, RecordingWorker, Redis,
    RedisWorker, product_file, wait_until,
};

/// The Gearman function whose jobs are counted.
const COUNTED: &str = "soak";

/// How many workers each job server has.
const WORKERS: usize = 2;

/// How long everything that was promised may take to arrive once nothing is wrong any more.
const PATIENCE: Duration = Duration::from_secs(300);

/// A gearmand that keeps its queue on disk, behind a wire that can be cut, with the workers that
/// count its jobs.
pub(crate) struct JobServer {
    pub(crate) gearmand: Gearmand,
    pub(crate) wire: Proxy,
    workers: Vec<RecordingWorker>,
    ledger: Arc<Ledger>,
}

impl JobServer {
    pub(crate) fn start(handles: &str, ledger: &Arc<Ledger>) -> Self {
        let gearmand = Gearmand::start_persistent(handles);
        let wire = Proxy::start(gearmand.port());
        let mut server = Self {
            gearmand,
            wire,
            workers: Vec::new(),
            ledger: Arc::clone(ledger),
        };
        server.start_workers();
        server
    }

    /// Jobs stay in gearmand from then on.
    pub(crate) fn stop_workers(&mut self) {
        self.workers.clear();
    }

    /// Starts gearmand again, with the jobs that it kept, and its workers.
    pub(crate) fn restart(&mut self) {
        self.gearmand.restart();
        self.start_workers();
    }

    fn start_workers(&mut self) {
        self.workers.extend((0..WORKERS).map(|_| {
            let ledger = Arc::clone(&self.ledger);
            RecordingWorker::answering(self.gearmand.port(), &[COUNTED], move |job| {
                ledger.arrive(&job.workload);
                Answer::Complete(Vec::new())
            })
        }));
    }

    fn queued(&self) -> u64 {
        self.gearmand.status().values().map(|f| f.queued).sum()
    }
}

/// Redis, with a worker at each of the job servers.
pub(crate) struct Cache {
    pub(crate) redis: Redis,
    _workers: Vec<RedisWorker>,
}

impl Cache {
    pub(crate) fn start(servers: &[JobServer]) -> Self {
        let redis = Redis::start();
        let worker = |server: &JobServer| {
            let options = ["--version-field=version"];
            RedisWorker::start_with(Language::Rust, &server.gearmand, &redis, &options)
        };
        Self {
            _workers: servers.iter().map(worker).collect(),
            redis,
        }
    }

    /// How many rows of `transactional` Redis does not have as the database has them.
    pub(crate) fn stale(&self, database: &Database) -> usize {
        let rows: Vec<(usize, usize)> =
            database.query("SELECT id, n FROM transactional WHERE n > 0");
        rows.iter()
            .filter(|(id, n)| self.redis.get(&id.to_string()) != Some(n.to_string()))
            .count()
    }
}

/// The lists of job servers that are set in turn: both orders, each alone, and behind one that is
/// not there.
pub(crate) fn lists(servers: &[JobServer], nobody: &Port) -> Vec<String> {
    let [first, second] = servers else {
        panic!("expected two job servers, got {}", servers.len());
    };
    let (first, second) = (first.wire.address(), second.wire.address());
    vec![
        format!("{first},{second}"),
        format!("{second},{first}"),
        format!("127.0.0.1:{},{first},{second}", nobody.number()),
        first,
        second,
    ]
}

/// A database with the plugin, and for each session a row in each of two tables, whose triggers
/// hand the changes on.
pub(crate) fn database(sessions: usize) -> Database {
    let database = Database::builder().option("--event-scheduler=ON").start();
    database.install_functions();
    database.execute("INSTALL PLUGIN gman SONAME 'libgearman_mysql_udf.so'");
    // It ends with an error, as the loadable gman_do_background is to stay.
    let outbox = database.try_script(&product_file("sql/outbox.sql"));
    let problem = outbox.expect_err("an error that says that the outbox is ready");
    assert!(
        problem.contains("The outbox is ready for INSERT"),
        "{problem}"
    );
    let rows: Vec<String> = (1..=sessions).map(|id| format!("({id}, 0)")).collect();
    for table in ["direct", "transactional"] {
        database.execute(&format!(
            "CREATE TABLE {table} (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB"
        ));
        database.execute(&format!("INSERT INTO {table} VALUES {}", rows.join(",")));
    }
    database.execute(&format!(
        "CREATE TRIGGER direct_changed AFTER UPDATE ON direct FOR EACH ROW BEGIN
           SET @delivery = @@GLOBAL.gman_delivery;
           SET @answer = gman_do_background('{COUNTED}', json_object_udf(NEW.id, NEW.n),
                                            CONCAT(NEW.id, ':', NEW.n));
         END"
    ));
    database.execute(&format!(
        "CREATE TRIGGER transactional_changed AFTER UPDATE ON transactional FOR EACH ROW
           INSERT INTO gman_outbox (`function`, workload)
           VALUES ('{COUNTED}', json_object_udf(NEW.id, NEW.n)),
                  ('{FUNCTION}', json_object_udf(NEW.id, NEW.n AS name, NEW.n AS version))"
    ));
    database
}

/// Waits until every job has left the database and the job servers.
pub(crate) fn settle(database: &Database, servers: &[JobServer]) {
    let mut session = database.connect();
    wait_until(PATIENCE, "the window and the outbox to be empty", || {
        let (window, outbox): (u64, u64) = session
            .query_first("SELECT gman_flush(1000), (SELECT depth FROM gman_outbox_status)")
            .expect("a query")
            .expect("a row");
        match (window, outbox) {
            (0, 0) => Ok(()),
            left => Err(left),
        }
    });
    wait_until(PATIENCE, "the job servers to be empty", || {
        let left: u64 = servers.iter().map(JobServer::queued).sum();
        if left == 0 { Ok(()) } else { Err(left) }
    });
}
