//! Several job servers, of which one dies and returns.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;

use crate::support::fake_job_server::{Reply, handle};
use crate::support::{FakeJobServer, Gearmand, Gman, Port, RecordingWorker, call, wait_until};

/// How long a submission may take: the default of `gman_timeout_ms`.
const TIMEOUT: Duration = Duration::from_millis(1000);

/// How much longer a call may take here: the machine may be busy.
const SLACK: Duration = Duration::from_millis(1500);

#[test]
fn no_job_with_a_handle_is_lost_when_a_server_is_killed_and_returns() {
    const JOBS: u32 = 20_000;
    // Job servers that keep their queue, as a server that is killed forgets the jobs it took.
    let mut first = Gearmand::start_persistent("H:first");
    let second = Gearmand::start_persistent("H:second");
    let mut gman = Gman::start();
    gman.set_servers(&format!("{},{}", first.address(), second.address()));

    let submitted = AtomicU32::new(0);
    let (handles, longest) = thread::scope(|scope| {
        let submitter = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            let mut handles = HashMap::new();
            for number in 0..JOBS {
                let submission = format!("gman_do_background('f', {number}, 'u{number}')");
                let submission = call(&mut gman.session, &submission);
                longest = longest.max(submission.took);
                handles.insert(format!("u{number}"), submission.text());
                submitted.fetch_add(1, Ordering::Relaxed);
            }
            (handles, longest)
        });
        let reach = |number| {
            wait_until(Duration::from_secs(60), "submissions", || {
                match submitted.load(Ordering::Relaxed) {
                    reached if reached >= number => Ok(()),
                    reached => Err(reached),
                }
            });
        };
        reach(JOBS / 3);
        first.kill();
        reach(JOBS * 2 / 3);
        first.restart();
        submitter.join().expect("the submitter")
    });

    let on_first = handles
        .values()
        .filter(|handle| handle.starts_with("H:first"))
        .count();
    println!(
        "{JOBS} jobs: {on_first} went to the first server, {} to the second; longest call {longest:?}",
        handles.len() - on_first
    );
    assert!(on_first >= JOBS as usize / 3 && on_first < JOBS as usize);
    assert!(longest < TIMEOUT + SLACK, "{longest:?}");

    let mut delivered = HashSet::new();
    for server in [&first, &second] {
        let worker = RecordingWorker::start(server.port(), &["f"]);
        wait_until(
            Duration::from_secs(60),
            "the queue to be worked off",
            || match server.status().get("f") {
                Some(status) if status.queued > 0 => Err(*status),
                _ => Ok(()),
            },
        );
        delivered.extend(worker.jobs().into_iter().map(|job| job.unique));
    }
    let lost: Vec<_> = handles
        .keys()
        .filter(|unique| !delivered.contains(*unique))
        .collect();
    assert!(
        lost.is_empty(),
        "{} jobs with a handle are nowhere: {lost:?}",
        lost.len()
    );
}

#[test]
fn servers_are_tried_in_their_order_and_the_first_gets_jobs_again_when_it_returns() {
    let mut first = Gearmand::start_persistent("H:first");
    let second = Gearmand::start_persistent("H:second");
    let mut gman = Gman::start();
    gman.set_servers(&format!("{},{}", first.address(), second.address()));
    let mut goes_to = || gman.call("gman_do_background('f', 'w')").text();

    assert!(goes_to().starts_with("H:first"));
    first.kill();
    assert!(goes_to().starts_with("H:second"));
    first.restart();
    // Promised: after at most ten seconds.
    wait_until(
        Duration::from_secs(11),
        "the first server to get jobs",
        || {
            let handle = goes_to();
            if handle.starts_with("H:first") {
                Ok(())
            } else {
                Err(handle)
            }
        },
    );
}

