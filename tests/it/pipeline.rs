//! Pipelined delivery: what is promised of it, and each fault that could break the promise.
//!
//! Jobs carry numbers as unique ids, and every job is counted at a worker.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use crate::support::fake_job_server::{ERROR, Reply, packet};
use crate::support::{
    FakeJobServer, Gearmand, Gman, Port, Proxy, RecordingWorker, Sink, call, product_file, run,
    wait_until,
};

/// How long everything that was accepted may take to arrive: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a busy machine may add to a bound.
const SLACK: Duration = Duration::from_secs(2);

/// A database whose functions deliver in a pipeline to `servers` and fail loudly.
fn pipelined(servers: &str) -> Gman {
    let mut gman = Gman::with_switches();
    gman.set("gman_delivery", "pipelined");
    gman.set("gman_on_failure", "error");
    gman.set_servers(servers);
    gman
}

/// Submits the jobs `numbers` of function `f` one by one; the answers are their unique ids.
fn submit(session: &mut Conn, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let unique = call(
            session,
            &format!("gman_do_background('f', {number}, '{number}')"),
        )
        .text();
        assert_eq!(unique, number.to_string());
    }
}

/// Waits until a job server has all that was accepted.
fn flush(gman: &mut Gman) {
    let limit = PATIENCE.as_millis();
    assert_eq!(gman.call(&format!("gman_flush({limit})")).text(), "0");
}

/// Waits until every number below `count` has arrived at least once; answers all numbers in the order
/// of their arrival.
fn arrived(worker: &RecordingWorker, count: u32) -> Vec<u32> {
    wait_until(PATIENCE, "every job to arrive", || {
        let jobs: Vec<u32> = numbers(worker);
        let different: HashSet<_> = jobs.iter().collect();
        match different.len() {
            all if all == count as usize => Ok(jobs),
            some => Err(some),
        }
    })
}

fn numbers(worker: &RecordingWorker) -> Vec<u32> {
    let jobs = worker.jobs();
    jobs.iter()
        .map(|job| job.unique.parse().expect("a number"))
        .collect()
}

/// Asserts that the first arrivals of the jobs are in the order in which they were submitted.
fn assert_in_order(arrivals: &[u32]) {
    let mut seen = HashSet::new();
    let first: Vec<u32> = arrivals
        .iter()
        .copied()
        .filter(|job| seen.insert(*job))
        .collect();
    assert!(first.is_sorted(), "jobs overtook each other: {first:?}");
}

#[test]
fn a_call_answers_the_unique_id_at_once_and_the_job_arrives() {
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let mut gman = pipelined(&gearmand.address());

    let given = gman.call("gman_do_background('f', 'a', 'mine')").text();
    let fresh = gman.call("gman_do_high_background('f', 'b')").text();
    assert_eq!(given, "mine");
    assert_eq!(fresh.len(), 36, "expected a UUID, got {fresh}");
    flush(&mut gman);

    let jobs = worker.wait_for(2);
    let by_unique: HashMap<_, _> = jobs
        .iter()
        .map(|job| (job.unique.as_str(), job.workload.as_slice()))
        .collect();
    assert_eq!(by_unique[given.as_str()], b"a");
    assert_eq!(by_unique[fresh.as_str()], b"b");
}

#[test]
fn flush_answers_how_many_jobs_no_server_has() {
    let gearmand = Gearmand::start();
    let mut gman = pipelined(&gearmand.address());
    assert_eq!(gman.call("gman_flush()").text(), "0");

    gearmand.stop();
    submit(&mut gman.session, 0..3);
    let waited = gman.call("gman_flush(300)");
    assert!(waited.took >= Duration::from_millis(300), "{waited:?}");
    assert_eq!(waited.text(), "3");
    assert_eq!(gman.call("gman_flush(0)").text(), "3");
    gman.set("gman_do_timeout_ms", 400);
    for forever in ["1e300", "9223372036854775807"] {
        let bounded = gman.call(&format!("gman_flush({forever})"));
        assert!(bounded.took >= Duration::from_millis(400), "{bounded:?}");
        assert!(bounded.took < Duration::from_secs(5), "{bounded:?}");
        assert_eq!(bounded.text(), "3");
    }
    gearmand.cont();
    flush(&mut gman);

    let refused = gman.call("gman_flush(-1)").error();
    assert!(
        refused.contains("milliseconds is -1, expected 0 or more"),
        "{refused}"
    );
}

