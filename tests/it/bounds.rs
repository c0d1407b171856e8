//! What ends a call before its time is up: KILL, a statement's time limit, a client that goes; and jobs
//! ahead of it that do not move.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use crate::support::fake_job_server::Reply;
use crate::support::{
    FakeJobServer, Gearmand, Gman, RecordingWorker, SlowLink, unsupported, wait_until,
};

/// What a busy machine may add to a bound.
const SLACK: Duration = Duration::from_secs(1);

/// How long a test waits for something to happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than any call of these tests may take.
const LONG_MS: u32 = 60_000;

/// A database whose calls fail loudly and, left alone, take very long.
fn patient(servers: &str) -> Gman {
    let mut gman = Gman::with_switches();
    gman.set("gman_on_failure", "error");
    gman.set("gman_timeout_ms", LONG_MS);
    gman.set("gman_do_timeout_ms", LONG_MS);
    gman.set_servers(servers);
    gman
}

/// The number of a session.
fn id(session: &mut Conn) -> u64 {
    let id = session.query_first("SELECT CONNECTION_ID()");
    id.expect("a session").expect("a row")
}

/// Kills the statement in `session` once it runs `call`; returns its error and how long it went on.
fn killed(gman: &Gman, session: &mut Conn, call: &str, how: &str) -> (String, Duration) {
    let id = id(session);
    thread::scope(|scope| {
        let killer = scope.spawn(move || {
            let running = format!(
                "SELECT COUNT(*) FROM information_schema.processlist \
                 WHERE id = {id} AND info IS NOT NULL AND time > 0"
            );
            wait_until(PATIENCE, "the call to wait", || {
                match gman.database.value::<u64>(&running) {
                    1 => Ok(()),
                    other => Err(other),
                }
            });
            gman.database.execute(&format!("{how} {id}"));
            Instant::now()
        });
        let error = crate::support::call(session, call).error();
        let ended = Instant::now();
        let killed = killer.join().expect("the killer");
        (error, ended.saturating_duration_since(killed))
    })
}

/// Whether the server is MariaDB.
fn is_maria(gman: &Gman) -> bool {
    let version: String = gman.database.value("SELECT VERSION()");
    version.contains("MariaDB")
}

#[test]
fn jobs_that_are_stuck_cost_the_next_call_nothing_and_it_says_why() {
    const TIMEOUT_MS: u32 = 1000;
    let mut gearmand = Gearmand::start();
    let mut gman = Gman::with_switches();
    gman.set("gman_on_failure", "error");
    gman.set("gman_timeout_ms", TIMEOUT_MS);
    gman.set_servers(&gearmand.address());
    gman.set("gman_delivery", "pipelined");
    gearmand.kill();
    for _ in 0..5 {
        gman.call("gman_do_background('f', 'w')").text();
    }
    wait_until(PATIENCE, "the sender to fail", || {
        match gman.status("gman_server_failures") {
            0 => Err(0),
            _ => Ok(()),
        }
    });
    let foreground = gman.call("gman_do('f', 'w')");
    gman.set("gman_delivery", "acked");
    let began = Instant::now();
    for _ in 0..100 {
        let error = gman.call("gman_do_background('f', 'w')").error();
        assert!(
            error.contains(
                "5 jobs of pipelined delivery wait for their job servers, and this one must not \
                 overtake them"
            ),
            "{error}"
        );
        assert!(error.contains("Connection refused"), "{error}");
        assert!(!error.contains("window is full"), "{error}");
    }
    let took = began.elapsed();
    println!(
        "100 calls behind five stuck jobs: {took:?}; in the foreground {:?}",
        foreground.took
    );
    assert!(took < Duration::from_millis(TIMEOUT_MS.into()), "{took:?}");
    assert!(
        foreground.took < Duration::from_millis(500),
        "{foreground:?}"
    );
    assert!(foreground.error().contains("must not overtake"));

    gearmand.restart();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    wait_until(PATIENCE, "a job to go through", || {
        gman.call("gman_do_background('f', 'last')")
            .answer
            .map(drop)
    });
    let jobs = worker.wait_for(6);
    assert_eq!(jobs[5].workload, b"last");
}

