//! The servers of a soak.

use std::sync::Arc;
use std::time::Duration;

use mysql::prelude::Queryable;
use redis::Commands;

use crate::faults::{self, Settings};
use crate::ledger::Ledger;
use crate::samples::Watched;
use crate::support::{
    Answer, Certificates, Database, FUNCTION, Gearmand, Port, Proxy, RecordingWorker, RedisCluster,
    RedisWorker, RelayProcess, Stunnel, product_file, wait_until,
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
    /// TLS in front of the wire.
    pub(crate) tls: Stunnel,
    workers: Vec<RecordingWorker>,
    ledger: Arc<Ledger>,
}

impl JobServer {
    pub(crate) fn start(handles: &str, ledger: &Arc<Ledger>, certificates: &Certificates) -> Self {
        let gearmand = Gearmand::start_persistent(handles);
        let wire = Proxy::start(gearmand.port());
        let mut server = Self {
            tls: Stunnel::start(certificates, wire.port()),
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

/// The workers that bring the changes of outboxes to Redis: one at each job server, the second over TLS.
pub(crate) fn redis_workers(
    [first, second]: &[JobServer; 2],
    redis: &RedisCluster,
    certificates: &Certificates,
) -> [RedisWorker; 2] {
    let start = |server: &JobServer, connection: Vec<String>| {
        let mut options = vec![
            format!("--redis={}", redis.url()),
            "--version-field=version".to_owned(),
        ];
        options.extend(connection);
        RedisWorker::start_bare(&[&server.gearmand], &options)
    };
    let plain = vec![format!("--gearmand={}", first.gearmand.address())];
    let tls = over_tls(&second.tls.address(), certificates);
    [start(first, plain), start(second, tls)]
}

/// The options with which `gman` reaches these job servers over TLS.
fn over_tls(addresses: &str, certificates: &Certificates) -> Vec<String> {
    vec![
        format!("--gearmand={addresses}"),
        format!("--gearmand-ca={}", certificates.path("ca.pem")),
    ]
}

/// A database server whose triggers hand changes on.
pub(crate) struct Source {
    pub(crate) name: &'static str,
    pub(crate) database: Database,
    pub(crate) settings: Settings,
    /// What relays its outbox, if that is not its event.
    pub(crate) relay: Option<RelayProcess>,
}

impl Source {
    /// Speaks plain text to the job servers; an event relays its outbox.
    pub(crate) fn plain(sessions: usize, servers: &[JobServer; 2], nobody: &Port) -> Self {
        let database = database("--event-scheduler=ON");
        // It ends with an error, as the loadable gman_do_background is to stay.
        let outbox = database.try_script(&product_file("sql/outbox.sql"));
        let problem = outbox.expect_err("an error that says that the outbox is ready");
        assert!(
            problem.contains("The outbox is ready for INSERT"),
            "{problem}"
        );
        create_tables(&database, sessions);
        let addresses = servers.each_ref().map(|server| server.wire.address());
        let source = Self {
            name: "database",
            settings: faults::settings(&lists(&addresses, nobody)),
            database,
            relay: None,
        };
        faults::calm(&source);
        source
    }

    /// Speaks TLS to the job servers; so does `gman relay`, which relays its outbox.
    pub(crate) fn over_tls(
        sessions: usize,
        servers: &[JobServer; 2],
        nobody: &Port,
        certificates: &Certificates,
    ) -> Self {
        let database = database("--event-scheduler=OFF");
        let ca = certificates.path("ca.pem");
        database.execute(&format!("SET GLOBAL gman_tls_ca = '{ca}'"));
        database.run_script(&product_file("sql/outbox-plain.sql"));
        create_tables(&database, sessions);
        let addresses = servers.each_ref().map(|server| server.tls.address());
        let source = Self {
            name: "database, TLS",
            settings: faults::settings(&lists(&addresses, nobody)),
            relay: Some(RelayProcess::of(
                &database,
                &over_tls(&addresses.join(","), certificates),
                &[],
            )),
            database,
        };
        faults::calm(&source);
        source
    }

    /// How many jobs are in its window and its outbox.
    fn waiting(&self) -> (u64, u64) {
        let mut session = self.database.connect();
        session
            .query_first("SELECT gman_flush(1000), (SELECT depth FROM gman_outbox_status)")
            .expect("a query")
            .expect("a row")
    }

    /// How many rows of its outbox were given up.
    pub(crate) fn dead(&self) -> u64 {
        self.database.value("SELECT dead FROM gman_outbox_status")
    }

    /// How many rows of `transactional` Redis does not have as the database has them.
    pub(crate) fn stale(&self, redis: &RedisCluster) -> usize {
        let mut redis = redis.connect();
        let rows: Vec<(usize, usize)> = self
            .database
            .query("SELECT id, n FROM transactional WHERE n > 0");
        rows.iter()
            .filter(|(id, n)| {
                let value: Option<usize> = redis
                    .get(id)
                    .unwrap_or_else(|error| panic!("GET {id}: {error}"));
                value != Some(*n)
            })
            .count()
    }
}

/// Everything that must not grow: the database servers first.
pub(crate) fn watched<'a>(
    sources: &'a [Source],
    workers: &'a [RedisWorker; 2],
) -> Vec<Watched<'a>> {
    let databases = sources.iter().map(|source| Watched {
        name: source.name,
        process: source.database.process(),
    });
    let [plain, tls] = workers;
    let workers = [("worker", plain), ("worker, TLS", tls)].map(|(name, worker)| Watched {
        name,
        process: worker.process(),
    });
    let relays = sources.iter().flat_map(|source| &source.relay);
    let relays = relays.map(|relay| Watched {
        name: "relay, TLS",
        process: relay.process(),
    });
    databases.chain(workers).chain(relays).collect()
}

/// The lists of job servers that are set in turn: both orders, each alone, and behind one that is
/// not there.
fn lists([first, second]: &[String; 2], nobody: &Port) -> Vec<String> {
    vec![
        format!("{first},{second}"),
        format!("{second},{first}"),
        format!("127.0.0.1:{},{first},{second}", nobody.number()),
        first.clone(),
        second.clone(),
    ]
}

/// A database with both plugins, and the binary log that `gman_commit_wait` needs.
fn database(event_scheduler: &str) -> Database {
    let database = Database::builder()
        .option("--log-bin=log")
        .option("--server-id=1")
        .option("--sync-binlog=0")
        .option(event_scheduler)
        .start();
    database.install_functions();
    for plugin in ["gman", "gman_commit"] {
        database.execute(&format!(
            "INSTALL PLUGIN {plugin} SONAME 'libgearman_mysql_udf.so'"
        ));
    }
    database
}

/// For each session a row in each of two tables, whose triggers hand the changes on.
fn create_tables(database: &Database, sessions: usize) {
    let rows: Vec<String> = (1..=sessions).map(|id| format!("({id}, 0)")).collect();
    for table in ["direct", "transactional"] {
        database.execute(&format!(
            "CREATE TABLE {table} (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB"
        ));
        database.execute(&format!("INSERT INTO {table} VALUES {}", rows.join(",")));
    }
    database.execute(&format!(
        "CREATE TRIGGER direct_changed AFTER UPDATE ON direct FOR EACH ROW BEGIN
           SET @before = @@GLOBAL.gman_delivery, @after = NULL;
           SET @answer = gman_do_background('{COUNTED}', json_object_udf(NEW.id, NEW.n),
                                            CONCAT(NEW.id, ':', NEW.n));
           SET @after = @@GLOBAL.gman_delivery;
         END"
    ));
    database.execute(&format!(
        "CREATE TRIGGER transactional_changed AFTER UPDATE ON transactional FOR EACH ROW
           INSERT INTO gman_outbox (`function`, workload)
           VALUES ('{COUNTED}', json_object_udf(NEW.id, NEW.n)),
                  ('{FUNCTION}', json_object_udf(NEW.id, NEW.n AS name, NEW.n AS version))"
    ));
}

/// Waits until every job has left the databases and the job servers.
pub(crate) fn settle(sources: &[Source], servers: &[JobServer]) {
    for source in sources {
        wait_until(
            PATIENCE,
            "the window and the outbox to be empty",
            || match source.waiting() {
                (0, 0) => Ok(()),
                left => Err((source.name, left)),
            },
        );
    }
    wait_until(PATIENCE, "the job servers to be empty", || {
        let left: u64 = servers.iter().map(JobServer::queued).sum();
        if left == 0 { Ok(()) } else { Err(left) }
    });
}
