//! Locks on the whole server, such as backups take, and an event that is switched off.

use std::thread;
use std::time::Duration;

use mysql::prelude::Queryable;

use super::{PATIENCE, outbox_and_gearmand, texts};
use crate::support::{RecordingWorker, unsupported, wait_until};

/// How many changes each test makes.
const CHANGES: u32 = 40;

/// How long a lock is held: many turns of the relay.
const HELD: Duration = Duration::from_millis(500);

#[test]
fn a_lock_on_all_tables_holds_the_relay_up_and_loses_and_repeats_nothing() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.create_table(1);
    let mut backup = outbox.database.connect();
    let locks = [
        &["FLUSH TABLES WITH READ LOCK", "UNLOCK TABLES"][..],
        // MariaDB's and MySQL's, for hot backups.
        &[
            "BACKUP STAGE START",
            "BACKUP STAGE BLOCK_COMMIT",
            "BACKUP STAGE END",
        ],
        &["LOCK INSTANCE FOR BACKUP", "UNLOCK INSTANCE"],
    ];
    let mut held = 0;
    let mut changes = 0;
    for lock in locks {
        let (release, take) = lock.split_last().expect("statements");
        for _ in 0..CHANGES / 2 {
            outbox.execute("UPDATE t SET n = n + 1");
        }
        if take.iter().any(|sql| backup.query_drop(sql).is_err()) {
            changes += CHANGES / 2;
            continue;
        }
        held += 1;
        thread::scope(|scope| {
            let outbox = &mut outbox;
            let writer = scope.spawn(move || {
                for _ in 0..CHANGES / 2 {
                    outbox.execute("UPDATE t SET n = n + 1");
                }
            });
            thread::sleep(HELD);
            backup.query_drop(release).expect("the lock to be released");
            writer.join().expect("a session");
        });
        changes += CHANGES;
    }
    outbox.drain();
    let expected: Vec<String> = (1..=changes).map(|n| format!("1:{n}")).collect();
    assert_eq!(texts(&worker.wait_for(changes as usize)), expected);
    println!("{held} kinds of locks");
    assert!(held >= 1);
}

#[test]
fn an_event_that_was_disabled_leaves_the_rows_and_goes_on_when_it_is_enabled() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.create_table(1);
    let event: Vec<String> =
        outbox.query("SELECT CONCAT(event_schema, '.', event_name) FROM information_schema.events");
    let event = event.first().expect("the event of the outbox").clone();
    outbox.execute(&format!("ALTER EVENT {event} DISABLE"));
    // The one that runs goes on to its end.
    outbox.stop_relay();
    outbox.start_relay();
    for _ in 0..CHANGES {
        outbox.execute("UPDATE t SET n = n + 1");
    }
    thread::sleep(HELD);
    assert_eq!((worker.count(), outbox.status().depth), (0, CHANGES.into()));
    outbox.execute(&format!("ALTER EVENT {event} ENABLE"));
    outbox.drain();
    let expected: Vec<String> = (1..=CHANGES).map(|n| format!("1:{n}")).collect();
    assert_eq!(texts(&worker.wait_for(CHANGES as usize)), expected);
}

/// A scheduler that was DISABLED when the server started cannot be switched on while it runs.
#[test]
fn rows_wait_for_a_scheduler_that_is_disabled_until_the_server_starts_with_one() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.create_table(1);
    outbox
        .database
        .restart_with(&["--event-scheduler=DISABLED"]);
    outbox.session = outbox.database.connect();
    if outbox
        .session
        .query_drop("SET GLOBAL event_scheduler = ON")
        .is_ok()
    {
        unsupported!("the server switches a disabled scheduler on");
    }
    outbox.set_servers(&gearmand.address());
    for _ in 0..CHANGES {
        outbox.execute("UPDATE t SET n = n + 1");
    }
    thread::sleep(HELD);
    assert_eq!((worker.count(), outbox.status().depth), (0, CHANGES.into()));
    outbox.database.restart();
    outbox.session = outbox.database.connect();
    outbox.set_servers(&gearmand.address());
    wait_until(PATIENCE, "the rows to arrive", || match worker.count() {
        jobs if jobs == CHANGES as usize => Ok(()),
        jobs => Err(jobs),
    });
    outbox.drain();
}
