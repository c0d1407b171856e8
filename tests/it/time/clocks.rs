//! Clocks that are set while jobs are delivered; `outbox::clocks` and `relay::clocks` are about the outbox.

use std::time::Instant;

use super::{Changes, Delivery, PATIENCE, SLACK, Stage};
use crate::support::{Clock, unsupported, wait_until};

const HOUR: i64 = 3600;

/// How many changes are made at each setting of the clock.
const CHANGES: u32 = 30;

#[test]
fn a_clock_that_is_set_delays_no_acked_job() {
    is_delivered(Delivery::Acked);
}

#[test]
fn a_clock_that_is_set_delays_no_pipelined_job() {
    is_delivered(Delivery::Pipelined);
}

#[test]
fn a_clock_that_is_set_delays_no_committed_job() {
    is_delivered(Delivery::Committed);
}

/// The database server and `gman worker` go by a clock that steps by an hour and by a day.
fn is_delivered(delivery: Delivery) {
    let clock = match Clock::new() {
        Ok(clock) => clock,
        Err(reason) => unsupported!("{reason}"),
    };
    let mut stage = match Stage::start(delivery, Some(&clock)) {
        Ok(stage) => stage,
        Err(reason) => unsupported!("{reason}"),
    };
    let mut session = stage.database.connect();
    let mut changes = Changes::default();
    for offset in [0, HOUR, 0, -HOUR, 24 * HOUR, -24 * HOUR, 0] {
        clock.set(offset);
        for _ in 0..CHANGES {
            changes.make(&mut session, delivery);
        }
        stage.assert_whole(&changes);
    }
    assert_eq!(changes.promised, changes.tried, "{delivery:?}");
    assert!(changes.slowest < SLACK, "{:?}", changes.slowest);

    // A job server that is skipped for a while is tried again after that while.
    for offset in [-HOUR, HOUR] {
        stage.gearmand.kill();
        let tried = changes.tried.len();
        while changes.tried.len() - tried < 3 {
            changes.make(&mut session, delivery);
        }
        clock.set(offset);
        stage.restart_gearmand();
        let restarted = Instant::now();
        wait_until(PATIENCE, "a job to go through again", || {
            changes.make(&mut session, delivery);
            let last = *changes.tried.last().expect("a change");
            match stage.arrived().contains(&last) {
                true => Ok(()),
                false => Err(changes.promised.len()),
            }
        });
        println!(
            "{delivery:?}, the clock at {offset:+} s: again after {:?}",
            restarted.elapsed()
        );
    }
    stage.assert_whole(&changes);
}