#[test]
fn jobs_keep_their_order_when_the_mode_changes_between_two_calls() {
    const JOBS: u32 = 600;
    let gearmand = Gearmand::start();
    let mut gman = pipelined(&gearmand.address());
    for start in (0..JOBS).step_by(20) {
        gman.set("gman_delivery", "pipelined");
        submit(&mut gman.session, start..start + 19);
        gman.set("gman_delivery", "acked");
        let last = start + 19;
        let handle = gman.call(&format!("gman_do_background('f', {last}, '{last}')"));
        assert!(handle.text().starts_with("H:"));
    }
    // One worker that takes one job at a time sees the order of the queue.
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let arrivals = arrived(&worker, JOBS);
    assert_eq!(arrivals, (0..JOBS).collect::<Vec<_>>());
}

#[test]
fn an_error_reply_fails_that_job_alone() {
    let refusal = packet(ERROR, &[b"JOB_QUEUE_FULL", b"try later"]);
    let server = FakeJobServer::start(move |number| match number {
        1 => Reply::Bytes(refusal.clone()),
        _ => Reply::Handle,
    });
    let mut gman = pipelined(&server.address());
    submit(&mut gman.session, 0..5);
    flush(&mut gman);

    assert_eq!(server.wait_for(5).len(), 5);
    assert_eq!(server.connections(), 1);
    assert_eq!(gman.status("gman_jobs_failed"), 1);
    assert_eq!(gman.status("gman_jobs_acknowledged"), 4);
    // It is written after the call has been told.
    let expected = "a job for the Gearman function f is lost";
    wait_until(PATIENCE, "a line in the error log", || {
        let log = gman.database.error_log();
        let is_told = log.contains(expected) && log.contains("JOB_QUEUE_FULL try later");
        if is_told { Ok(()) } else { Err(log) }
    });
}

#[test]
fn a_killed_job_server_loses_only_what_it_had_acknowledged() {
    const JOBS: u32 = 200_000;
    const KILLS: u32 = 10;
    let mut gearmand = Gearmand::start();
    let proxy = Proxy::start(gearmand.port());
    let mut gman = pipelined(&proxy.address());
    gman.set("gman_timeout_ms", 60_000);
    gman.create_table(
        1000,
        "gman_do_background('f', NEW.id, NEW.n * 1000 + NEW.id)",
    );

    let mut delivered = HashSet::new();
    for _ in 0..KILLS {
        let worker = RecordingWorker::start(gearmand.port(), &["f"]);
        for _ in 0..JOBS / KILLS / 1000 {
            gman.update_all();
        }
        gearmand.kill();
        delivered.extend(numbers(&worker));
        drop(worker);
        gearmand.restart();
    }
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    flush(&mut gman);
    wait_until(PATIENCE, "the queue to be worked off", || {
        match gearmand.status().get("f") {
            Some(status) if status.queued > 0 => Err(*status),
            _ => Ok(()),
        }
    });
    delivered.extend(numbers(&worker));

    let acknowledged = proxy.acknowledged();
    // The table's `n` counts from 1.
    let submitted = 1001..=JOBS + 1000;
    let (mut died, mut lost) = (0, Vec::new());
    for job in submitted.filter(|job| !delivered.contains(job)) {
        match acknowledged.contains(&job.to_string()) {
            true => died += 1,
            false => lost.push(job),
        }
    }
    println!(
        "{JOBS} submitted, {KILLS} kills: {} delivered, {died} died with a job server that had \
         acknowledged them, {} lost",
        delivered.len(),
        lost.len()
    );
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert_eq!(delivered.len() + died, JOBS as usize);
    assert_eq!(gman.status("gman_jobs_failed"), 0);
}

/// Under the same unique ids gearmand would drop the repetition of a job that waits, and the repetition of an
/// older one, which a worker has done meanwhile, would come after it.
#[test]
fn what_is_repeated_ends_with_the_newest_value() {
    let gearmand = Gearmand::start();
    let proxy = Proxy::start(gearmand.port());
    let mut gman = pipelined(&proxy.address());
    gman.set("gman_timeout_ms", 300);

    // The second attempt takes both jobs.
    proxy.cut();
    gman.call("gman_do_background('f', 'old')").text();
    gman.call("gman_do_background('f', 'new')").text();
    proxy.hold_answers();
    proxy.mend();
    let attempts = |gman: &mut Gman| gman.status("gman_jobs_retried");
    let before = attempts(&mut gman);
    wait_until(PATIENCE, "gearmand to have both", || {
        match attempts(&mut gman) {
            after if after >= before + 4 => Ok(()),
            after => Err(after),
        }
    });
    assert_eq!(done_by_a_worker_for_one_job(&gearmand), "old");
    let before = attempts(&mut gman);
    wait_until(PATIENCE, "both to be repeated", || {
        match attempts(&mut gman) {
            after if after >= before + 4 => Ok(()),
            after => Err(after),
        }
    });
    proxy.let_answers_pass();
    flush(&mut gman);

    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    wait_until(PATIENCE, "the queue to be worked off", || {
        match gearmand.status().get("f").map_or(0, |f| f.queued) {
            0 => Ok(()),
            queued => Err(queued),
        }
    });
    let jobs = worker.jobs();
    let last = jobs.last().expect("the newest job waited");
    assert_eq!(last.workload, b"new", "{jobs:?}");
}

