//! Clocks that are set while the event relays.

use std::time::{Duration, Instant};

use crate::support::{Clock, Database, Gearmand, RecordingWorker, unsupported};

use super::{Outbox, texts};

const HOUR: i64 = 3600;

/// How long rows may wait when the clock has been set.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn a_clock_that_is_set_does_not_stop_the_event() {
    let clock = match Clock::new() {
        Ok(clock) => clock,
        Err(reason) => unsupported!("{reason}"),
    };
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let mut outbox = Outbox::on(Database::local().clock(&clock));
    outbox.set_servers(&gearmand.address());
    let mut expected = Vec::new();
    for (round, offset) in [0, HOUR, 0, -HOUR, 24 * HOUR, -24 * HOUR, 0]
        .into_iter()
        .enumerate()
    {
        clock.set(offset);
        let set = Instant::now();
        for row in 0..10 {
            let workload = format!("{round} {row}");
            outbox.execute(&format!(
                "INSERT INTO gman_outbox (`function`, workload) VALUES ('f', '{workload}')"
            ));
            expected.push(workload);
        }
        outbox.drain();
        println!(
            "the clock at {offset:+} s: relayed after {:?}",
            set.elapsed()
        );
        assert!(set.elapsed() < SOON, "{offset}: {:?}", set.elapsed());
    }
    assert_eq!(texts(&worker.wait_for(expected.len())), expected);
}
