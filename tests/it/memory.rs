//! No memory for what a row, a peer or a caller made large: an error of the statement, and the server
//! lives on.

use std::fs;
use std::process::Command;

use mysql::prelude::Queryable;
use mysql::{Conn, Value};

use crate::support::fake_job_server::{
    JOB_CREATED, Reply, WORK_COMPLETE, WORK_DATA, handle, packet,
};
use crate::support::{
    Answer, Database, FILE_NAME, FakeJobServer, Gearmand, Library, RecordingWorker, run,
};

/// Large enough that what it takes is counted: see `host/failing_allocator.rs`.
const LARGE: usize = 100_000;

/// No call allocates as often as this.
const MOST_ALLOCATIONS: u64 = 300;

/// The calls, each with what it answers if nothing fails.
fn calls() -> Vec<String> {
    let text = format!("REPEAT('x', {LARGE})");
    let quotes = format!("REPEAT('\"', {LARGE})");
    [
        format!("json_object_udf({text} AS a)"),
        format!("json_object_udf({quotes} AS a, 1 AS b)"),
        format!("json_object_udf('a', {quotes}, 'b', CONCAT('[\"', {text}, '\\\\n\"]'))"),
        format!("json_object_udf(CONCAT('[\"\\\\\\\\n', {text}, '\"]') AS json_a)"),
        format!("json_array_udf({text}, {text}, {text})"),
        format!("json_members({text}, {text})"),
        format!("json_values({text}, {quotes})"),
        format!("json_base64({text})"),
        format!("gman_do('f', {text})"),
        format!("gman_do_high('f', {text}, 'u')"),
        format!("gman_do_low('parts', {text})"),
        format!("gman_do_background('f', {text})"),
        format!("gman_do_high_background('f', {text})"),
        format!("gman_do_low_background('f', {text})"),
        format!("gman_do_epoch('f', {text}, 1)"),
        format!("gman_sum('n', {text}) FROM t"),
        "gman_sum('parts', id) FROM t".to_owned(),
        format!("gman_relay(id, 'f', {text}) FROM t"),
        "gman_relay(id, CONCAT('f', id), 'w') FROM many".to_owned(),
        "gman_relay_error()".to_owned(),
        "gman_check()".to_owned(),
        "gman_flush()".to_owned(),
    ]
    .into()
}

fn first(session: &mut Conn, sql: &str) -> Result<Value, String> {
    match session.query_first::<Value, _>(sql) {
        Ok(value) => Ok(value.expect("a row")),
        Err(mysql::Error::MySqlError(error)) => Err(error.message),
        Err(error) => panic!("{sql}: the server is gone: {error}"),
    }
}

/// Fails the first large allocation of `call`, then the second, and so on until it takes no more.
/// Returns how many there were.
fn fail_each(session: &mut Conn, call: &str) -> u64 {
    for nth in 1..MOST_ALLOCATIONS {
        first(session, &format!("SELECT gman_test_fail_allocation({nth})")).expect("a switch");
        let answer = first(session, &format!("SELECT {call}"));
        let is_left = first(session, "SELECT gman_test_fail_allocation(0)").expect("a switch");
        if let Err(message) = &answer {
            assert!(message.contains("memory"), "{call}, {nth}: {message}");
        }
        if is_left == Value::Bytes(b"1".to_vec()) {
            assert!(answer.is_ok(), "{call}: {answer:?}");
            return nth - 1;
        }
    }
    panic!("{call} takes more than {MOST_ALLOCATIONS} allocations");
}

/// A job server whose workers answer with the number 7, after so many parts of white space.
fn answers_in_parts(parts: usize, bytes: usize) -> FakeJobServer {
    FakeJobServer::start(move |number| {
        let handle = handle(number);
        let part = packet(WORK_DATA, &[handle.as_bytes(), &vec![b' '; bytes]]);
        let mut said = packet(JOB_CREATED, &[handle.as_bytes()]);
        said.extend(part.repeat(parts));
        said.extend(packet(WORK_COMPLETE, &[handle.as_bytes(), b"7"]));
        Reply::Bytes(said)
    })
}