/// What a worker gets that ends after one job.
fn done_by_a_worker_for_one_job(gearmand: &Gearmand) -> String {
    let port = gearmand.port().to_string();
    run(Command::new("gearman").args(["-w", "-c", "1", "-f", "f", "-h", "127.0.0.1", "-p", &port]))
}

/// Cuts the network for `outage` in the middle of `JOBS` submissions.
fn survives_an_outage_of(outage: Duration) {
    const JOBS: u32 = 20_000;
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let proxy = Proxy::start(gearmand.port());
    let mut gman = pipelined(&proxy.address());

    submit(&mut gman.session, 0..JOBS / 2);
    proxy.cut();
    // The window has room for all of these: no call waits for the network.
    let started = Instant::now();
    submit(&mut gman.session, JOBS / 2..JOBS);
    let took = started.elapsed();
    thread::sleep(outage.saturating_sub(took));
    proxy.mend();
    flush(&mut gman);

    let arrivals = arrived(&worker, JOBS);
    println!(
        "{outage:?} without network: {} jobs arrived, {} of them twice; submitting took {took:?}",
        JOBS,
        arrivals.len() - JOBS as usize
    );
    assert_in_order(&arrivals);
    assert_eq!(gman.status("gman_jobs_failed"), 0);
}

#[test]
fn a_network_cut_of_five_seconds_loses_nothing_and_keeps_the_order() {
    survives_an_outage_of(Duration::from_secs(5));
}

#[test]
fn a_network_cut_of_a_minute_loses_nothing_and_keeps_the_order() {
    survives_an_outage_of(Duration::from_secs(60));
}

#[test]
fn a_full_window_is_waited_for_once_and_then_fails_at_once() {
    const TIMEOUT: Duration = Duration::from_millis(500);
    let gearmand = Gearmand::start();
    let mut gman = pipelined(&gearmand.address());
    gman.set("gman_timeout_ms", TIMEOUT.as_millis());
    gman.set("gman_window_bytes", 65_536);
    gearmand.stop();

    let submission = "gman_do_background('f', REPEAT('x', 1000))";
    let mut accepted = 0;
    let (waited, message) = loop {
        let call = gman.call(submission);
        match call.answer {
            Ok(_) => accepted += 1,
            Err(error) => break (call.took, error),
        }
    };
    println!("{accepted} jobs fit; the next one waited {waited:?}: {message}");
    assert!((60..=65).contains(&accepted), "{accepted}");
    assert!(waited >= TIMEOUT && waited < TIMEOUT + SLACK, "{waited:?}");
    assert!(
        message.contains(&format!("the window is full: {accepted} jobs")),
        "{message}"
    );

    let started = Instant::now();
    for _ in 0..1000 {
        gman.call(submission).error();
    }
    let others = started.elapsed();
    assert!(
        others < TIMEOUT + SLACK,
        "1000 calls on a full window took {others:?}"
    );

    gearmand.cont();
    flush(&mut gman);
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    gman.call(submission).text();
    let jobs = worker.wait_for(accepted + 1);
    let different: BTreeSet<_> = jobs.iter().map(|job| &job.unique).collect();
    assert_eq!(different.len(), accepted + 1);
}

#[test]
fn a_clean_shutdown_delivers_what_waits() {
    const JOBS: u32 = 20_000;
    let gearmand = Gearmand::start();
    let mut gman = pipelined(&gearmand.address());
    gman.set("gman_timeout_ms", 30_000);
    submit(&mut gman.session, 0..JOBS / 2);
    gearmand.stop();
    submit(&mut gman.session, JOBS / 2..JOBS);
    let Gman {
        session,
        mut database,
    } = gman;
    drop(session);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(300));
            gearmand.cont();
        });
        database.shutdown();
    });
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    assert_in_order(&arrived(&worker, JOBS));
}