#[test]
fn a_server_that_is_passed_over_is_told_in_the_error_log_only() {
    let good = FakeJobServer::always(Reply::Handle);
    let gone = Port::free();
    let gone = format!("127.0.0.1:{}", gone.number());
    let mut gman = Gman::start();
    gman.set_servers(&format!("{gone},{}", good.address()));
    assert_eq!(gman.call("gman_do_background('f', 'w')").text(), handle(0));
    let warnings: Vec<(String, u16, String)> = gman.query("SHOW WARNINGS");
    assert_eq!(warnings, []);
    let log = gman.database.error_log();
    let line = log
        .lines()
        .find(|line| line.contains(&gone))
        .expect("a line");
    assert!(line.contains("Connection refused"), "{line}");
    assert!(
        line.contains("; the next job server took the job"),
        "{line}"
    );
}

#[test]
fn when_no_server_takes_the_job_the_message_names_each() {
    let refusing = Port::free();
    let dying = FakeJobServer::always(Reply::BytesThenClose(vec![]));
    let mut gman = Gman::with_switches();
    gman.set("gman_on_failure", "error");
    gman.set_servers(&format!(
        "127.0.0.1:{},{}",
        refusing.number(),
        dying.address()
    ));
    let error = gman.call("gman_do_background('f', 'w')").error();
    assert!(
        error.contains(&format!(
            "connect 127.0.0.1:{}: Connection refused",
            refusing.number()
        )),
        "{error}"
    );
    assert!(
        error.contains(&format!(
            "receive {}: the job server closed",
            dying.address()
        )),
        "{error}"
    );
}

#[test]
fn thirty_two_sessions_survive_a_server_that_dies_under_them() {
    const SESSIONS: u32 = 32;
    const JOBS: u32 = 300;
    let mut first = Gearmand::start_persistent("H:first");
    let second = Gearmand::start_persistent("H:second");
    let mut gman = Gman::with_switches();
    gman.set_servers(&format!("{},{}", first.address(), second.address()));
    let done = AtomicU32::new(0);
    let longest = thread::scope(|scope| {
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|_| {
                let (mut session, done) = (gman.database.connect(), &done);
                scope.spawn(move || {
                    let mut longest = Duration::ZERO;
                    for _ in 0..JOBS {
                        let submission = call(&mut session, "gman_do_background('f', 'w')");
                        longest = longest.max(submission.took);
                        submission.text();
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    longest
                })
            })
            .collect();
        wait_until(
            Duration::from_secs(60),
            "a third of the jobs",
            || match done.load(Ordering::Relaxed) {
                done if done > SESSIONS * JOBS / 3 => Ok(()),
                done => Err(done),
            },
        );
        first.kill();
        let longest = sessions
            .into_iter()
            .map(|session| session.join().expect("a session"));
        longest.max().expect("sessions")
    });
    println!("{SESSIONS} sessions: longest call {longest:?}");
    assert!(longest < TIMEOUT + SLACK, "{longest:?}");
    // What all of them saw at once was one failure, and a probe or two came after it.
    let failures = gman.status("gman_server_failures");
    assert!((1..=8).contains(&failures), "{failures}");
}

#[test]
fn shutting_the_database_down_waits_for_no_call_longer_than_its_timeout() {
    const LIMIT_MS: u64 = 3000;
    let silent = FakeJobServer::always(Reply::Silence);
    for call in ["gman_do_background('f', 'w')", "gman_do('f', 'w')"] {
        let mut gman = Gman::with_switches();
        gman.set("gman_timeout_ms", LIMIT_MS);
        gman.set("gman_do_timeout_ms", LIMIT_MS);
        gman.set_servers(&silent.address());
        let before = silent.submissions().len();
        let mut session = gman.database.connect();
        let took = thread::scope(|scope| {
            scope.spawn(move || {
                // Ends with the server, one way or another.
                let _ = session.query_drop(format!("SELECT {call}"));
            });
            silent.wait_for(before + 1);
            let asked = Instant::now();
            gman.database.shutdown();
            asked.elapsed()
        });
        println!("shutdown during {call}: {took:?}");
        // The server itself takes its time as well.
        assert!(
            took < Duration::from_millis(LIMIT_MS) + Duration::from_secs(10),
            "{took:?}"
        );
    }
}
