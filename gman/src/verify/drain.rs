//! Waits until the jobs that were handed over before have arrived: sends jobs of its own behind them, on
//! the same way, and waits until Redis has those.

use std::collections::BTreeSet;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use mysql::Conn;
use serde_json::json;

use super::cache::Cache;
use super::compare::Reader;
use super::options::Options;
use crate::connections::{Ask, refused};
use crate::error::{Error, Result};
use crate::rows::hand_over::Way;
use crate::rows::source::Source;
use crate::sql;
use crate::worker::version_key::version_key;

/// How many marks each Gearman function gets: a worker with several threads has them in several.
const MARKS: usize = 16;

/// How soon to look again.
const PAUSE: Duration = Duration::from_millis(10);

/// How much longer to wait than the marks took: other threads of the worker may be behind.
const GRACE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// The way that jobs of a table take.
#[derive(Debug)]
pub(super) struct Drain {
    way: Way,
    prefix: String,
    version_field: Option<String>,
    patience: Duration,
}

impl Drain {
    pub(super) fn new(options: &Options, source: &Source) -> Self {
        Self {
            way: source.way.clone(),
            prefix: options.rows.prefix.clone(),
            version_field: options.rows.version_field().map(str::to_owned),
            patience: Duration::from_secs(options.patience.into()),
        }
    }

    /// Waits for the jobs of these Gearman functions that were handed over until now.
    ///
    /// # Errors
    ///
    /// If the marks do not arrive.
    pub(super) fn wait(
        &self,
        conn: &mut Conn,
        cache: &mut Cache,
        reader: &Reader,
        functions: &BTreeSet<Vec<u8>>,
    ) -> Result {
        let began = Instant::now();
        let mut keys = Vec::new();
        for (at, function) in functions.iter().enumerate() {
            let is_keyed = reader.is_keyed(function);
            for mark in 0..MARKS {
                let key = format!("gman:verify:{}:{at}:{mark}", process::id());
                self.send(conn, function, is_keyed, &key)?;
                keys.push(format!("{}{key}", self.prefix));
            }
        }
        while !cache.have(&keys)?.iter().all(|there| *there) {
            if began.elapsed() > self.patience {
                return Err(Error::failed(format!(
                    "jobs do not arrive in Redis within {} s: is a worker running, and is this its Redis? \
                     gman status shows where they wait",
                    self.patience.as_secs()
                )));
            }
            thread::sleep(PAUSE);
        }
        cache.delete(&keys)?;
        if self.version_field.is_some() {
            let versions: Vec<_> = keys.iter().map(|key| version_key(key.as_bytes())).collect();
            cache.delete(&versions)?;
        }
        thread::sleep(began.elapsed().clamp(GRACE.0, GRACE.1));
        Ok(())
    }

    fn send(&self, conn: &mut Conn, function: &[u8], is_keyed: bool, key: &str) -> Result {
        let mut arguments = String::new();
        sql::push_bytes(&mut arguments, function);
        arguments.push_str(", ");
        sql::push_bytes(&mut arguments, self.workload(is_keyed, key).as_bytes());
        let statement = match &self.way {
            Way::Call(call) => format!("SELECT {call}({arguments}) IS NULL"),
            Way::Outbox(table) => {
                format!("INSERT INTO {table} (`function`, `workload`) VALUES ({arguments})")
            }
        };
        let failed: Option<bool> = conn
            .ask_first(statement)
            .map_err(|error| refused("send a job", &error))?;
        match failed {
            Some(true) => Err(Error::failed(
                "no job server takes a job; SELECT gman_check() says why",
            )),
            _ => Ok(()),
        }
    }

    fn workload(&self, is_keyed: bool, key: &str) -> String {
        let mut row = json!({ "id": key, "name": "1" });
        if let Some(field) = &self.version_field {
            row[field] = json!(1);
        }
        match is_keyed {
            true => json!({ "key": key, "row": row }).to_string(),
            false => row.to_string(),
        }
    }
}
