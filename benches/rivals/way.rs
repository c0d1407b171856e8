//! The ways of a changed row to Redis.

use std::path::PathBuf;
use std::process::Command;

use super::foreign;
use super::running::Running;
use super::servers::Configuration;
use crate::support::{Database, FUNCTION, Gearmand, Language, Redis, RedisWorker, RelayProcess};
use crate::{job_server, outbox_event};

/// The row as JSON, as the tutorial's trigger has it.
const JSON: &str = "json_object_udf(NEW.id AS `id`, NEW.name AS `name`)";

/// One of them.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) configuration: Configuration,
    path: Path,
}

enum Path {
    /// Nothing is brought to Redis.
    Nowhere,
    /// The trigger builds the JSON, and nothing else.
    Json,
    /// A trigger, gearmand and a worker.
    Gearman {
        delivery: &'static str,
        rows_per_job: u32,
        worker: Language,
    },
    /// A trigger, the outbox with its event, gearmand and `gman worker`.
    Event,
    /// The same with `gman relay`.
    Relay,
    /// Another process asks the server for changes.
    Reader(Reader),
}

#[derive(Clone, Copy)]
enum Reader {
    /// `binlog_reader.rs`
    Binlog,
    /// `poller.rs`
    Poller,
    /// `reader.py`
    Python,
    /// `zongji.mjs` with the package of this name.
    Node(&'static str),
}

pub(crate) const COMMITTED: &str = "committed";
pub(crate) const LISTS: &str = "committed, 500 rows in a job";
pub(crate) const BINLOG_READER: &str = "binary log, Rust";
pub(crate) const LOG_ALONE: &str = "nothing, with a binary log";

/// All of them. What is compared most stands side by side.
pub(crate) static WAYS: [Way; 17] = {
    use Configuration::*;
    const fn way(name: &'static str, configuration: Configuration, path: Path) -> Way {
        Way {
            name,
            configuration,
            path,
        }
    }
    const fn ours(delivery: &'static str, rows_per_job: u32) -> Path {
        Path::Gearman {
            delivery,
            rows_per_job,
            worker: Language::Rust,
        }
    }
    const PHP: Path = Path::Gearman {
        delivery: "acked",
        rows_per_job: 1,
        worker: Language::Php,
    };
    const fn node(package: &'static str) -> Path {
        Path::Reader(Reader::Node(package))
    }
    [
        way("nothing", Plain, Path::Nowhere),
        way(LOG_ALONE, Logging, Path::Nowhere),
        way("only the JSON", Library, Path::Json),
        way(BINLOG_READER, Logging, Path::Reader(Reader::Binlog)),
        way(COMMITTED, Library, ours("committed", 1)),
        way(LISTS, Library, ours("committed", 500)),
        way("pipelined", Library, ours("pipelined", 1)),
        way("acked", Library, ours("acked", 1)),
        way("acked, worker.php", Library, PHP),
        way(
            "committed, binary log on",
            LibraryLogging,
            ours("committed", 1),
        ),
        way("outbox, event", Outbox, Path::Event),
        way("outbox, event woken", OutboxWoken, Path::Event),
        way("outbox, gman relay", OutboxRelay, Path::Relay),
        way(
            "binary log, @vlasky/zongji",
            Logging,
            node("@vlasky/zongji"),
        ),
        way(
            "binary log, @powersync/mysql-zongji",
            Logging,
            node("@powersync/mysql-zongji"),
        ),
        way(
            "binary log, mysql-replication",
            Logging,
            Path::Reader(Reader::Python),
        ),
        way("polling updated_at", Polled, Path::Reader(Reader::Poller)),
    ]
};

impl Way {
    /// Whether rows reach Redis by it.
    pub(crate) fn has_redis(&self) -> bool {
        !matches!(self.path, Path::Nowhere | Path::Json)
    }

