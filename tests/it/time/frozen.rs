//! Processes that stand still for a while with jobs in flight, as on a machine without memory or under a
//! debugger. `scripts/standstill` runs these with a whole minute; by default it is some seconds.

use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Changes, Delivery, SLACK, Stage, TIMEOUT};
use crate::support::{Process, scale, unsupported};

/// Between two changes of the row.
const PAUSE: Duration = Duration::from_millis(5);

fn standstill() -> Duration {
    Duration::from_secs(scale("GMAN_STANDSTILL_SECONDS", 3).into())
}

#[test]
fn no_acked_job_is_lost_to_a_process_that_stands_still() {
    survives(Delivery::Acked);
}

#[test]
fn no_pipelined_job_is_lost_to_a_process_that_stands_still() {
    survives(Delivery::Pipelined);
}

#[test]
fn no_committed_job_is_lost_to_a_process_that_stands_still() {
    survives(Delivery::Committed);
}

#[test]
fn no_job_of_the_outbox_is_lost_to_a_process_that_stands_still() {
    survives(Delivery::Outbox);
}

#[test]
fn no_job_of_gman_relay_is_lost_to_a_process_that_stands_still() {
    survives(Delivery::Relay);
}

/// The processes of the path, but for the database server first.
fn processes(stage: &Stage) -> Vec<(&'static str, &Process)> {
    let mut processes = vec![
        ("gearmand", stage.gearmand.process()),
        ("gman worker", stage.worker.process()),
        ("Redis", stage.redis.process()),
    ];
    processes.extend(
        stage
            .relay
            .iter()
            .map(|relay| ("gman relay", relay.process())),
    );
    processes
}

fn survives(delivery: Delivery) {
    let stage = match Stage::start(delivery, None) {
        Ok(stage) => stage,
        Err(reason) => unsupported!("{reason}"),
    };
    let mut session = stage.database.connect();
    let mut changes = Changes::default();
    for (name, process) in processes(&stage) {
        changes.slowest = Duration::ZERO;
        let tried = changes.tried.len();
        process.freeze();
        let until = std::time::Instant::now() + standstill();
        while std::time::Instant::now() < until {
            changes.make(&mut session, delivery);
            thread::sleep(PAUSE);
        }
        process.signal(Signal::SIGCONT);
        // One timeout for each of the two calls of a change.
        assert!(
            changes.slowest < 2 * TIMEOUT + SLACK,
            "{name}: {:?}",
            changes.slowest
        );
        stage.assert_whole(&changes);
        println!(
            "{delivery:?}, {name} stood still: {} changes, the slowest took {:?}",
            changes.tried.len() - tried,
            changes.slowest
        );
    }
    // In the middle of a statement, which goes on afterwards; so does what the server had in its window.
    let database = stage.database.process();
    thread::scope(|scope| {
        let changing = scope.spawn(|| {
            for _ in 0..200 {
                changes.make(&mut session, delivery);
            }
        });
        thread::sleep(PAUSE);
        database.freeze();
        thread::sleep(standstill());
        database.signal(Signal::SIGCONT);
        changing.join().expect("the changes");
    });
    stage.assert_whole(&changes);
    println!(
        "{delivery:?}: {} changes, {} promised, {} arrivals",
        changes.tried.len(),
        changes.promised.len(),
        stage.counter.count()
    );
}
