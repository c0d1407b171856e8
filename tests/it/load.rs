//! `gman load`: the rows that a table holds already become the jobs that its triggers would send.

mod keys;
mod order;
mod runs;

use mysql::prelude::Queryable;
use serde_json::value::RawValue;

use crate::support::{Gearmand, Gman, Job, RecordingWorker, gman_succeeds};
use crate::triggers::without_time;

/// A database with the functions, a job server, and a worker that records what arrives.
struct Path {
    gman: Gman,
    worker: RecordingWorker,
    gearmand: Gearmand,
    /// How many jobs the test has seen.
    seen: usize,
}

impl Path {
    fn start() -> Self {
        let gearmand = Gearmand::start();
        let worker = RecordingWorker::start(gearmand.port(), &["syncRowToRedis", "syncToRedis"]);
        let mut gman = Gman::start();
        gman.set_servers(&gearmand.address());
        Self {
            gman,
            worker,
            gearmand,
            seen: 0,
        }
    }

    /// Runs statements; `false` if the server does not have something in the first of them.
    fn try_execute(&mut self, statements: &[&str]) -> bool {
        for (at, sql) in statements.iter().enumerate() {
            match self.gman.session.query_drop(sql) {
                Err(mysql::Error::MySqlError(_)) if at == 0 => return false,
                done => done.unwrap_or_else(|error| panic!("{sql}: {error}")),
            }
        }
        true
    }

    fn create_triggers(&self, table: &str, options: &[&str]) {
        let arguments = [&["triggers", "--create", table], options].concat();
        gman_succeeds(&self.gman.database, &arguments);
    }

    /// Loads a table, with a job for each row; returns what was printed.
    fn load(&self, table: &str, options: &[&str]) -> String {
        self.load_in_lists(table, 1, options)
    }

    /// Loads a table, with so many rows in a job.
    fn load_in_lists(&self, table: &str, rows_per_job: u32, options: &[&str]) -> String {
        let rows_per_job = format!("--rows-per-job={rows_per_job}");
        let arguments = [&["load", table, &rows_per_job], options].concat();
        gman_succeeds(&self.gman.database, &arguments)
    }

    /// The workloads of the next jobs, of which there are so many.
    #[track_caller]
    fn jobs(&mut self, count: usize) -> Vec<String> {
        let jobs = self.workloads(count);
        let arrived = self.worker.wait_for(self.seen).len();
        assert_eq!(arrived, self.seen, "{jobs:?}");
        jobs.iter().map(|job| timeless(job)).collect()
    }

    /// The rows of the next jobs, job by job, of which there are so many together.
    #[track_caller]
    fn lists(&mut self, count: usize) -> Vec<Vec<String>> {
        let mut lists = Vec::new();
        while lists.iter().map(Vec::len).sum::<usize>() < count {
            lists.extend(self.workloads(1).iter().map(|job| rows(job)));
        }
        assert_eq!(
            lists.iter().map(Vec::len).sum::<usize>(),
            count,
            "{lists:?}"
        );
        lists
    }

    #[track_caller]
    fn workloads(&mut self, count: usize) -> Vec<String> {
        let jobs = self.worker.wait_for(self.seen + count);
        let jobs = &jobs[self.seen..][..count];
        self.seen += count;
        let text = |job: &Job| String::from_utf8(job.workload.clone()).expect("UTF-8");
        jobs.iter().map(text).collect()
    }
}

/// The rows of a job: itself, or the elements of a list.
#[track_caller]
fn rows(job: &str) -> Vec<String> {
    if !job.starts_with('[') {
        return vec![timeless(job)];
    }
    let rows: Vec<&RawValue> = serde_json::from_str(job).expect("a list");
    rows.iter().map(|row| timeless(row.get())).collect()
}

/// A job without the time of its change, which differs between a trigger and a load; a trigger written by
/// hand has none.
fn timeless(job: &str) -> String {
    match job.contains(r#","at":"#) {
        true => without_time(job.as_bytes()),
        false => job.to_owned(),
    }
}