#[test]
fn a_silent_server_makes_one_call_wait_and_the_others_fail_at_once() {
    const TIMEOUT: Duration = Duration::from_millis(700);
    let gearmand = Gearmand::start();
    let mut gman = Gman::with_switches();
    gman.set("gman_on_failure", "error");
    gman.set("gman_timeout_ms", TIMEOUT.as_millis());
    gman.set_servers(&gearmand.address());
    gman.set("gman_delivery", "pipelined");
    gearmand.stop();
    gman.call("gman_do_background('f', 'w')").text();
    gman.set("gman_delivery", "acked");
    let began = Instant::now();
    for _ in 0..100 {
        gman.call("gman_do_background('f', 'w')").error();
    }
    let took = began.elapsed();
    println!("100 calls behind a job that a silent server has: {took:?}");
    assert!(took < 3 * TIMEOUT + SLACK, "{took:?}");
    gearmand.cont();
}

#[test]
fn a_call_that_waits_for_jobs_ahead_of_it_can_be_killed() {
    let gearmand = Gearmand::start();
    let mut gman = patient(&gearmand.address());
    gman.set("gman_delivery", "pipelined");
    gearmand.stop();
    gman.call("gman_do_background('f', 'w')").text();
    gman.set("gman_delivery", "acked");
    let mut session = gman.database.connect();
    for submission in ["gman_do_background('f', 'w')", "gman_do('f', 'w')"] {
        let (error, took) = killed(&gman, &mut session, submission, "KILL QUERY");
        assert!(error.contains("interrupted"), "{submission}: {error}");
        assert!(took < SLACK, "{submission}: {took:?}");
    }
    gearmand.cont();
}

#[test]
fn a_background_submission_can_be_killed() {
    let silent = FakeJobServer::always(Reply::Silence);
    let gman = patient(&silent.address());
    let mut session = gman.database.connect();
    for submission in [
        "gman_do_background('f', 'w')",
        "gman_do_epoch('f', 'w', 4000000000)",
    ] {
        let (error, took) = killed(&gman, &mut session, submission, "KILL QUERY");
        println!("{submission} ended {took:?} after KILL QUERY: {error}");
        assert!(error.contains("interrupted"), "{error}");
        assert!(took < SLACK, "{took:?}");
    }
}

#[test]
fn a_submission_that_waits_for_room_can_be_killed() {
    let gearmand = Gearmand::start();
    let mut gman = patient(&gearmand.address());
    gman.set("gman_window_bytes", 65_536);
    gman.set("gman_delivery", "pipelined");
    gearmand.stop();
    gman.call("gman_do_background('f', REPEAT('x', 65536))")
        .text();
    let mut session = gman.database.connect();
    let (error, took) = killed(
        &gman,
        &mut session,
        "gman_do_background('f', 'w')",
        "KILL QUERY",
    );
    assert!(error.contains("interrupted"), "{error}");
    assert!(took < SLACK, "{took:?}");
    gearmand.cont();
}

#[test]
fn a_statements_time_limit_ends_a_waiting_call_with_the_servers_own_error() {
    let silent = FakeJobServer::always(Reply::Silence);
    let mut gman = patient(&silent.address());
    gman.execute("CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL)");
    gman.execute("INSERT INTO t VALUES (1, 0)");
    let calls = [
        "gman_do('f', 'w')",
        "gman_sum('f', 'w')",
        "gman_do_background('f', 'w')",
    ];
    let (statements, code): (Vec<String>, u16) = match is_maria(&gman) {
        true => {
            gman.execute(
                "CREATE TRIGGER changed AFTER UPDATE ON t FOR EACH ROW \
                 SET @result = gman_do_background('f', 'w')",
            );
            let limited = |statement: String| {
                format!("SET STATEMENT max_statement_time = 0.2 FOR {statement}")
            };
            let mut statements: Vec<_> = calls
                .iter()
                .map(|call| limited(format!("SELECT {call}")))
                .collect();
            statements.push(limited("UPDATE t SET n = n + 1".to_owned()));
            (statements, 1969)
        }
        false
            if gman
                .session
                .query_drop("SET max_execution_time = 200")
                .is_ok() =>
        {
            let statements = calls.iter().map(|call| format!("SELECT {call}"));
            (statements.collect(), 3024)
        }
        false => unsupported!("the server has no time limit for statements"),
    };
    for statement in statements {
        let began = Instant::now();
        let ended = gman.session.query::<mysql::Row, _>(&statement);
        let took = began.elapsed();
        println!("{statement}: {took:?}: {ended:?}");
        let Err(mysql::Error::MySqlError(error)) = ended else {
            panic!("{statement}: expected an SQL error, got {ended:?} after {took:?}");
        };
        assert_eq!(error.code, code, "{statement}: {error}");
        assert!(
            took < Duration::from_millis(200) + SLACK,
            "{statement}: {took:?}"
        );
    }
    assert_eq!(gman.database.value::<i64>("SELECT n FROM t"), 0);
}

