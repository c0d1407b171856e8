//! What arrives when servers and relays die in the middle of it, and what others do to the tables.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;

use crate::support::{RecordingWorker, TaskLimit, unsupported, wait_until};

use super::{Outbox, PATIENCE, as_strs, numbers, outbox_and_gearmand, texts, wait_for_log};

/// What a relay says that cannot start a thread.
const NO_THREAD: &str = "the system has no thread left";

#[test]
fn a_database_that_was_away_is_connected_to_again() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let relay = outbox.relay(&gearmand.address());
    outbox.write("f", ["1"]);
    worker.wait_for(1);
    outbox.database.kill();
    wait_until(PATIENCE, "the relay to miss the database", || {
        let log = relay.log();
        if log.contains("trying again in") {
            Ok(())
        } else {
            Err(log)
        }
    });
    outbox.database.restart();
    outbox.session = outbox.database.connect();
    outbox.write("f", ["2"]);
    worker.wait_for(2);
}

#[test]
fn rows_for_which_there_is_no_thread_wait_and_others_go_on() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let relay = outbox.relay(&gearmand.address());
    outbox.write("f", ["1"]);
    outbox.wait_until_empty();
    let threads = match TaskLimit::of(relay.process().pid()) {
        Ok(threads) => threads,
        Err(reason) => unsupported!("{reason}"),
    };
    threads.set();
    outbox.write("g", ["1"]);
    outbox.wait_for_trouble(NO_THREAD);
    outbox.write("f", ["2"]);
    wait_until(PATIENCE, "the row of another function", || {
        match gearmand.status()["f"].queued {
            2 => Ok(()),
            queued => Err(queued),
        }
    });
    assert_eq!(outbox.depth(), 1);
    threads.lift();
    outbox.wait_until_empty();
    outbox.wait_until_well();
    assert_eq!(gearmand.status()["g"].queued, 1);
}

#[test]
fn a_relay_without_a_thread_to_settle_with_tries_again() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let mut relay = outbox.relay(&gearmand.address());
    wait_for_log(&relay, "relaying the outbox");
    let threads = match TaskLimit::of(relay.process().pid()) {
        Ok(threads) => threads,
        Err(reason) => unsupported!("{reason}"),
    };
    outbox.database.kill();
    wait_for_log(&relay, "trying again in");
    threads.set();
    outbox.database.restart();
    outbox.session = outbox.database.connect();
    wait_for_log(&relay, NO_THREAD);
    threads.lift();
    outbox.write("f", ["1"]);
    outbox.wait_until_empty();
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
}

#[test]
fn what_others_do_to_the_tables_is_named_and_passes() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let _relay = outbox.relay(&gearmand.address());
    outbox.write("f", ["1"]);
    outbox.wait_until_empty();

    // Locked.
    let mut other = outbox.database.connect();
    other
        .query_drop("LOCK TABLES gman_outbox WRITE")
        .expect("a lock");
    outbox_trouble(&mut outbox, "Lock wait timeout");
    other.query_drop("UNLOCK TABLES").expect("no lock");
    outbox.write("f", ["2"]);
    outbox.wait_until_empty();
    outbox.wait_until_well();

    // Altered.
    outbox.execute("ALTER TABLE gman_outbox CHANGE workload burden LONGBLOB NOT NULL");
    outbox_trouble(&mut outbox, "Unknown column 'workload'");
    outbox.execute("ALTER TABLE gman_outbox CHANGE burden workload LONGBLOB NOT NULL");
    outbox.write("f", ["3"]);
    outbox.wait_until_empty();
    outbox.wait_until_well();

    // Emptied, so that ids begin again; by now the relay searches from later ones on.
    let settled = Instant::now() + SETTLING;
    let mut numbers = vec!["1", "2", "3"];
    while Instant::now() < settled {
        outbox.write("f", ["4"]);
        outbox.wait_until_empty();
        numbers.push("4");
    }
    outbox.execute("TRUNCATE gman_outbox");
    outbox.write("f", ["5"]);
    outbox.wait_until_empty();
    numbers.push("5");
    assert_eq!(texts(&worker.wait_for(numbers.len())), numbers);
    let error: String = outbox.row("SELECT last_error FROM gman_outbox_status");
    assert!(error.contains("was gman_outbox truncated?"), "{error}");
    outbox.wait_until_well();
}

/// After so long the relay does not search the first ids any more.
const SETTLING: Duration = Duration::from_secs(6);

