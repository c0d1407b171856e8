//! What the library does to the server it lives in: nothing, for ever.

use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mysql::Conn;
use mysql::prelude::Queryable;

use crate::support::{Database, FILE_NAME, Gearmand, Library, RecordingWorker, Sink, product_file};

#[test]
fn a_panic_is_an_error_of_the_statement_and_the_server_lives_on() {
    let database = Database::start();
    database.install_functions_of(Library::with_switches());
    database
        .execute("CREATE FUNCTION gman_test_panic RETURNS STRING SONAME 'libgearman_mysql_udf.so'");
    let pid = database.pid();

    for (place, expected) in [
        (
            "init",
            "Can't initialize function 'gman_test_panic'; internal error, please report it with the error log: asked for in init",
        ),
        (
            "row",
            "gman_test_panic: internal error, please report it with the error log: asked for in a row",
        ),
    ] {
        let error = database
            .try_value::<Option<String>>(&format!("SELECT gman_test_panic('{place}')"))
            .expect_err("a panic is an error");
        assert!(error.to_string().contains(expected), "{error}");
    }

    assert_eq!(database.pid(), pid);
    let json: String = database.value("SELECT json_object_udf(1 AS a)");
    assert_eq!(json, r#"{"a":1}"#);
}

/// In a trigger the server makes a new instance of a function for each row, so this counts
/// instances as well as calls.
#[test]
fn a_million_calls_leave_the_memory_of_the_server_as_it_was() {
    const ROWS: u64 = 10_000;
    const WARM_UP: u64 = 200_000;
    const CALLS: u64 = 1_000_000;
    const ALLOWED: u64 = 8 << 20;
    let database = Database::start();
    database.install_functions();
    database.execute("CREATE TABLE t (id INT PRIMARY KEY, n INT) ENGINE=MEMORY");
    let numbers = (1..=ROWS).map(|id| format!("({id},0)"));
    let rows = numbers.collect::<Vec<_>>().join(",");
    database.execute(&format!("INSERT INTO t VALUES {rows}"));
    database.execute(
        "CREATE TRIGGER changed AFTER UPDATE ON t FOR EACH ROW \
         SET @lost = @lost + (gman_do_background('f', json_object_udf(NEW.id, NEW.n)) IS NULL)",
    );
    let job_server = Sink::start();
    let set = format!("SELECT gman_servers_set('{}')", job_server.address());
    let mut session = database.connect();
    session.query_drop(set).expect("the servers to be set");
    session.query_drop("SET @lost = 0").expect("a variable");

    let mut update = |calls: u64| {
        for _ in 0..calls / ROWS {
            session
                .query_drop("UPDATE t SET n = n + 1")
                .expect("an UPDATE");
        }
    };
    update(WARM_UP);
    let before = database.rss_bytes();
    update(CALLS);
    let after = database.rss_bytes();

    // On a machine that is busy with other things a call may run into its timeout, and says so.
    let lost: Option<u64> = session.query_first("SELECT @lost").expect("a variable");
    let lost = lost.expect("a number");
    let grown = after.saturating_sub(before);
    println!("{CALLS} calls, {lost} failed: {before} bytes before, {after} after");
    assert!(job_server.jobs() + lost >= WARM_UP + CALLS);
    assert!(lost < CALLS / 10, "{lost} calls failed");
    assert!(grown <= ALLOWED, "the server grew by {grown} bytes");
}

/// What a server says while a function is dropped or not there: `ER_CANT_FIND_UDF`,
/// `ER_SP_DOES_NOT_EXIST`, and `ER_WRONG_PARAMETERS_TO_STORED_FCT`, as `AS` is for loadable functions.
const MISSING: [u16; 3] = [1122, 1305, 1584];

/// Runs `statement` until told to stop; returns what it answered. A function that is not there for
/// the moment is what the test is about; any other error is not.
fn repeat_until(stop: &AtomicBool, mut session: Conn, statement: &str) -> Vec<String> {
    let mut answers = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match session.query_first::<Option<String>, _>(statement) {
            Ok(answer) => answers.extend(answer.flatten()),
            Err(mysql::Error::MySqlError(error)) => {
                assert!(MISSING.contains(&error.code), "{error}");
            }
            Err(error) => panic!("the server is gone: {error}"),
        }
    }
    answers
}

/// Drops all functions and creates them again, some times, while four sessions run `statement`;
/// returns what it answered.
///
/// One function at a time: servers rename a dropped function that is in use to `*`, and a statement
/// that is just being prepared then finds any of that name (`find_udf` of `sql_udf.cc`), so that
/// with two of them one is called in the place of the other.
fn answers_while_reinstalled(database: &Database, statement: &str) -> Vec<String> {
    const TIMES: usize = 15;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let users: Vec<_> = (0..4)
            .map(|_| {
                let session = database.connect();
                scope.spawn(|| repeat_until(&stop, session, statement))
            })
            .collect();
        for _ in 0..TIMES {
            database.run_script(&product_file("sql/uninstall.sql"));
            database.run_script(&product_file("sql/install.sql"));
        }
        stop.store(true, Ordering::Relaxed);
        let joined = users.into_iter().map(|thread| thread.join());
        joined
            .flat_map(|answers| answers.expect("a session"))
            .collect()
    })
}

#[test]
fn functions_are_dropped_and_created_again_under_load_and_no_job_is_lost() {
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let database = Database::start();
    database.install_functions();
    let set = format!("SELECT gman_servers_set('{}')", gearmand.address());
    database.execute(&set);
    let pid = database.pid();

    let objects = answers_while_reinstalled(&database, "SELECT json_object_udf(7 AS id)");
    let handles: HashSet<String> =
        answers_while_reinstalled(&database, "SELECT gman_do_background('f', 'w')")
            .into_iter()
            .collect();

    println!("{} objects and {} jobs", objects.len(), handles.len());
    assert!(!objects.is_empty());
    assert!(objects.iter().all(|object| object == r#"{"id":7}"#));
    assert!(!handles.is_empty());
    assert_eq!(database.pid(), pid);
    assert!(
        database
            .value::<Option<String>>("SELECT gman_do_background('f', 'after')")
            .is_some()
    );
    let arrived: HashSet<String> = worker
        .wait_for(handles.len() + 1)
        .into_iter()
        .map(|job| job.handle)
        .collect();
    assert!(handles.is_subset(&arrived));
}

#[test]
fn a_file_that_is_put_in_the_place_of_the_library_counts_from_the_next_start() {
    let mut database = Database::start();
    database.install_functions();
    let file = database.plugin_dir().join(FILE_NAME);
    let unfinished = file.with_extension("new");
    // Not a library, so that nobody can take one for the other.
    fs::write(&unfinished, "text").expect("a file");
    fs::rename(&unfinished, &file).expect("its place");

    let call = "SELECT json_array_udf(1)";
    assert_eq!(database.value::<String>(call), "[1]");
    // Also for functions that are all dropped and created again.
    database.run_script(&product_file("sql/uninstall.sql"));
    database.run_script(&product_file("sql/install.sql"));
    assert_eq!(database.value::<String>(call), "[1]");

    // The server starts without the functions, and says why.
    database.restart();
    assert!(database.try_value::<String>(call).is_err());
    let log = database.error_log();
    assert!(log.contains("Can't open shared library"), "{log}");
}