#[test]
fn a_soft_kill_ends_a_waiting_call() {
    let silent = FakeJobServer::always(Reply::Silence);
    let gman = patient(&silent.address());
    if !is_maria(&gman) {
        unsupported!("the server has no KILL SOFT");
    }
    let mut session = gman.database.connect();
    for submission in ["gman_do_background('f', 'w')", "gman_do('f', 'w')"] {
        let (error, took) = killed(&gman, &mut session, submission, "KILL SOFT QUERY");
        assert!(error.contains("interrupted"), "{submission}: {error}");
        assert!(took < SLACK, "{submission}: {took:?}");
    }
}

#[test]
fn a_foreground_call_ends_with_its_client() {
    let silent = FakeJobServer::always(Reply::Handle);
    let gman = patient(&silent.address());
    if !is_maria(&gman) {
        unsupported!("the server does not tell whether a client is there");
    }
    let mut client = Command::new("mariadb")
        .args(gman.database.client_options())
        .arg("--execute=SELECT gman_do('f', 'w')")
        .stderr(Stdio::null())
        .spawn()
        .expect("the client");
    silent.wait_for(1);
    client.kill().expect("a client that waits");
    client.wait().expect("a client that was killed");
    let running =
        "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT gman_do(%'";
    wait_until(PATIENCE, "the statement to end", || {
        match gman.database.value::<u64>(running) {
            0 => Ok(()),
            other => Err(other),
        }
    });
}

/// What a request of 20 MB takes two seconds on.
const SLOW: usize = 10 << 20;

/// A workload that takes longer on its way than the default of `gman_timeout_ms`.
const LARGE: &str = "REPEAT('x', 20000000)";

#[test]
fn a_pipelined_job_that_takes_longer_than_the_timeout_arrives_and_holds_up_nobody() {
    let gearmand = Gearmand::start();
    let link = SlowLink::start(gearmand.port(), SLOW);
    let mut gman = Gman::with_switches();
    gman.set_servers(&link.address());
    gman.set("gman_window_bytes", 64 << 20);
    gman.set("gman_delivery", "pipelined");
    gman.call(&format!("gman_do_background('f', {LARGE})"))
        .text();
    for _ in 0..5 {
        gman.call("gman_do_background('f', 'small')").text();
    }
    assert_eq!(gman.call("gman_flush(30000)").text(), "0");
    assert_eq!(gearmand.status()["f"].queued, 6);
    assert_eq!(gman.status("gman_server_failures"), 0);
}

#[test]
fn a_relayed_row_that_takes_longer_than_the_timeout_arrives() {
    let gearmand = Gearmand::start();
    let link = SlowLink::start(gearmand.port(), SLOW);
    let mut gman = Gman::with_switches();
    gman.set_servers(&link.address());
    let rows = format!(
        "(SELECT 1 AS id, 'first' AS w UNION ALL SELECT 2, {LARGE} UNION ALL SELECT 3, 'last') AS r"
    );
    let relayed: Vec<Option<u64>> =
        gman.query(&format!("SELECT gman_relay(id, 'f', w) FROM {rows}"));
    assert_eq!(relayed, [Some(3)], "{:?}", gman.call("gman_relay_error()"));
    assert_eq!(gearmand.status()["f"].queued, 3);
}

#[test]
fn a_job_that_no_connection_survives_is_set_aside_and_told() {
    const FAILURES: usize = 8;
    let server = FakeJobServer::start(|number| match number {
        0..FAILURES => Reply::BytesThenClose(Vec::new()),
        _ => Reply::Handle,
    });
    let mut gman = Gman::with_switches();
    gman.set_servers(&server.address());
    gman.set("gman_delivery", "pipelined");
    gman.call("gman_do_background('f', 'w', 'bad')").text();
    gman.call("gman_do_background('f', 'w', 'good')").text();
    assert_eq!(gman.call("gman_flush(60000)").text(), "0");
    let uniques = server.submissions().into_iter().map(|job| job.unique);
    let expected = [vec!["bad"; FAILURES], vec!["good"]].concat();
    assert_eq!(uniques.collect::<Vec<_>>(), expected);
    assert_eq!(gman.status("gman_jobs_failed"), 1);
    assert_eq!(gman.status("gman_in_flight"), 0);
    assert_eq!(gman.status("gman_window_bytes_used"), 0);
    let log = gman.database.error_log();
    assert!(
        log.contains("a job for the Gearman function f is lost: its connection failed 8 times"),
        "{log}"
    );
}