#[test]
fn whichever_allocation_fails_the_statement_fails_and_the_server_lives_on() {
    let gearmand = Gearmand::start();
    let _worker = RecordingWorker::answering(gearmand.port(), &["f", "n"], |job| {
        Answer::Complete(match job.function.as_str() {
            "f" => vec![b'7'; LARGE],
            _ => b"7".to_vec(),
        })
    });
    let in_parts = answers_in_parts(3, LARGE);
    let database = Database::start();
    database.install_functions_of(Library::with_switches());
    for name in ["gman_test_set", "gman_test_fail_allocation"] {
        database.execute(&format!(
            "CREATE FUNCTION {name} RETURNS INTEGER SONAME '{FILE_NAME}'"
        ));
    }
    database.execute("CREATE TABLE t (id INT PRIMARY KEY)");
    database.execute("INSERT INTO t VALUES (1), (2), (3)");
    database.execute("CREATE TABLE many (id INT PRIMARY KEY)");
    let ids: Vec<String> = (1..=2_000).map(|id| format!("({id})")).collect();
    database.execute(&format!("INSERT INTO many VALUES {}", ids.join(",")));
    let pid = database.pid();
    let mut session = database.connect();
    let set = format!("SELECT gman_servers_set('{}')", gearmand.address());
    first(&mut session, &set).expect("the servers");
    let set = format!("SELECT gman_servers_set('{}', 'parts')", in_parts.address());
    first(&mut session, &set).expect("the servers");

    let mut total = 0;
    let mut deliveries = vec!["acked", "pipelined"];
    let participant = format!("INSTALL PLUGIN gman_commit SONAME '{FILE_NAME}'");
    if session.query_drop(participant).is_ok() {
        deliveries.push("committed");
    }
    for delivery in deliveries {
        let set = format!("SELECT gman_test_set('gman_delivery', '{delivery}')");
        first(&mut session, &set).expect("a setting");
        for call in calls() {
            let allocations = fail_each(&mut session, &call);
            println!("{delivery}: {allocations:>3}  {call:.80}");
            total += allocations;
        }
    }
    assert!(total > 20, "{total} allocations failed");
    assert_eq!(database.pid(), pid);
    assert!(
        database
            .value::<Option<String>>("SELECT gman_do_background('f', 'after')")
            .is_some()
    );
}

/// With the limit that an operating system sets, and with a server's own allocations failing too.
#[test]
fn a_server_that_runs_out_of_address_space_lives_on() {
    const MIB: u64 = 1 << 20;
    let in_parts = answers_in_parts(15, 16 << 20);
    let mut database = Database::local().option("--max-allowed-packet=1G").start();
    database.install_functions();
    database.execute("CREATE TABLE t (id INT PRIMARY KEY)");
    database.execute("INSERT INTO t VALUES (1), (2), (3)");
    let set = format!("SELECT gman_servers_set('{}')", in_parts.address());
    let mut session = database.connect();
    first(&mut session, &set).expect("the servers");
    let pid = database.pid();

    let mut failed = 0;
    for more in [40, 120] {
        limit_address_space(pid, more * MIB);
        for call in [
            "LENGTH(gman_do('f', 'x'))",
            "gman_sum('f', REPEAT('x', 20000000)) FROM t",
            "gman_relay(id, 'f', REPEAT('x', 20000000)) FROM t",
            "LENGTH(json_object_udf(REPEAT('\"', 20000000) AS a))",
            "LENGTH(json_array_udf(json_base64(REPEAT('x', 20000000))))",
            "gman_do_background('f', REPEAT('x', 20000000))",
        ] {
            let answer = first(&mut session, &format!("SELECT {call}"));
            failed += u32::from(!matches!(&answer, Ok(value) if *value != Value::NULL));
            println!("{more} MiB: {call}: {answer:.100?}");
            let ping = first(&mut session, "SELECT CONCAT('alive')");
            assert_eq!(ping, Ok(Value::Bytes(b"alive".to_vec())), "{call}");
        }
    }
    assert!(failed >= 5, "only {failed} calls ran out of memory");
    assert_eq!(database.pid(), pid);
    // It shuts down cleanly, too.
    database.shutdown();
}

/// Lets the process have so many bytes more than it has now.
fn limit_address_space(pid: u32, more: u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/statm")).expect("a running server");
    let pages: u64 = status
        .split(' ')
        .next()
        .and_then(|pages| pages.parse().ok())
        .expect("the size of the process");
    run(Command::new("prlimit").args([
        format!("--pid={pid}"),
        format!("--as={}:unlimited", pages * 4096 + more),
    ]));
}