#[test]
fn a_shutdown_waits_no_longer_than_the_timeout_and_names_what_is_left() {
    const TIMEOUT: Duration = Duration::from_millis(700);
    let port = Port::free();
    let mut gman = pipelined(&format!("127.0.0.1:{}", port.number()));
    gman.set("gman_timeout_ms", TIMEOUT.as_millis());
    gman.call("gman_do_background('one', '')").text();
    for _ in 0..2 {
        gman.call("gman_do_background('two', '')").text();
    }
    let Gman {
        session,
        mut database,
    } = gman;
    drop(session);
    let started = Instant::now();
    database.shutdown();
    println!("the shutdown took {:?}", started.elapsed());
    let log = database.error_log();
    assert!(
        log.contains(
            "after 700 ms of waiting no job server has taken these jobs: 1 for one, 2 for two"
        ),
        "{log}"
    );
}

#[test]
fn functions_are_dropped_and_created_again_and_the_window_stays() {
    const JOBS: u32 = 5_000;
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let mut gman = pipelined(&gearmand.address());
    gearmand.stop();
    submit(&mut gman.session, 0..JOBS);
    gman.database.run_script(&product_file("sql/uninstall.sql"));
    gearmand.cont();
    assert_in_order(&arrived(&worker, JOBS));
    gman.database.run_script(&product_file("sql/install.sql"));
    submit(&mut gman.session, JOBS..2 * JOBS);
    flush(&mut gman);
    assert_in_order(&arrived(&worker, 2 * JOBS));
}

#[test]
fn the_servers_change_in_the_middle_and_nothing_is_lost() {
    const JOBS: u32 = 30_000;
    let servers = [Gearmand::start(), Gearmand::start()];
    let workers = servers
        .each_ref()
        .map(|server| RecordingWorker::start(server.port(), &["f"]));
    let mut gman = pipelined(&servers[0].address());
    for (round, start) in (0..JOBS).step_by(1000).enumerate() {
        submit(&mut gman.session, start..start + 1000);
        gman.set_servers(&servers[(round + 1) % 2].address());
    }
    flush(&mut gman);
    wait_until(PATIENCE, "every job to arrive at one of the two", || {
        let jobs: HashSet<u32> = workers.iter().flat_map(numbers).collect();
        match jobs.len() {
            all if all == JOBS as usize => Ok(()),
            some => Err(some),
        }
    });
    for worker in &workers {
        assert!(worker.count() > 0, "a server got no job");
        assert_in_order(&numbers(worker));
    }
}

#[test]
fn jobs_go_to_the_next_server_and_back_to_the_first_when_it_returns() {
    let mut first = Gearmand::start();
    let second = Gearmand::start();
    let mut gman = pipelined(&format!("{},{}", first.address(), second.address()));
    first.kill();
    submit(&mut gman.session, 0..100);
    flush(&mut gman);
    assert_eq!(second.status()["f"].queued, 100);

    first.restart();
    let mut number = 100;
    wait_until(PATIENCE, "a job to go to the first server again", || {
        submit(&mut gman.session, number..number + 1);
        flush(&mut gman);
        number += 1;
        match first.status().get("f") {
            Some(status) if status.queued > 0 => Ok(()),
            status => Err(status.copied()),
        }
    });
}

