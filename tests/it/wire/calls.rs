//! Calls of the library's functions, in each delivery.

use std::collections::{BTreeSet, HashSet};
use std::thread;
use std::time::Duration;

use mysql::prelude::Queryable;

use super::{FAULTS, MEMORY_BYTES, PATIENCE, SLACK, keeps_requests, restart, times};
use crate::support::{
    Answer, FILE_NAME, Fault, FaultyWire, Gearmand, Gman, RecordingWorker, unsupported, wait_until,
};

const TIMEOUT_MS: u64 = 500;
const DO_TIMEOUT_MS: u64 = 700;

/// How many calls may pass without the fault coming often enough.
const MOST_CALLS: u32 = 200;

/// How many calls go to a server that was set anew: one that has failed is left alone for a while.
const FRESH: u32 = 10;

/// How long between two calls that wait for nothing.
const PACE: Duration = Duration::from_millis(2);

/// A job server, a worker that does its jobs, and a database at the other end of the wire.
struct Stage {
    gman: Gman,
    wire: FaultyWire,
    worker: RecordingWorker,
    /// The number of the next job.
    next: u32,
    gearmand: Gearmand,
}

/// A worker whose results add up.
fn worker(gearmand: &Gearmand) -> RecordingWorker {
    RecordingWorker::answering(gearmand.port(), &["f"], |_| Answer::Complete(b"7".to_vec()))
}

impl Stage {
    fn start() -> Self {
        let gearmand = Gearmand::start();
        let worker = worker(&gearmand);
        let wire = FaultyWire::start(gearmand.port());
        let mut gman = Gman::with_switches();
        gman.set("gman_timeout_ms", TIMEOUT_MS);
        gman.set("gman_do_timeout_ms", DO_TIMEOUT_MS);
        gman.set("gman_on_failure", "null");
        gman.set_servers(&wire.address());
        Self {
            gman,
            wire,
            worker,
            next: 0,
            gearmand,
        }
    }

    /// Calls, and asserts that it does not take longer than it may; the value.
    fn call(&mut self, call: &str, limit_ms: u64) -> Option<Vec<u8>> {
        let called = self.gman.call(call);
        let limit = Duration::from_millis(limit_ms) + SLACK;
        assert!(called.took < limit, "{call}: {:?}", called.took);
        let value = called
            .answer
            .unwrap_or_else(|error| panic!("{call}: {error}"));
        if value.is_none() {
            // A fresh chance for the server, or the calls that follow would not try it.
            self.gman.set_servers(&self.wire.address());
        }
        value
    }

    /// Submits the next job; its number, if the call says that it will arrive.
    fn submit(&mut self) -> Option<u32> {
        let number = self.next;
        self.next += 1;
        let call = format!("gman_do_background('f', '{number}', 'n{number}')");
        self.call(&call, TIMEOUT_MS).map(|_| number)
    }

    /// The numbers that have arrived, in the order in which they did for the first time.
    fn arrived(&self) -> Vec<u32> {
        let mut seen = HashSet::new();
        let jobs = self.worker.jobs();
        jobs.iter()
            .filter_map(|job| str::from_utf8(&job.workload).ok()?.parse().ok())
            .filter(|number| seen.insert(*number))
            .collect()
    }

    /// Makes the wire a good one, and gives the server a fresh chance.
    fn mend(&mut self, fault: Fault) {
        self.wire.mend();
        if !keeps_requests(fault) {
            restart(&mut self.gearmand);
            self.worker = worker(&self.gearmand);
        }
        self.gman.set_servers(&self.wire.address());
    }

