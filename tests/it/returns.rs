//! What CREATE FUNCTION says of a function, and what it should have said.

use mysql::prelude::Queryable;
use mysql::{Conn, Value};

use crate::support::{Answer, Database, FILE_NAME, Gearmand, Library, RecordingWorker};

/// Every function: its name, what it returns, and calls of it.
///
/// The server tells a function the width of its result, which it makes up from the arguments for a
/// string; so there is an argument as wide as each type of number.
const FUNCTIONS: [(&str, &str, &[&str]); 21] = [
    (
        "json_object_udf",
        "STRING",
        &["1 AS a", "n AS a", "c21 AS a", "c17 AS a", "1.5 AS a"],
    ),
    ("json_array_udf", "STRING", &["", "1", "c21", "1.5", "1e0"]),
    ("json_members", "STRING", &["'a', 1", "c21, 1"]),
    ("json_values", "STRING", &["", "c21"]),
    ("json_base64", "STRING", &["'abc'", "c21", "c17", "c23"]),
    ("lib_mysqludf_json_info", "STRING", &[""]),
    ("gman_servers_set", "STRING", &["'ADDRESS'"]),
    ("gman_check", "STRING", &[""]),
    (
        "gman_do",
        "STRING",
        &["'f', 'w'", "'f', c21", "'f', c17, NULL"],
    ),
    ("gman_do_high", "STRING", &["'f', 'w'"]),
    ("gman_do_low", "STRING", &["'f', 'w'"]),
    (
        "gman_do_background",
        "STRING",
        &["'f', 'w'", "'f', c21", "'f', 1.5"],
    ),
    ("gman_do_high_background", "STRING", &["'f', 'w'"]),
    ("gman_do_low_background", "STRING", &["'f', 'w'"]),
    ("gman_do_epoch", "STRING", &["'f', 'w', 1"]),
    ("gman_relay_error", "STRING", &[""]),
    ("gman_flush", "INTEGER", &["", "1", "1.2345", "c21"]),
    ("gman_outbox_written", "INTEGER", &["'test'", "c21"]),
    ("gman_outbox_wait", "INTEGER", &["'test', 1", "c21, 1.2345"]),
    (
        "gman_sum",
        "INTEGER",
        &["'f', '7'", "'f', c21", "'f', 1.2345"],
    ),
    (
        "gman_relay",
        "INTEGER",
        &["1, 'f', 'w'", "1, 'f', c21", "1, 'f', 1.2345"],
    ),
];

/// What MySQL says where a double looks like a string: both are 23 wide.
const SERVERS_OWN: &str = "can be set only for the UDF RETURN type STRING";

const AGGREGATES: [&str; 2] = ["gman_sum", "gman_relay"];

fn create(name: &str, returns: &str, aggregate: &str) -> String {
    format!("CREATE {aggregate}FUNCTION {name} RETURNS {returns} SONAME '{FILE_NAME}'")
}

fn statement(name: &str, returns: &str) -> String {
    let aggregate = match AGGREGATES.contains(&name) {
        true => "AGGREGATE ",
        false => "",
    };
    create(name, returns, aggregate)
}

fn answer(session: &mut Conn, call: &str) -> Result<Value, String> {
    match session.query_first::<Value, _>(format!("SELECT {call} FROM t")) {
        Ok(value) => Ok(value.expect("a row")),
        Err(mysql::Error::MySqlError(error)) => Err(error.message),
        Err(error) => panic!("{call}: the server is gone: {error}"),
    }
}

#[test]
fn every_function_created_with_any_returns_works_or_says_how_to_create_it() {
    let gearmand = Gearmand::start();
    let worker =
        RecordingWorker::answering(gearmand.port(), &["f"], |_| Answer::Complete(b"7".to_vec()));
    let database = Database::start();
    database.copy_library(Library::release(), FILE_NAME);
    let pid = database.pid();
    let mut session = database.connect();
    let mut execute = |sql: &str| {
        session
            .query_drop(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    };
    execute(
        "CREATE TABLE t (n INT, c17 CHAR(17) CHARACTER SET latin1, c21 CHAR(21) CHARACTER SET latin1,
           c23 CHAR(23) CHARACTER SET latin1)",
    );
    execute("INSERT INTO t VALUES (7, '7', '7', '7')");
    execute(&create("gman_servers_set", "STRING", ""));
    execute(&format!("DO gman_servers_set('{}')", gearmand.address()));
    execute("DROP FUNCTION gman_servers_set");

    let mut session = database.connect();
    let mut refused = 0;
    for (name, right, calls) in FUNCTIONS {
        for returns in ["STRING", "INTEGER", "REAL", "DECIMAL"] {
            let execute = |sql: &str| database.execute(sql);
            execute(&statement(name, returns));
            for arguments in calls {
                let arguments = arguments.replace("ADDRESS", &gearmand.address());
                let call = format!("{name}({arguments})");
                let jobs = worker.jobs().len();
                match (answer(&mut session, &call), returns == right) {
                    (Ok(value), true) => {
                        let may_be_null = ["gman_relay_error", "gman_outbox_wait"].contains(&name);
                        assert!(may_be_null || value != Value::NULL, "{call}");
                    }
                    (Err(message), false) => {
                        refused += 1;
                        let remedy = format!("DROP FUNCTION {name}; {}", statement(name, right));
                        assert!(
                            message.contains(&remedy) || message.contains(SERVERS_OWN),
                            "{call}: {message}"
                        );
                        if !AGGREGATES.contains(&name) {
                            assert_eq!(worker.jobs().len(), jobs, "{call} sent a job");
                        }
                    }
                    (result, _) => panic!("{call} RETURNS {returns}: {result:?}"),
                }
            }
            execute(&format!("DROP FUNCTION {name}"));
        }
    }
    println!("{refused} calls refused");
    assert_eq!(database.pid(), pid);
}

#[test]
fn an_aggregate_created_without_the_word_says_how_to_create_it() {
    let database = Database::start();
    database.copy_library(Library::release(), FILE_NAME);
    let mut session = database.connect();
    database.execute("CREATE TABLE t (n INT)");
    database.execute("INSERT INTO t VALUES (1), (2)");
    for (name, arguments) in [("gman_sum", "'f', n"), ("gman_relay", "n, 'f', 'w'")] {
        database.execute(&create(name, "INTEGER", ""));
        let call = format!("{name}({arguments})");
        let message = answer(&mut session, &call).expect_err("a refusal");
        let remedy = create(name, "INTEGER", "AGGREGATE ");
        assert!(message.contains(&remedy), "{message}");
        database.execute(&format!("DROP FUNCTION {name}"));
    }
}