    /// Whether the library has a part in it.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(
            self.path,
            Path::Gearman {
                worker: Language::Rust,
                ..
            } | Path::Event
                | Path::Relay
        )
    }

    /// Starts whatever it needs beside the server; or says why that cannot be had.
    pub(crate) fn start<'a>(&self, database: &'a Database) -> Result<Running<'a>, String> {
        set_trigger(database, self.trigger().as_deref());
        let mut running = Running::beside(database);
        if !self.has_redis() {
            return Ok(running);
        }
        let redis = Redis::start();
        match self.path {
            Path::Nowhere | Path::Json => {}
            Path::Gearman {
                delivery,
                rows_per_job,
                worker,
            } => {
                let gearmand = job_server::start();
                set_global(database, "gman_delivery", &format!("'{delivery}'"));
                set_global(database, "gman_rows_per_job", &rows_per_job.to_string());
                running.worker = Some(start_worker(database, worker, &gearmand, &redis));
                running.gearmand = Some(gearmand);
            }
            Path::Event => {
                let gearmand = job_server::start();
                running.worker = Some(start_worker(database, Language::Rust, &gearmand, &redis));
                running.gearmand = Some(gearmand);
                outbox_event::start(database);
            }
            Path::Relay => {
                let gearmand = job_server::start();
                running.worker = Some(start_worker(database, Language::Rust, &gearmand, &redis));
                running.relay = Some(RelayProcess::between(database, &gearmand));
                running.gearmand = Some(gearmand);
            }
            Path::Reader(reader) => running.start_reader(reader.command(database, &redis)?),
        }
        running.redis = Some(redis);
        running.wait_until_it_works()?;
        Ok(running)
    }

    /// Ends it; nothing is left of it in the server.
    pub(crate) fn stop(&self, running: Running<'_>) {
        if matches!(self.path, Path::Event) {
            outbox_event::stop(running.database());
        }
    }

    fn trigger(&self) -> Option<String> {
        match self.path {
            Path::Nowhere | Path::Reader(_) => None,
            Path::Json => Some(format!("SET @r = {JSON}")),
            Path::Gearman { .. } => {
                Some(format!("SET @r = gman_do_background('{FUNCTION}', {JSON})"))
            }
            Path::Event | Path::Relay => Some(format!(
                "INSERT INTO gman_outbox (`function`, workload) VALUES ('{FUNCTION}', {JSON})"
            )),
        }
    }
}

impl Reader {
    fn command(self, database: &Database, redis: &Redis) -> Result<Command, String> {
        let ourselves = |program: &str| {
            let mut command = Command::new(this_program());
            command.arg(program);
            command
        };
        let (mut command, redis) = match self {
            Self::Binlog => (ourselves("binlog-reader"), redis.address()),
            Self::Poller => (ourselves("poller"), redis.address()),
            Self::Python => (foreign::python()?, redis.port().to_string()),
            Self::Node(package) => {
                let mut command = foreign::node()?;
                command.arg(package);
                (command, redis.port().to_string())
            }
        };
        command.arg(database.socket()).arg(redis);
        Ok(command)
    }
}

fn this_program() -> PathBuf {
    std::env::current_exe().expect("a program knows its own path")
}

fn set_trigger(database: &Database, statement: Option<&str>) {
    database.execute("DROP TRIGGER IF EXISTS changed");
    if let Some(statement) = statement {
        database.execute(&format!(
            "CREATE TRIGGER changed AFTER UPDATE ON t FOR EACH ROW {statement}"
        ));
    }
}

fn set_global(database: &Database, variable: &str, value: &str) {
    database.execute(&format!("SET GLOBAL {variable} = {value}"));
}

/// A worker of this job server, which the database server submits to from now on.
fn start_worker(
    database: &Database,
    language: Language,
    gearmand: &Gearmand,
    redis: &Redis,
) -> RedisWorker {
    let servers = format!("'{}'", gearmand.address());
    set_global(database, "gman_servers", &servers);
    RedisWorker::start_with(language, gearmand, redis, &[])
}
