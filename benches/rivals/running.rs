//! What runs beside a database server while a way is measured.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use redis::Commands;
use tempfile::TempDir;

use super::servers::PROBE;
use crate::support::{Database, Gearmand, Process, Redis, RedisWorker, RelayProcess};

/// How long a way may take to bring its first row to Redis.
const PATIENCE: Duration = Duration::from_secs(15);

/// What has not come after this time without anything else is lost.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

/// All processes together are idle if they take no more than this of the processor ...
const IDLE: Duration = Duration::from_millis(20);

/// ... in this time.
const IDLE_FOR: Duration = Duration::from_millis(100);

/// How many rows are compared at once.
const COMPARED: usize = 1000;

/// The processes, in the order in which they end.
pub(crate) struct Running<'a> {
    reader: Option<(Process, TempDir)>,
    pub(crate) relay: Option<RelayProcess>,
    pub(crate) worker: Option<RedisWorker>,
    pub(crate) gearmand: Option<Gearmand>,
    pub(crate) redis: Option<Redis>,
    database: &'a Database,
}

impl<'a> Running<'a> {
    pub(crate) fn beside(database: &'a Database) -> Self {
        Self {
            reader: None,
            relay: None,
            worker: None,
            gearmand: None,
            redis: None,
            database,
        }
    }

    pub(crate) fn database(&self) -> &'a Database {
        self.database
    }

    pub(crate) fn start_reader(&mut self, command: Command) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let process = Process::start(command, &folder.path().join("log"));
        self.reader = Some((process, folder));
    }

    /// Changes a row until one of its values is in Redis, then waits for the last one.
    pub(crate) fn wait_until_it_works(&mut self) -> Result<(), String> {
        let mut session = self.database.connect();
        let mut redis = self.redis().connect();
        let began = Instant::now();
        let mut changes = 0;
        let mut found: Option<String> = None;
        while found.is_none() || found != Some(changes.to_string()) {
            if found.is_none() {
                changes += 1;
                session
                    .query_drop(format!(
                        "UPDATE t SET name = '{changes}' WHERE id = {PROBE}"
                    ))
                    .expect("an UPDATE");
            }
            thread::sleep(Duration::from_millis(20));
            found = redis.get(PROBE).expect("GET");
            let has_ended = self
                .reader
                .as_mut()
                .is_some_and(|(process, _)| process.exit_status().is_some());
            if has_ended || began.elapsed() > PATIENCE {
                return Err(self.problem());
            }
        }
        Ok(())
    }

    fn problem(&self) -> String {
        let log = self.reader.as_ref().map(|(process, _)| process.log());
        let log = log.unwrap_or_default();
        match log.lines().rfind(|line| !line.trim().is_empty()) {
            Some(line) => format!("no row came to Redis; its log ends with: {line}"),
            None => "no row came to Redis, and it printed nothing".to_owned(),
        }
    }

    pub(crate) fn redis(&self) -> &Redis {
        self.redis.as_ref().expect("a way with a Redis")
    }

    /// Empties Redis, so that the next rows are seen to come.
    pub(crate) fn forget(&self) {
        if let Some(redis) = &self.redis {
            let _: String = redis.command(&["FLUSHALL"]).expect("FLUSHALL");
        }
    }

    /// The processor time that all processes have taken so far.
    pub(crate) fn processor_time(&self) -> Duration {
        let others = [
            self.reader
                .as_ref()
                .map(|(process, _)| process.processor_time()),
            self.relay.as_ref().map(RelayProcess::processor_time),
            self.worker.as_ref().map(RedisWorker::processor_time),
            self.gearmand.as_ref().map(Gearmand::processor_time),
            self.redis.as_ref().map(Redis::processor_time),
        ];
        self.database.processor_time() + others.into_iter().flatten().sum::<Duration>()
    }

    /// Until everything that followed from the changes has been done: InnoDB removes old rows later.
    pub(crate) fn wait_until_idle(&self) {
        let began = Instant::now();
        let mut before = self.processor_time();
        loop {
            thread::sleep(IDLE_FOR);
            let now = self.processor_time();
            if now - before <= IDLE || began.elapsed() > PATIENCE {
                return;
            }
            before = now;
        }
    }

    /// Waits until Redis has so many keys; returns when the last one came. Fewer are there if some were lost.
    pub(crate) fn wait_for_keys(&self, wanted: u32) -> Instant {
        let mut redis = self.redis().connect();
        let (mut keys, mut came) = (0, Instant::now());
        while keys < wanted && came.elapsed() < GRACE {
            thread::sleep(Duration::from_millis(2));
            let now: u32 = redis::cmd("DBSIZE").query(&mut redis).expect("DBSIZE");
            if now != keys {
                (keys, came) = (now, Instant::now());
            }
        }
        came
    }

    /// How many of the rows 1 ... `rows` Redis has not as the table has them.
    pub(crate) fn lost(&self, rows: u32) -> usize {
        let mut session = self.database.connect();
        let query = format!("SELECT id, name FROM t WHERE id BETWEEN 1 AND {rows}");
        let rows: Vec<(u32, String)> = session.query(query).expect("rows");
        let mut redis = self.redis().connect();
        rows.chunks(COMPARED)
            .map(|rows| {
                let keys: Vec<u32> = rows.iter().map(|(id, _)| *id).collect();
                let found: Vec<Option<String>> = redis.mget(keys).expect("MGET");
                let both = rows.iter().zip(&found);
                both.filter(|((_, name), found)| found.as_ref() != Some(name))
                    .count()
            })
            .sum()
    }
}
