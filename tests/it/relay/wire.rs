//! `gman relay` behind a bad wire to the job server.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use super::{Outbox, PATIENCE, as_strs, numbers, texts};
use crate::support::{FaultyWire, Gearmand, RecordingWorker, wait_until};
use crate::wire::{FAULTS, MEMORY_BYTES, keeps_requests, restart, times};

/// How many rows are committed at once.
const ROWS: u32 = 20;

/// How long a fault may take to come often enough: after a failure the relay looks more seldom.
const LONG_ENOUGH: Duration = Duration::from_secs(3);

fn loses_no_row(confirm: &str) {
    let mut gearmand = Gearmand::start();
    let mut worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let wire = FaultyWire::start(gearmand.port());
    let mut outbox = Outbox::start();
    outbox.confirm(confirm);
    let relay = outbox.relay(&wire.address());
    outbox.write("f", ["0"]);
    worker.wait_for(1);
    let mut next = 1;
    let before = relay.process().rss_bytes();
    for (fault, once_in) in FAULTS {
        wire.fail(fault, once_in);
        let (began, first) = (Instant::now(), next);
        while wire.faults() < times() && began.elapsed() < LONG_ENOUGH {
            let rows = numbers(next, next + ROWS - 1);
            outbox.write("f", as_strs(&rows));
            next += ROWS;
            thread::sleep(Duration::from_millis(100));
        }
        println!(
            "{confirm}, {fault:?}: {} times, {} rows",
            wire.faults(),
            next - first
        );
        wire.mend();
        if !keeps_requests(fault) {
            restart(&mut gearmand);
            worker = RecordingWorker::start(gearmand.port(), &["f"]);
        }
        outbox.wait_until_empty();
        let dead: u64 = outbox.row("SELECT dead FROM gman_outbox_status");
        assert_eq!(dead, 0, "{fault:?}: {}", relay.log());
        if keeps_requests(fault) {
            let expected: HashSet<String> = numbers(first, next - 1).into_iter().collect();
            wait_until(PATIENCE, "every row to arrive", || {
                let arrived: HashSet<String> = texts(&worker.jobs()).into_iter().collect();
                match expected.difference(&arrived).count() {
                    0 => Ok(()),
                    missing => Err((fault, missing)),
                }
            });
        }
        let grown = relay.process().rss_bytes().saturating_sub(before);
        assert!(grown < MEMORY_BYTES, "{fault:?}: {grown} bytes");
    }
}

#[test]
fn no_fault_of_the_wire_loses_a_row_that_gearmand_confirms() {
    loses_no_row("gearmand");
}

#[test]
fn no_fault_of_the_wire_loses_a_row_that_a_worker_confirms() {
    loses_no_row("worker");
}
