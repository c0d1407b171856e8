//! A job leaves if and only if the transaction commits.

use std::time::Duration;

use mysql::prelude::Queryable;

use super::{Outbox, PATIENCE, changes_of_rows, outbox_and_gearmand, texts};
use crate::support::fake_job_server::{ERROR, Reply, packet};
use crate::support::{FakeJobServer, RecordingWorker, product_file, wait_until};

#[test]
fn a_job_leaves_if_and_only_if_its_transaction_commits() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.create_table(3);

    outbox.execute("BEGIN");
    outbox.execute("UPDATE t SET n = 1 WHERE id = 1");
    let handle: Vec<String> = outbox.query("SELECT @handle");
    assert!(handle[0].starts_with("O:"), "{handle:?}");
    outbox.execute("ROLLBACK");
    outbox.execute("BEGIN");
    outbox.execute("UPDATE t SET n = 2 WHERE id = 2");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(worker.count(), 0);
    outbox.execute("COMMIT");

    assert_eq!(texts(&worker.wait_for(1)), ["2:2"]);
    outbox.drain();
    assert_eq!(worker.count(), 1);
}

#[test]
fn a_row_that_commits_late_with_a_lower_id_is_relayed_too() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.create_table(2);
    let mut other = outbox.database.connect();

    outbox.execute("BEGIN");
    outbox.execute("UPDATE t SET n = 1 WHERE id = 1");
    other
        .query_drop("UPDATE t SET n = 1 WHERE id = 2")
        .expect("the other's update");
    assert_eq!(texts(&worker.wait_for(1)), ["2:1"]);
    // Longer than it takes until the horizon moves on.
    std::thread::sleep(Duration::from_secs(8));
    other
        .query_drop("UPDATE t SET n = 2 WHERE id = 2")
        .expect("the other's update");
    worker.wait_for(2);
    outbox.execute("COMMIT");

    assert_eq!(texts(&worker.wait_for(3)), ["2:1", "2:2", "1:1"]);
    outbox.drain();
    assert_eq!(worker.count(), 3);
}

#[test]
fn the_relay_waits_for_no_row_that_is_not_committed() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.create_table(5);
    let open_change = |id: u32| {
        let mut session = outbox.database.connect();
        session.query_drop("BEGIN").expect("BEGIN");
        session
            .query_drop(format!("UPDATE t SET n = 1 WHERE id = {id}"))
            .expect("an update");
        session
    };
    // Their rows in the outbox stand before and behind those that are committed.
    let mut open = vec![open_change(1)];
    let mut committed = vec![open_change(2), open_change(3), open_change(4)];
    open.push(open_change(5));
    let commit = |sessions: &mut [mysql::Conn]| {
        for session in sessions {
            session.query_drop("COMMIT").expect("COMMIT");
        }
    };
    commit(&mut committed);
    assert_eq!(texts(&worker.wait_for(3)), ["2:1", "3:1", "4:1"]);
    outbox.drain();
    let waits: Vec<(String, u64)> = outbox
        .database
        .query("SHOW GLOBAL STATUS LIKE 'Innodb\\_row\\_lock\\_waits'");
    assert_eq!(waits, [("Innodb_row_lock_waits".to_owned(), 0)]);
    commit(&mut open);
    assert_eq!(texts(&worker.wait_for(5))[3..], ["1:1", "5:1"]);
}

#[test]
fn a_row_below_the_horizon_is_found_all_the_same() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.execute("INSERT INTO gman_outbox (id, `function`, workload) VALUES (100, 'f', 'high')");
    worker.wait_for(1);
    wait_until(PATIENCE, "the horizon", || {
        let horizon: u64 = outbox
            .database
            .value("SELECT horizon FROM gman_outbox_state");
        if horizon == 101 { Ok(()) } else { Err(horizon) }
    });
    outbox.execute("INSERT INTO gman_outbox (id, `function`, workload) VALUES (50, 'f', 'low')");
    assert_eq!(texts(&worker.wait_for(2)), ["high", "low"]);
    outbox.drain();
}

#[test]
fn changes_of_a_row_arrive_in_the_order_of_their_commits() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.create_table(5);
    const SESSIONS: u32 = 4;
    const CHANGES: u32 = 250;
    std::thread::scope(|scope| {
        for number in 0..SESSIONS {
            let mut session = outbox.database.connect();
            scope.spawn(move || {
                for change in 0..CHANGES {
                    let row = (number + change) % 5 + 1;
                    session.query_drop("BEGIN").expect("BEGIN");
                    session
                        .query_drop(format!("UPDATE t SET n = n + 1 WHERE id = {row}"))
                        .expect("an update");
                    let end = if change % 7 == 3 {
                        "ROLLBACK"
                    } else {
                        "COMMIT"
                    };
                    session.query_drop(end).expect(end);
                }
            });
        }
    });
    outbox.drain();
    let last: Vec<(u32, u32)> = outbox.query("SELECT id, n FROM t ORDER BY id");
    let expected: usize = last.iter().map(|(_, n)| *n as usize).sum();
    let rows = changes_of_rows(&texts(&worker.wait_for(expected)));
    for (id, n) in last {
        assert_eq!(rows[&id], (1..=n).collect::<Vec<_>>(), "row {id}");
    }
}

