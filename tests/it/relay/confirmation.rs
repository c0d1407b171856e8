//! Whose word ends a row's stay, and what happens if it does not come.

use crate::support::fake_job_server::{
    JOB_CREATED, Reply, WORK_COMPLETE, WORK_FAIL, handle, packet,
};
use crate::support::{Answer, FakeJobServer, Gearmand, Job, RecordingWorker, wait_until};

use super::{Outbox, PATIENCE, as_strs, numbers, outbox_and_gearmand, texts};

const CONFIRMATIONS: [&str; 2] = ["gearmand", "worker"];

#[test]
fn rows_wait_for_a_worker_if_it_confirms_and_the_status_says_so() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    outbox.confirm("worker");
    let _relay = outbox.relay(&gearmand.address());
    outbox.write("f", as_strs(&numbers(1, 10)));
    outbox.wait_for_trouble("no worker has finished a job of f for 5 s, and 10 jobs wait");
    // Another function's rows do not wait with them.
    let other = RecordingWorker::start(gearmand.port(), &["g"]);
    outbox.write("g", as_strs(&numbers(1, 100)));
    other.wait_for(100);
    wait_until(PATIENCE, "the other rows to leave", || {
        match outbox.depth() {
            10 => Ok(()),
            depth => Err(depth),
        }
    });
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.wait_until_empty();
    assert_eq!(texts(&worker.jobs()), numbers(1, 10));
    outbox.wait_until_well();
}

#[test]
fn a_row_whose_worker_fails_five_times_is_set_aside_with_what_it_said() {
    for (answer, words) in [
        (Answer::Fail, "the worker failed (WORK_FAIL)"),
        (Answer::Exception(b"no such row".to_vec()), "no such row"),
    ] {
        let (mut outbox, gearmand) = outbox_and_gearmand();
        outbox.confirm("worker");
        let worker = RecordingWorker::answering(gearmand.port(), &["f"], move |job| {
            match job.workload == b"2" {
                true => answer.clone(),
                false => Answer::Complete(Vec::new()),
            }
        });
        let _relay = outbox.relay(&gearmand.address());
        outbox.write("f", ["1", "2", "3"]);
        outbox.wait_until_empty();
        let (id, workload, error): (u64, String, String) =
            outbox.row("SELECT id, CONVERT(workload USING utf8mb4), error FROM gman_outbox_dead");
        assert_eq!((id, workload.as_str()), (2, "2"));
        assert!(error.contains(words), "{error}");
        let jobs = texts(&worker.jobs());
        assert_eq!(jobs.iter().filter(|job| *job == "2").count(), 5, "{jobs:?}");
        // What was behind it may have been done before, and is done after it all the same.
        assert_eq!(jobs.last().map(String::as_str), Some("3"), "{jobs:?}");
        outbox.wait_until_well();
    }
}

/// What it says about one of ours may be lost then, and the row would wait for ever.
#[test]
fn a_row_is_submitted_again_after_word_of_another_job() {
    for (kind, arguments) in [
        (WORK_COMPLETE, [&b"H:other"[..], b""].as_slice()),
        (WORK_FAIL, &[b"H:other"]),
    ] {
        let other = packet(kind, arguments);
        let server = FakeJobServer::start(move |number| {
            let handle = handle(number);
            let created = packet(JOB_CREATED, &[handle.as_bytes()]);
            Reply::Bytes(match number {
                0 => [created, other.clone()].concat(),
                _ => [created, packet(WORK_COMPLETE, &[handle.as_bytes(), b""])].concat(),
            })
        });
        let mut outbox = Outbox::start();
        outbox.confirm("worker");
        let _relay = outbox.relay(&server.address());
        outbox.write("f", ["1"]);
        outbox.wait_until_empty();
        let submissions = server.submissions();
        assert_eq!(submissions.len(), 2, "{submissions:?}");
        outbox.wait_until_well();
    }
}

