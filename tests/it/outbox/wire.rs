//! The event behind a bad wire to the job server.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use super::{Outbox, PATIENCE, texts};
use crate::support::{FaultyWire, Gearmand, RecordingWorker, wait_until};
use crate::wire::{FAULTS, MEMORY_BYTES, keeps_requests, restart, times};

/// How many rows each change of the table leaves.
const ROWS: u32 = 20;

/// How long a fault may take to come often enough: after a failure the relay looks more seldom.
const LONG_ENOUGH: Duration = Duration::from_secs(3);

#[test]
fn no_fault_of_the_wire_loses_a_committed_row() {
    let mut gearmand = Gearmand::start();
    let mut worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let wire = FaultyWire::start(gearmand.port());
    let mut outbox = Outbox::start();
    outbox.set_servers(&wire.address());
    outbox.create_table(ROWS);
    let mut n = 0;
    let before = outbox.database.rss_bytes();
    for (fault, once_in) in FAULTS {
        wire.fail(fault, once_in);
        let began = Instant::now();
        let mut changes = Vec::new();
        while wire.faults() < times() && began.elapsed() < LONG_ENOUGH {
            n += 1;
            changes.push(n);
            outbox.execute("UPDATE t SET n = n + 1 ORDER BY id");
            thread::sleep(Duration::from_millis(100));
        }
        println!(
            "{fault:?}: {} times in {} changes",
            wire.faults(),
            changes.len()
        );
        wire.mend();
        if !keeps_requests(fault) {
            restart(&mut gearmand);
            worker = RecordingWorker::start(gearmand.port(), &["f"]);
        }
        outbox.drain();
        let status = outbox.status();
        assert_eq!(status.dead, 0, "{fault:?}: {status:?}");
        if keeps_requests(fault) {
            let expected = |id: u32| changes.iter().map(move |n| format!("{id}:{n}"));
            let expected: HashSet<String> = (1..=ROWS).flat_map(expected).collect();
            wait_until(PATIENCE, "every row to arrive", || {
                let arrived: HashSet<String> = texts(&worker.jobs()).into_iter().collect();
                match expected.difference(&arrived).count() {
                    0 => Ok(()),
                    missing => Err((fault, missing)),
                }
            });
        }
    }
    let grown = outbox.database.rss_bytes().saturating_sub(before);
    assert!(grown < MEMORY_BYTES, "{grown} bytes");
}
