//! Whose word ends a row's stay, and what is repeated.

use super::{Outbox, PATIENCE, outbox_and_gearmand, texts};
use crate::support::{Answer, Gearmand, RecordingWorker, wait_until};

fn confirmed_by_worker(mut outbox: Outbox) -> Outbox {
    // A run that has begun goes on as it began.
    outbox.stop_relay();
    outbox.execute("UPDATE gman_outbox_state SET confirm = 'worker'");
    outbox.start_relay();
    outbox
}

#[test]
fn nothing_is_lost_with_gearmand_if_the_worker_confirms() {
    let (outbox, mut gearmand) = outbox_and_gearmand();
    let mut outbox = confirmed_by_worker(outbox);
    outbox.create_table(200);
    outbox.execute("UPDATE t SET n = n + 1 ORDER BY id");
    wait_until(PATIENCE, "gearmand to have the jobs", || {
        match gearmand.status().get("f").map_or(0, |f| f.queued) {
            200 => Ok(()),
            queued => Err(queued),
        }
    });
    assert_eq!(outbox.status().depth, 200);
    gearmand.kill();
    gearmand.restart();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.drain();
    let expected: Vec<String> = (1..=200).map(|id| format!("{id}:1")).collect();
    assert_eq!(texts(&worker.jobs()), expected);
}

#[test]
fn a_row_whose_worker_fails_five_times_is_set_aside_with_what_it_said() {
    let (outbox, gearmand) = outbox_and_gearmand();
    let mut outbox = confirmed_by_worker(outbox);
    let worker = RecordingWorker::answering(gearmand.port(), &["f"], |job| {
        match job.workload.as_slice() {
            b"2" => Answer::Exception(b"no such row".to_vec()),
            _ => Answer::Complete(Vec::new()),
        }
    });
    outbox.execute(
        "INSERT INTO gman_outbox (`function`, workload) VALUES ('f', '1'), ('f', '2'), ('f', '3')",
    );
    outbox.drain();
    let dead: Vec<(u64, String)> = outbox.query("SELECT id, error FROM gman_outbox_dead");
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert!(
        dead[0].0 == 2 && dead[0].1.contains("no such row"),
        "{dead:?}"
    );
    let jobs = texts(&worker.jobs());
    assert_eq!(jobs.iter().filter(|job| *job == "2").count(), 5, "{jobs:?}");
    assert_eq!(jobs.last().map(String::as_str), Some("3"), "{jobs:?}");
}

/// With the same unique id gearmand would drop the repetition of a job that waits, and the repetition of
/// an older one, which was done, would come after it.
#[test]
fn what_is_repeated_ends_with_the_newest_value() {
    let gearmand = Gearmand::start();
    // Nothing of what the relay does becomes durable before the server is killed.
    let mut outbox = Outbox::start();
    outbox.execute(
        "CREATE TRIGGER keep_them BEFORE DELETE ON gman_outbox FOR EACH ROW
         SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'they stay'",
    );
    outbox.set_servers(&gearmand.address());
    outbox.execute(
        "INSERT INTO gman_outbox (`function`, workload) VALUES ('f', 'old'), ('f', 'new')",
    );
    outbox.wait_for_status("the jobs to be submitted", |status| status.is_failing);
    outbox.stop_relay();
    {
        let worker = RecordingWorker::start(gearmand.port(), &["f"]);
        assert_eq!(texts(&worker.wait_for(1))[0], "old");
    }
    // As after a crash between the acknowledgement and the note of it.
    outbox.execute("DELETE FROM gman_outbox_acknowledged");
    outbox.execute("DROP TRIGGER keep_them");
    outbox.start_relay();
    outbox.drain();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    wait_until(PATIENCE, "all jobs to be done", || {
        match gearmand.status().get("f").map_or(0, |f| f.queued) {
            0 => Ok(()),
            queued => Err(queued),
        }
    });
    let jobs = texts(&worker.jobs());
    assert_eq!(jobs.last().map(String::as_str), Some("new"), "{jobs:?}");
}