#[test]
fn a_row_that_cannot_be_a_job_is_set_aside_and_the_others_go_on() {
    for confirm in CONFIRMATIONS {
        let (mut outbox, gearmand) = outbox_and_gearmand();
        outbox.confirm(confirm);
        let worker = RecordingWorker::start(gearmand.port(), &["f"]);
        let _relay = outbox.relay(&gearmand.address());
        outbox.write("f", ["1"]);
        outbox.write("f\\0g", ["bad"]);
        outbox.write("", ["bad"]);
        outbox.write("f", ["2"]);
        outbox.wait_until_empty();
        assert_eq!(texts(&worker.wait_for(2)), ["1", "2"]);
        let errors: (String, String) = outbox.row(
            "SELECT (SELECT error FROM gman_outbox_dead WHERE id = 2), (SELECT error FROM gman_outbox_dead WHERE id = 3)",
        );
        assert!(
            errors.0.contains("function has a NUL byte"),
            "{confirm}: {errors:?}"
        );
        assert!(
            errors.1.contains("function is empty"),
            "{confirm}: {errors:?}"
        );
    }
}

#[test]
fn the_confirmation_can_be_changed_while_the_relay_runs() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let _relay = outbox.relay(&gearmand.address());
    outbox.write("f", ["1"]);
    outbox.wait_until_empty();
    outbox.confirm("worker");
    wait_until(PATIENCE, "rows to wait for a worker", || {
        outbox.write("f", ["2"]);
        match outbox.depth() {
            3.. => Ok(()),
            depth => Err(depth),
        }
    });
    let _worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.wait_until_empty();
}

/// With the same unique id gearmand would drop the repetition of a job that waits, and the repetition of
/// an older one, which was done, would come after it.
#[test]
fn what_is_repeated_ends_with_the_newest_value() {
    for confirm in CONFIRMATIONS {
        let (mut outbox, gearmand) = outbox_and_gearmand();
        outbox.confirm(confirm);
        // Jobs are confirmed, and their rows stay.
        outbox.execute(
            "CREATE TRIGGER keep_them BEFORE DELETE ON gman_outbox FOR EACH ROW
             SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'they stay'",
        );
        let mut relay = outbox.relay(&gearmand.address());
        outbox.write("f", ["old", "new"]);
        let first = (confirm == "worker").then(|| one_job(&gearmand));
        if confirm == "gearmand" {
            outbox.wait_for_trouble("they stay");
            let done = one_job(&gearmand);
            assert_eq!(texts(&[done]), ["old"]);
        }
        relay.kill();
        outbox.execute("DROP TRIGGER keep_them");
        let mut relay = outbox.relay(&gearmand.address());
        let worker = RecordingWorker::start(gearmand.port(), &["f"]);
        outbox.wait_until_empty();
        let jobs = texts(&worker.jobs());
        assert_eq!(
            jobs.last().map(String::as_str),
            Some("new"),
            "{confirm}: {first:?} {jobs:?}"
        );
        assert!(relay.stop().success());
    }
}

/// A worker does one job and is gone.
fn one_job(gearmand: &Gearmand) -> Job {
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let jobs = worker.wait_for(1);
    jobs.into_iter().next().expect("a job")
}

#[test]
fn nothing_is_lost_with_gearmand_although_its_queue_is_in_memory() {
    let mut gearmand = Gearmand::start();
    let mut outbox = Outbox::start();
    outbox.confirm("worker");
    let _relay = outbox.relay(&gearmand.address());
    outbox.write("f", as_strs(&numbers(1, 1000)));
    wait_until(PATIENCE, "gearmand to have the jobs", || {
        match gearmand.status().get("f").map_or(0, |f| f.queued) {
            1000 => Ok(()),
            queued => Err(queued),
        }
    });
    gearmand.kill();
    gearmand.restart();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.wait_until_empty();
    assert_eq!(texts(&worker.jobs()), numbers(1, 1000));
}
