//! `gman worker`, between a real job server and a real Redis.

mod cache;
mod cluster;
mod faults;
mod kinds;
mod lanes;
mod limits;
mod lists;
mod log;
mod metrics;
mod modes;
mod order;
mod partitions;
mod sentinel;
mod statistics;
mod tls;
mod versions;
mod wire;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use crate::support::{FUNCTION, Gearmand, Redis, RedisWorker, Submitter, wait_until};

const PATIENCE: Duration = Duration::from_secs(120);

type Hash = BTreeMap<String, String>;

/// How many hashes the jobs of [`marks`] write to.
const KEYS: u32 = 50;

/// Options that name the servers, and further ones.
fn options(gearmands: &[&Gearmand], redis: &Redis, more: &[&str]) -> Vec<String> {
    options_for(gearmands, &redis.address(), more)
}

/// The same for a Redis of any kind.
fn options_for(gearmands: &[&Gearmand], redis: &str, more: &[&str]) -> Vec<String> {
    let addresses: Vec<String> = gearmands.iter().map(|server| server.address()).collect();
    let mut options = vec![
        format!("--gearmand={}", addresses.join(",")),
        format!("--redis={redis}"),
    ];
    options.extend(more.iter().map(|option| (*option).to_owned()));
    options
}

/// A worker for one job server.
fn start(gearmand: &Gearmand, redis: &Redis, more: &[&str]) -> RedisWorker {
    RedisWorker::start_bare(&[gearmand], &options(&[gearmand], redis, more))
}

/// A worker for one job server and a Redis of any kind.
fn start_for(gearmand: &Gearmand, redis: &str, more: &[&str]) -> RedisWorker {
    RedisWorker::start_bare(&[gearmand], &options_for(&[gearmand], redis, more))
}

/// Jobs for `--mode=hash` that can be counted: job `n` leaves the field `n` in the hash of its key, and
/// writes its number into the field `last`, which tells whether they stayed in their order.
fn marks(of: &str, numbers: Range<u32>) -> impl Iterator<Item = String> {
    numbers.map(move |n| format!(r#"{{"id":"{}","{n}":1,"last":{n}}}"#, mark_key(of, n)))
}

fn mark_key(of: &str, n: u32) -> String {
    format!("{of}{}", n % KEYS)
}

/// What Redis has of the jobs that [`marks`] makes.
#[derive(Debug, PartialEq, Eq)]
struct Count {
    /// Jobs without an effect.
    lost: u32,
    /// Keys whose last change is not the last one that was submitted.
    stale: u32,
}

const ALL_IN_ORDER: Count = Count { lost: 0, stale: 0 };

fn count(redis: &Redis, of: &str, jobs: u32) -> Count {
    count_in(|key| redis.hash(key), of, jobs)
}

/// As [`count`], for whatever has the hashes.
fn count_in(mut hash: impl FnMut(&str) -> Hash, of: &str, jobs: u32) -> Count {
    let mut count = ALL_IN_ORDER;
    for key in 0..KEYS.min(jobs) {
        let mut numbers = (key..jobs).step_by(KEYS as usize);
        let hash = hash(&mark_key(of, key));
        let missing = |n: &u32| !hash.contains_key(&n.to_string());
        count.lost += u32::try_from(numbers.clone().filter(missing).count()).expect("a few");
        let last = numbers.next_back().map(|n| n.to_string());
        count.stale += u32::from(hash.get("last") != last.as_ref());
    }
    count
}

/// Waits until at least one of the jobs from number `from` on has been done: then the worker is in
/// the middle of them.
fn wait_for_a_mark(redis: &Redis, of: &str, from: u32) {
    wait_for_a_mark_in(|key| redis.hash(key), of, from);
}

/// As [`wait_for_a_mark`], for whatever has the hashes.
fn wait_for_a_mark_in(mut hash: impl FnMut(&str) -> Hash, of: &str, from: u32) {
    wait_until(PATIENCE, &format!("a job of {of} from {from} on"), || {
        let last = hash(&mark_key(of, from)).remove("last");
        match last.as_ref().and_then(|last| last.parse::<u32>().ok()) {
            Some(last) if last >= from => Ok(()),
            _ => Err(last),
        }
    });
}

fn wait_for_an_empty_queue(gearmand: &Gearmand, function: &str) {
    wait_until(PATIENCE, "all jobs to be finished", || {
        match gearmand.status()[function].queued {
            0 => Ok(()),
            queued => Err(queued),
        }
    });
}

fn wait_for_lines(worker: &RedisWorker, part: &str, lines: usize) {
    wait_until(PATIENCE, &format!("{lines} lines with {part}"), || {
        let log = worker.log();
        match log.matches(part).count() {
            found if found >= lines => Ok(()),
            _ => Err(log),
        }
    });
}

/// Submits one job and waits until it is finished.
fn run_job(gearmand: &Gearmand, function: &str, workload: &str) {
    Submitter::to(gearmand).submit(function, [workload.to_owned()]);
    wait_for_an_empty_queue(gearmand, function);
}

/// The number behind `name=` in the last statistics that the worker has printed.
fn statistic(worker: &RedisWorker, name: &str) -> f64 {
    let log = worker.log();
    let line = log.lines().rfind(|line| line.contains("statistics: "));
    line.and_then(|line| line.split(&format!(" {name}=")).nth(1))
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("no number {name} in the statistics:\n{log}"))
}

/// Submits the jobs of [`marks`].
fn submit_marks(gearmand: &Gearmand, of: &str, numbers: Range<u32>) {
    Submitter::to(gearmand).submit(FUNCTION, marks(of, numbers));
}