    /// Submits over a wire with this fault, and then over a good one; every job that will arrive, does.
    fn survive(&mut self, delivery: &str, fault: Fault, once_in: u32) {
        let before = self.gman.database.rss_bytes();
        let mut promised = BTreeSet::new();
        self.wire.fail(fault, once_in);
        let first = self.next;
        while self.wire.faults() < times() && self.next < first + MOST_CALLS {
            promised.extend(self.submit());
            if self.next.is_multiple_of(FRESH) {
                self.gman.set_servers(&self.wire.address());
            }
            thread::sleep(PACE);
        }
        let faults = self.wire.faults();
        self.mend(fault);
        wait_until(PATIENCE, "a call over the good wire to succeed", || {
            self.submit()
                .ok_or(fault)
                .map(|number| promised.insert(number))
        });
        let flushed = self.gman.call("gman_flush(30000)").text();
        assert_eq!(flushed, "0", "{delivery}, {fault:?}");
        println!(
            "{delivery}, {fault:?}: {faults} times; {} of {} jobs promised",
            promised.len(),
            self.next - first
        );
        assert!(faults > 0, "{delivery}: {fault:?} never came");
        if keeps_requests(fault) {
            wait_until(PATIENCE, "every job to arrive", || {
                let arrived: BTreeSet<u32> = self.arrived().into_iter().collect();
                match promised.difference(&arrived).count() {
                    0 => Ok(()),
                    missing => Err((delivery, fault, missing)),
                }
            });
        }
        let grown = self.gman.database.rss_bytes().saturating_sub(before);
        assert!(grown < MEMORY_BYTES, "{fault:?}: {grown} bytes");
    }

    /// As [`Stage::survive`], with every fault.
    fn survive_all(&mut self, delivery: &str) {
        self.gman.set("gman_delivery", delivery);
        for (fault, once_in) in FAULTS {
            self.survive(delivery, fault, once_in);
        }
    }
}

#[test]
fn no_fault_of_the_wire_loses_an_acknowledged_job() {
    Stage::start().survive_all("acked");
}

#[test]
fn no_fault_of_the_wire_loses_a_pipelined_job() {
    Stage::start().survive_all("pipelined");
}

#[test]
fn no_fault_of_the_wire_loses_a_committed_job() {
    let mut stage = Stage::start();
    let install = format!("INSTALL PLUGIN gman_commit SONAME '{FILE_NAME}'");
    if stage.gman.session.query_drop(install).is_err() {
        unsupported!("the server cannot have the plugin gman_commit");
    }
    stage.survive_all("committed");
}

#[test]
fn no_fault_of_the_wire_gives_a_wrong_result_or_makes_a_call_outlive_its_timeout() {
    let mut stage = Stage::start();
    stage
        .gman
        .execute("CREATE TABLE three (id INT PRIMARY KEY)");
    stage.gman.execute("INSERT INTO three VALUES (1), (2), (3)");
    for (fault, once_in) in FAULTS {
        let before = stage.gman.database.rss_bytes();
        let mut results = 0;
        stage.wire.fail(fault, once_in);
        for _ in 0..times() {
            for (call, limit_ms, result) in [
                ("gman_do('f', 'w')", DO_TIMEOUT_MS, "7"),
                (
                    "gman_sum('f', id) FROM three",
                    TIMEOUT_MS + DO_TIMEOUT_MS,
                    "21",
                ),
                (
                    "gman_relay(id, 'f', 'w') FROM three",
                    TIMEOUT_MS + DO_TIMEOUT_MS,
                    "3",
                ),
                ("gman_check()", TIMEOUT_MS, ""),
            ] {
                let Some(value) = stage.call(call, limit_ms) else {
                    continue;
                };
                results += 1;
                let is_flipped = [Fault::FlippedAnswers, Fault::FlippedBits].contains(&fault);
                // A batch that failed in its middle says how far it came.
                let may_be_part = call.starts_with("gman_relay");
                if !is_flipped && !may_be_part && !result.is_empty() {
                    assert_eq!(value, result.as_bytes(), "{call}: {fault:?}");
                }
            }
        }
        println!(
            "{fault:?}: {} times, {results} results",
            stage.wire.faults()
        );
        let grown = stage.gman.database.rss_bytes().saturating_sub(before);
        assert!(grown < MEMORY_BYTES, "{fault:?}: {grown} bytes");
        stage.mend(fault);
        wait_until(PATIENCE, "a call over the good wire to succeed", || {
            stage.call("gman_do('f', 'w')", DO_TIMEOUT_MS).ok_or(fault)
        });
    }
}