/// The table of the status cannot be read while the other one is locked, but the state can.
fn outbox_trouble(outbox: &mut Outbox, part: &str) {
    wait_until(PATIENCE, &format!("the state to say {part}"), || {
        let (is_failing, error): (bool, Option<String>) =
            outbox.row("SELECT failing_since IS NOT NULL, last_error FROM gman_outbox_state");
        match error {
            Some(error) if is_failing && error.contains(part) => Ok(()),
            error => Err(error),
        }
    });
}

#[test]
fn a_row_that_cannot_be_set_aside_stands_in_the_way_of_no_other() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let _relay = outbox.relay(&gearmand.address());
    // Ids begin again after a TRUNCATE.
    outbox.execute(
        "INSERT INTO gman_outbox_dead (id, `function`, workload, error) VALUES (1, 'x', '', 'x')",
    );
    outbox.write("", ["bad"]);
    outbox.write("f", ["1"]);
    outbox.wait_until_empty();
    let dead: u64 = outbox.row("SELECT dead FROM gman_outbox_status");
    assert_eq!(dead, 2);

    outbox.execute("RENAME TABLE gman_outbox_dead TO away");
    outbox.write("", ["bad"]);
    outbox_trouble(&mut outbox, "gman_outbox_dead' doesn't exist");
    let mut expected = vec!["1".to_owned()];
    for number in numbers(2, 40) {
        outbox.write("f", [number.as_str()]);
        expected.push(number);
        worker.wait_for(expected.len());
        wait_until(PATIENCE, "all but one row to leave", || {
            match outbox.row::<u64>("SELECT COUNT(*) FROM gman_outbox") {
                1 => Ok(()),
                rows => Err(rows),
            }
        });
    }
    outbox.execute("RENAME TABLE away TO gman_outbox_dead");
    outbox.wait_until_empty();
    outbox.wait_until_well();
    assert_eq!(texts(&worker.jobs()), expected);
}

#[test]
fn many_dead_rows_and_many_functions_stand_in_nobodys_way() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    outbox.execute("INSERT INTO gman_outbox_dead (id, `function`, workload, error) VALUES (1000000, 'x', '', 'x')");
    for _ in 0..17 {
        outbox.execute("INSERT INTO gman_outbox_dead (id, `function`, workload, error) SELECT id + (SELECT COUNT(*) FROM gman_outbox_dead AS d), 'x', '', 'x' FROM gman_outbox_dead AS e");
    }
    outbox.confirm("worker");
    let _relay = outbox.relay(&gearmand.address());
    // More functions without a worker than lanes less one.
    for function in 0..60 {
        outbox.write(&format!("nobody{function}"), ["x"]);
    }
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.write("f", as_strs(&numbers(1, 100)));
    assert_eq!(texts(&worker.wait_for(100)), numbers(1, 100));
    let began = Instant::now();
    let dead: u64 = outbox.row("SELECT dead FROM gman_outbox_status");
    let took = began.elapsed();
    println!("the status counted {dead} dead rows in {took:?}");
    assert_eq!(dead, 1 << 17);
    assert!(took < PATIENCE / 10, "{took:?}");
}

#[test]
fn nothing_is_lost_when_relays_die() {
    for confirm in ["gearmand", "worker"] {
        let (mut outbox, gearmand) = outbox_and_gearmand();
        outbox.confirm(confirm);
        let worker = RecordingWorker::start(gearmand.port(), &["f"]);
        let mut relays = [0, 1].map(|_| outbox.relay(&gearmand.address()));
        let all = numbers(1, 20_000);
        for (round, part) in all.chunks(5000).enumerate() {
            outbox.write("f", as_strs(part));
            let before = worker.count();
            worker.wait_for(before + 500);
            relays[round % 2].kill();
            relays[round % 2] = outbox.relay(&gearmand.address());
        }
        outbox.wait_until_empty();
        wait_until(PATIENCE, "gearmand to be empty", || {
            match gearmand.status().get("f").map_or(0, |f| f.queued) {
                0 => Ok(()),
                queued => Err(queued),
            }
        });
        let jobs = texts(&worker.jobs());
        let mut last: HashMap<u32, u32> = HashMap::new();
        let mut seen = vec![false; all.len() + 1];
        for job in &jobs {
            let number: u32 = job.parse().expect("a number");
            seen[number as usize] = true;
            // Numbers of one key grow.
            last.insert(number % 50, number);
        }
        let lost = seen[1..].iter().filter(|seen| !**seen).count();
        let stale = last.values().filter(|number| **number <= 19_950).count();
        let twice = jobs.len() + lost - all.len();
        println!(
            "| gman relay killed, confirm = {confirm} | 20000 | {lost} | 0 | {twice} | | {stale} |"
        );
        assert_eq!((lost, stale), (0, 0), "{confirm}");
    }
}