#[test]
fn an_update_of_twenty_thousand_rows_is_relayed_in_order() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.create_table(20_000);
    outbox.execute("UPDATE t SET n = n + 1 ORDER BY id");
    let jobs = texts(&worker.wait_for(20_000));
    let expected: Vec<String> = (1..=20_000).map(|id| format!("{id}:1")).collect();
    assert!(
        jobs == expected,
        "{} jobs, the first ones {:?}",
        jobs.len(),
        &jobs[..10]
    );
    outbox.drain();
}

#[test]
fn rows_wait_while_gearmand_is_away() {
    let (mut outbox, mut gearmand) = outbox_and_gearmand();
    outbox.create_table(10);
    gearmand.kill();
    outbox.execute("UPDATE t SET n = n + 1");
    let status = outbox.wait_for_status("the failure", |status| status.is_failing);
    assert_eq!((status.depth, status.dead), (10, 0));
    let error = status.last_error.unwrap_or_default();
    assert!(error.contains(&gearmand.address()), "{error}");
    wait_until(PATIENCE, "the oldest row to age", || {
        match outbox.status().oldest_seconds {
            Some(seconds) if seconds > 0.5 => Ok(()),
            seconds => Err(seconds),
        }
    });
    outbox.execute("UPDATE t SET n = n + 1");

    gearmand.restart();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    worker.wait_for(20);
    outbox.drain();
    let status = outbox.wait_for_status("the end of the failure", |status| !status.is_failing);
    assert_eq!((status.dead, status.oldest_seconds), (0, None));
    assert_eq!(worker.count(), 20);
}

#[test]
fn a_row_that_is_refused_five_times_is_set_aside_and_stops_no_other() {
    let refusal = packet(ERROR, &[b"ARGUMENT_TOO_LARGE", b"not this one"]);
    let server = FakeJobServer::always(Reply::Handle);
    let poisoned = FakeJobServer::always(Reply::Bytes(refusal));
    let mut outbox = Outbox::start();
    outbox.set_servers(&server.address());
    let _: Vec<String> = outbox.query(&format!(
        "SELECT gman_servers_set('{}', 'poison')",
        poisoned.address()
    ));
    outbox.execute(
        "INSERT INTO gman_outbox (`function`, workload)
         VALUES ('f', '1'), ('poison', '2'), ('f', '3'), ('', '4'), ('f', '5')",
    );
    outbox.drain();
    let dead: Vec<(String, String, String)> =
        outbox.query("SELECT `function`, workload, error FROM gman_outbox_dead ORDER BY id");
    assert_eq!(dead.len(), 2, "{dead:?}");
    assert_eq!((dead[0].0.as_str(), dead[0].1.as_str()), ("poison", "2"));
    assert!(
        dead[0].2.contains("ARGUMENT_TOO_LARGE not this one"),
        "{dead:?}"
    );
    assert_eq!((dead[1].0.as_str(), dead[1].1.as_str()), ("", "4"));
    assert!(dead[1].2.contains("function is empty"), "{dead:?}");
    assert_eq!(poisoned.submissions().len(), 5);
    let mut sent: Vec<_> = server
        .submissions()
        .into_iter()
        .map(|job| job.rest)
        .collect();
    sent.dedup();
    assert_eq!(sent, [b"1", b"3", b"5"]);
}

#[test]
fn a_full_queue_of_gearmand_sets_no_row_aside() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    outbox.execute("INSERT INTO gman_outbox (`function`, workload) VALUES ('f', '0')");
    outbox.drain();
    gearmand.limit_queue("f", 1);
    outbox.execute("INSERT INTO gman_outbox (`function`, workload) VALUES ('f', '1'), ('f', '2')");
    let status = outbox.wait_for_status("the failure", |status| status.is_failing);
    let error = status.last_error.unwrap_or_default();
    assert!(error.contains("Job queue is full"), "{error}");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((outbox.status().depth, outbox.status().dead), (2, 0));
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.drain();
    let mut texts = texts(&worker.wait_for(3));
    texts.dedup();
    assert_eq!(texts, ["0", "1", "2"]);
}

#[test]
fn the_relay_stops_and_goes_on_with_the_event_scheduler() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.create_table(1);
    outbox.execute("UPDATE t SET n = n + 1");
    worker.wait_for(1);
    outbox.stop_relay();
    outbox.execute("UPDATE t SET n = n + 1");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!((worker.count(), outbox.status().depth), (1, 1));
    outbox.start_relay();
    worker.wait_for(2);
    outbox.drain();
}