#[test]
fn a_server_that_hangs_up_at_once_is_left_alone_for_a_while() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let connections = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&connections);
    thread::spawn(move || {
        for connection in listener.incoming() {
            drop(connection);
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut gman = pipelined(&address.to_string());
    submit(&mut gman.session, 0..3);
    assert_eq!(gman.call("gman_flush(1000)").text(), "3");
    // After 0.1 s, 0.2 s, 0.4 s and so on.
    let connections = connections.load(Ordering::SeqCst);
    assert!(
        (1..=6).contains(&connections),
        "{connections} connections in a second"
    );
}

/// The names of the threads of a process.
fn threads(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect()
}

#[test]
fn a_list_of_servers_costs_one_thread_however_many_sessions_there_are() {
    let sink = Sink::start();
    let mut gman = pipelined(&sink.address());
    let sessions: Vec<Conn> = (0..100).map(|_| gman.database.connect()).collect();
    for mut session in sessions {
        call(&mut session, "gman_do_background('f', 'w')").text();
    }
    flush(&mut gman);
    let ours: Vec<String> = threads(gman.database.pid())
        .into_iter()
        .filter(|name| name.starts_with("gman-"))
        .collect();
    assert_eq!(ours, ["gman-sender"]);
}

/// How many threads send jobs.
fn senders(gman: &Gman) -> usize {
    let threads = threads(gman.database.pid());
    threads.iter().filter(|name| *name == "gman-sender").count()
}

#[test]
fn lists_that_are_the_same_cost_one_thread_and_there_are_at_most_64() {
    let sink = Sink::start();
    let mut gman = pipelined(&sink.address());
    for number in 0..64 {
        let list = format!("gman_servers_set('{}', 'f{number}')", sink.address());
        gman.call(&list).text();
        gman.call(&format!("gman_do_background('f{number}', '')"))
            .text();
    }
    flush(&mut gman);
    assert_eq!(senders(&gman), 1);

    let one_more = format!("gman_servers_set('{}', 'one more')", sink.address());
    let refused = gman.call(&one_more).error();
    assert!(
        refused.contains("64 functions have a list of their own"),
        "{refused}"
    );
    assert_eq!(gman.call("gman_servers_set('', 'f7')").text(), "");
    gman.call(&one_more).text();
    gman.call("gman_do_background('f7', '')").text();
    flush(&mut gman);
    assert_eq!(sink.jobs(), 65);
}

#[test]
fn a_function_that_gets_a_list_of_its_own_does_not_overtake_its_earlier_jobs() {
    let mut old = Gearmand::start();
    let new = Gearmand::start();
    let mut gman = pipelined(&old.address());
    old.kill();
    submit(&mut gman.session, 0..3);
    gman.call("gman_do_background('g', '')").text();
    gman.call(&format!("gman_servers_set('{}', 'f')", new.address()))
        .text();
    wait_until(PATIENCE, "the old server to be found dead", || {
        match gman.call("gman_do_background('f', '3', '3')").answer {
            Err(error) if error.contains("Connection refused") => Ok(()),
            other => Err(other),
        }
    });
    assert!(new.status().is_empty(), "{:?}", new.status());

    old.restart();
    flush(&mut gman);
    submit(&mut gman.session, 3..5);
    flush(&mut gman);
    assert_eq!((old.status()["f"].queued, old.status()["g"].queued), (3, 1));
    assert_eq!(new.status()["f"].queued, 2);
}

#[test]
fn a_full_window_takes_its_size_in_memory_and_little_more() {
    const WINDOW: u64 = 16 << 20;
    const ALLOWED: u64 = WINDOW + (8 << 20);
    let gearmand = Gearmand::start();
    let mut gman = pipelined(&gearmand.address());
    gman.set("gman_window_bytes", WINDOW);
    gman.set("gman_timeout_ms", 100);
    gman.create_table(1000, "NULL");
    let submit = "SELECT COUNT(gman_do_background('f', REPEAT('x', 100))) FROM t";
    gman.execute(submit);
    flush(&mut gman);
    let before = gman.database.rss_bytes();

    gearmand.stop();
    let everything = format!("{submit}, t AS again");
    let full = gman
        .session
        .query::<mysql::Row, _>(everything)
        .expect_err("a million jobs do not fit into the window")
        .to_string();
    assert!(full.contains("the window is full"), "{full}");
    let grown = gman.database.rss_bytes().saturating_sub(before);
    let used = gman.status("gman_window_bytes_used");
    println!("{used} bytes in a window of {WINDOW} took {grown} bytes of memory");
    assert!(used > WINDOW / 2, "{used}");
    assert!(grown <= ALLOWED, "{grown}");
}

#[test]
fn sessions_that_submit_at_once_lose_nothing() {
    const SESSIONS: u32 = 16;
    const JOBS: u32 = 1_000;
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let mut gman = pipelined(&gearmand.address());
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..SESSIONS {
            let mut session = gman.database.connect();
            let failed = &failed;
            scope.spawn(move || {
                let jobs = number * JOBS..(number + 1) * JOBS;
                let outcome = thread::spawn(move || submit(&mut session, jobs)).join();
                failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
            });
        }
    });
    assert!(!failed.load(Ordering::Relaxed));
    flush(&mut gman);
    let arrivals = arrived(&worker, SESSIONS * JOBS);
    assert_eq!(arrivals.len(), (SESSIONS * JOBS) as usize);
    for session in 0..SESSIONS {
        let of_session: Vec<u32> = arrivals
            .iter()
            .copied()
            .filter(|job| job / JOBS == session)
            .collect();
        assert_in_order(&of_session);
    }
}
