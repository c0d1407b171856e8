//! Clocks that are set while `gman relay` runs: nothing goes by them.

use std::time::Instant;

use crate::support::{Clock, Database, Gearmand, RecordingWorker, RelayProcess, unsupported};

use super::lease::TAKE_OVER;
use super::{Outbox, as_strs, numbers, texts, wait_for_log};

const HOUR: i64 = 3600;

#[test]
fn a_clock_that_is_set_changes_neither_who_relays_nor_what() {
    let clock = match Clock::new() {
        Ok(clock) => clock,
        Err(reason) => unsupported!("{reason}"),
    };
    let gearmand = Gearmand::start();
    let mut outbox = Outbox::on(Database::local().clock(&clock));
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let start = || {
        let options = outbox.options_of_relay(&gearmand.address());
        RelayProcess::start_with(&options, &clock.variables())
    };
    let mut first = start();
    wait_for_log(&first, "relaying the outbox of test");
    let second = start();
    wait_for_log(&second, "waiting: gman relay ");

    let all = numbers(1, 500);
    for (part, offset) in all.chunks(100).zip([0, HOUR, -HOUR, 24 * HOUR, -24 * HOUR]) {
        clock.set(offset);
        let set = Instant::now();
        outbox.write("f", as_strs(part));
        outbox.wait_until_empty();
        assert!(set.elapsed() < TAKE_OVER, "{offset}: {:?}", set.elapsed());
        let problem: Option<String> = outbox.row("SELECT problem FROM gman_outbox_status");
        assert_eq!(problem, None, "{offset}");
    }
    assert!(!second.log().contains("relaying"), "{}", second.log());

    first.kill();
    let died = Instant::now();
    clock.set(0);
    outbox.write("f", ["501"]);
    worker.wait_for(501);
    assert!(died.elapsed() < TAKE_OVER, "{:?}", died.elapsed());
    assert_eq!(texts(&worker.jobs()), numbers(1, 501));
}
