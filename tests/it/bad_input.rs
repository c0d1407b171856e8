//! Whatever cannot work says why, soon, and the next call works once the cause is gone.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, Row};

use crate::support::{Database, Gearmand, Port, RecordingWorker, wait_until};

/// The default of `gman_timeout_ms`: no submission takes longer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What a busy machine may add to a call that waits for its timeout.
const SLACK: Duration = Duration::from_secs(2);

/// How long a server that failed is left alone at most: from design, 10 s.
const COOL_DOWN: Duration = Duration::from_secs(10);

/// A server with the functions, and a session on it.
fn installed() -> (Database, Conn) {
    let database = Database::start();
    database.install_functions();
    let session = database.connect();
    (database, session)
}

/// The message of the SQL error that `sql` ends with, and how long it took.
fn refusal(session: &mut Conn, sql: &str) -> (String, Duration) {
    let started = Instant::now();
    match session.query::<Row, _>(sql) {
        Err(mysql::Error::MySqlError(error)) => (error.message, started.elapsed()),
        other => panic!("{sql}: expected an SQL error, got {other:?}"),
    }
}

/// The first value that `sql` answers, and how long it took.
fn answer(session: &mut Conn, sql: &str) -> (Option<String>, Duration) {
    let started = Instant::now();
    let value: Option<Option<String>> = session
        .query_first(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    (value.flatten(), started.elapsed())
}

/// Asserts that each statement is refused at once with a message that holds the text beside it.
fn assert_refused(session: &mut Conn, cases: &[(&str, &str)]) {
    for (sql, expected) in cases {
        let (message, took) = refusal(session, sql);
        println!("{took:>10.1?}  {sql}\n            {message}");
        assert!(message.contains(expected), "{sql}: {message}");
        assert!(took <= TIMEOUT + SLACK, "{sql}: {took:?}");
    }
}

fn use_gearmand(session: &mut Conn, gearmand: &Gearmand) {
    let address = gearmand.address();
    let set = format!("SELECT gman_servers_set('{address}')");
    assert_eq!(answer(session, &set).0, Some(address));
}

#[test]
fn a_bad_server_list_is_an_error_and_the_list_stays_as_it_was() {
    let gearmand = Gearmand::start();
    let (_database, mut session) = installed();
    use_gearmand(&mut session, &gearmand);

    assert_refused(
        &mut session,
        &[
            ("SELECT gman_servers_set(NULL)", "servers is NULL"),
            (
                "SELECT gman_servers_set('')",
                "servers is empty, expected a list such as",
            ),
            ("SELECT gman_servers_set(' , ')", "servers is empty"),
            (
                "SELECT gman_servers_set('127.0.0.1:http')",
                "\"127.0.0.1:http\" expected",
            ),
            (
                "SELECT gman_servers_set('127.0.0.1:65536')",
                "\"127.0.0.1:65536\" expected",
            ),
            (
                "SELECT gman_servers_set('127.0.0.1:4730,[::1')",
                "\"[::1\" expected",
            ),
            (
                "SELECT gman_servers_set()",
                "Must give one or two arguments.",
            ),
        ],
    );

    assert!(
        answer(&mut session, "SELECT gman_do_background('f', 'w')")
            .0
            .is_some()
    );
}

#[test]
fn a_bad_function_name_is_an_error() {
    let gearmand = Gearmand::start();
    let (_database, mut session) = installed();
    use_gearmand(&mut session, &gearmand);

    let long = "f".repeat(512);
    assert_refused(
        &mut session,
        &[
            (
                "SELECT gman_do_background('', 'w')",
                "function is empty, expected the name",
            ),
            (
                "SELECT gman_do_background('a\\0b', 'w')",
                "function has a NUL byte at position 2",
            ),
            (
                &format!("SELECT gman_do_background('{long}', 'w')"),
                "Function name too long.",
            ),
            (
                "SELECT gman_do_background(NULL, 'w')",
                "First argument must be a string.",
            ),
            (
                "SELECT gman_do_background(7, 'w')",
                "First argument must be a string.",
            ),
            (
                "SELECT gman_do_background('f')",
                "Must give two or three arguments.",
            ),
            (
                "SELECT gman_do_background('f', 'w', REPEAT('u', 64))",
                "unique is 64 bytes long",
            ),
        ],
    );

    assert!(
        answer(&mut session, "SELECT gman_do_background('f', 'w')")
            .0
            .is_some()
    );
}

#[test]
fn without_servers_the_answer_is_null_and_says_how_to_set_them() {
    let (database, mut session) = installed();

    let (handle, took) = answer(&mut session, "SELECT gman_do_background('f', 'w')");
    println!("{took:.1?}  no servers set");
    assert_eq!(handle, None);
    assert!(took <= TIMEOUT, "{took:?}");
    assert!(
        database
            .error_log()
            .contains("no job servers are set; SELECT gman_servers_set("),
        "{}",
        database.error_log()
    );

    let gearmand = Gearmand::start();
    use_gearmand(&mut session, &gearmand);
    assert!(
        answer(&mut session, "SELECT gman_do_background('f', 'w')")
            .0
            .is_some()
    );
}

#[test]
fn without_gearmand_the_answer_is_null_and_names_server_phase_and_cause() {
    let port = Port::free();
    let address = format!("127.0.0.1:{}", port.number());
    let (database, mut session) = installed();
    answer(
        &mut session,
        &format!("SELECT gman_servers_set('{address}')"),
    );

    let (handle, took) = answer(&mut session, "SELECT gman_do_background('f', 'w')");
    println!("{took:.1?}  gearmand does not run");
    assert_eq!(handle, None);
    assert!(took <= TIMEOUT, "{took:?}");
    let log = database.error_log();
    assert!(
        log.contains(&format!("connect {address}: Connection refused")),
        "{log}"
    );

    let _gearmand = Gearmand::start_on(port);
    wait_until(COOL_DOWN + SLACK, "a job to be taken again", || {
        let (handle, took) = answer(&mut session, "SELECT gman_do_background('f', 'w')");
        assert!(took <= TIMEOUT, "{took:?}");
        handle.ok_or(took)
    });
}

#[test]
fn a_null_workload_is_an_empty_one_and_a_large_one_arrives_whole() {
    const LARGE: usize = 32 << 20;
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let (_database, mut session) = installed();
    use_gearmand(&mut session, &gearmand);

    assert!(
        answer(&mut session, "SELECT gman_do_background('f', NULL)")
            .0
            .is_some()
    );
    let large = format!(
        "SELECT gman_do_background('f', REPEAT('0123456789abcdef', {}))",
        LARGE / 16
    );
    let (handle, took) = answer(&mut session, &large);
    println!("{took:.1?}  a workload of {LARGE} bytes");
    assert!(handle.is_some());

    let jobs = worker.wait_for(2);
    assert_eq!(jobs[0].workload, b"");
    assert_eq!(jobs[1].workload.len(), LARGE);
    assert!(
        jobs[1]
            .workload
            .chunks(16)
            .all(|chunk| chunk == b"0123456789abcdef")
    );
}