#[test]
fn the_scripts_can_be_run_again_and_lose_nothing() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    outbox.stop_relay();
    outbox.create_table(1);
    outbox.execute("UPDATE t SET n = n + 1");
    outbox.database.run_script(&product_file("sql/outbox.sql"));
    assert_eq!(outbox.status().depth, 1);
    outbox.start_relay();
    outbox.drain();
    assert_eq!(gearmand.status()["f"].queued, 1);

    outbox.execute("DROP TRIGGER changed");
    for _ in 0..2 {
        outbox
            .database
            .run_script(&product_file("sql/outbox-uninstall.sql"));
    }
    let left: Vec<String> = outbox.query(
        "SELECT routine_name FROM information_schema.routines WHERE routine_name LIKE 'gman\\_%'
         UNION ALL SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'gman\\_%'
         UNION ALL SELECT event_name FROM information_schema.events WHERE event_name LIKE 'gman\\_%'",
    );
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn the_loadable_function_is_not_dropped_in_place_of_the_stored_one() {
    let outbox = Outbox::start();
    outbox
        .database
        .execute("DROP FUNCTION test.gman_do_background");
    outbox.database.install_functions();
    let problem = outbox
        .database
        .try_script(&product_file("sql/outbox.sql"))
        .expect_err("a refusal");
    assert!(
        problem.contains("DROP FUNCTION the loadable one"),
        "{problem}"
    );
    let problem = outbox
        .database
        .try_script(&product_file("sql/outbox-uninstall.sql"))
        .expect_err("a refusal");
    assert!(problem.contains("All is removed but"), "{problem}");
    let kept: Option<String> = outbox.database.value("SELECT gman_do_background('f', 'w')");
    assert_eq!(kept, None);
}

#[test]
fn a_shutdown_does_not_wait_for_the_relay() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.create_table(100);
    outbox.execute("UPDATE t SET n = n + 1");
    worker.wait_for(100);
    drop(gearmand);
    outbox.execute("UPDATE t SET n = n + 1");
    outbox.wait_for_status("the failure", |status| status.is_failing);
    let log = outbox.database.error_log();
    let said: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("Event Scheduler: ["))
        .collect();
    assert_eq!(said, Vec::<&str>::new());
    let began = std::time::Instant::now();
    outbox.database.shutdown();
    // The test's own patience with a server is 20 seconds; then it is killed.
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_server_waits_for_the_relay_of_another_and_takes_over_when_that_is_gone() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.create_table(1);
    outbox.execute("UPDATE t SET n = n + 1");
    worker.wait_for(1);
    outbox.drain();
    let take = "UPDATE gman_outbox_state SET owner = 'another', epoch = epoch + 1";
    let beat = "UPDATE gman_outbox_state SET beat = beat + 1";
    outbox.execute(take);
    outbox.execute("UPDATE t SET n = n + 1");
    // Longer than it takes to find out that the other one is gone.
    for _ in 0..8 {
        std::thread::sleep(Duration::from_secs(1));
        outbox.execute(beat);
    }
    assert_eq!(worker.count(), 1);
    worker.wait_for(2);
    let owner: String = outbox
        .database
        .value("SELECT owner FROM gman_outbox_status");
    assert!(owner.starts_with("event of "), "{owner}");
}

#[test]
fn no_id_is_given_twice_when_the_server_restarts_with_an_empty_outbox() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.create_table(3);
    outbox.execute("UPDATE t SET n = n + 1");
    worker.wait_for(3);
    outbox.drain();
    outbox.database.restart();
    outbox.session = outbox.database.connect();
    outbox.set_servers(&gearmand.address());
    outbox.execute("UPDATE t SET n = n + 1");
    outbox.drain();
    let mut uniques: Vec<_> = worker
        .wait_for(6)
        .into_iter()
        .map(|job| job.unique)
        .collect();
    uniques.sort();
    uniques.dedup();
    assert_eq!(uniques.len(), 6, "{uniques:?}");
}

#[test]
fn an_account_with_the_documented_privileges_can_relay() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.execute("CREATE USER relay@localhost");
    for grant in [
        "EVENT ON test.*",
        "EXECUTE ON test.*",
        "SELECT, DELETE ON test.gman_outbox",
        "SELECT, UPDATE ON test.gman_outbox_state",
        "INSERT ON test.gman_outbox_dead",
        "SELECT, INSERT, DELETE ON test.gman_outbox_acknowledged",
    ] {
        outbox.execute(&format!("GRANT {grant} TO relay@localhost"));
    }
    outbox.execute("ALTER DEFINER = relay@localhost EVENT gman_outbox_relay ENABLE");
    outbox.execute(
        "INSERT INTO gman_outbox (`function`, workload) VALUES ('f', '1'), ('', '2'), ('f', '3')",
    );
    worker.wait_for(2);
    outbox.drain();
    assert_eq!(outbox.status().dead, 1);
}
