//! `gman_relay` by itself.

use crate::support::fake_job_server::{ERROR, JOB_CREATED, Reply, handle, packet};
use crate::support::{FakeJobServer, Gearmand, Gman, Port, RecordingWorker};

/// A table `rows_of` with the ids 1 ... `count`.
fn rows(gman: &mut Gman, count: u32) {
    gman.execute("CREATE TABLE queue (id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, f VARCHAR(255) NOT NULL, w LONGBLOB NOT NULL)");
    let ids: Vec<u32> = (1..=count).collect();
    for ids in ids.chunks(1000) {
        let rows: Vec<String> = ids
            .iter()
            .map(|id| format!("({id}, 'f', 'w{id}')"))
            .collect();
        gman.execute(&format!("INSERT INTO queue VALUES {}", rows.join(",")));
    }
}

const RELAY: &str = "gman_relay(id, f, w, CONCAT('u:', id))";

#[test]
fn rows_are_submitted_in_the_order_of_their_ids_on_one_connection() {
    let server = FakeJobServer::always(Reply::Handle);
    let mut gman = Gman::with_switches();
    gman.set_servers(&server.address());
    rows(&mut gman, 5000);
    // The range of a primary key, and a derived table with a limit: both are read in order.
    for (from, first, count) in [
        ("queue WHERE id >= 1 AND id < 3001", 1, 3000),
        (
            "(SELECT id, f, w FROM queue WHERE id > 3000 ORDER BY id LIMIT 1000) AS batch",
            3001,
            1000,
        ),
    ] {
        let before = server.submissions().len();
        let answer = gman.call(&format!("{RELAY} FROM {from}")).text();
        assert_eq!(answer, (first + count - 1).to_string());
        let jobs = server.submissions();
        let uniques: Vec<_> = jobs[before..]
            .iter()
            .map(|job| job.unique.clone())
            .collect();
        let expected: Vec<_> = (first..first + count).map(|id| format!("u:{id}")).collect();
        assert_eq!(uniques, expected);
        assert!(gman.call("gman_relay_error()").is_null());
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(gman.status("gman_jobs_acknowledged"), 4000);
}

#[test]
fn the_answer_is_null_where_no_row_was_acknowledged() {
    let mut gman = Gman::start();
    rows(&mut gman, 3);
    assert!(
        gman.call(&format!("{RELAY} FROM queue WHERE id > 5"))
            .is_null()
    );
    assert!(gman.call("gman_relay_error()").is_null());
    assert!(gman.call(&format!("{RELAY} FROM queue")).is_null());
    let error = gman.call("gman_relay_error()").text();
    assert!(error.starts_with("no job servers are set"), "{error}");
    gman.set_servers(&format!("127.0.0.1:{}", Port::free().number()));
    assert!(gman.call(&format!("{RELAY} FROM queue")).is_null());
    let error = gman.call("gman_relay_error()").text();
    assert!(error.starts_with("connect 127.0.0.1:"), "{error}");
}

#[test]
fn a_refused_row_is_told_and_those_before_it_are_acknowledged() {
    let refusal = packet(ERROR, &[b"ARGUMENT_TOO_LARGE", b"no such job"]);
    let server = FakeJobServer::start(move |number| match number {
        2 | 20 => Reply::Bytes(refusal.clone()),
        _ => Reply::Handle,
    });
    let mut gman = Gman::start();
    gman.set_servers(&server.address());
    rows(&mut gman, 10);
    assert_eq!(gman.call(&format!("{RELAY} FROM queue")).text(), "2");
    let error = gman.call("gman_relay_error()").text();
    assert!(error.starts_with("refused 3: "), "{error}");
    assert!(error.contains("ARGUMENT_TOO_LARGE no such job"), "{error}");
    // The connection is as good as before.
    assert_eq!(gman.call(&format!("{RELAY} FROM queue")).text(), "10");
    assert!(gman.call("gman_relay_error()").is_null());
    assert_eq!(server.connections(), 1);
    // Also as the first row of a batch, which is submitted by itself.
    assert!(gman.call(&format!("{RELAY} FROM queue")).is_null());
    let error = gman.call("gman_relay_error()").text();
    assert!(error.starts_with("refused 1: "), "{error}");
}

#[test]
fn a_row_that_cannot_be_a_job_is_refused() {
    let server = FakeJobServer::always(Reply::Handle);
    let mut gman = Gman::start();
    gman.set_servers(&server.address());
    rows(&mut gman, 5);
    gman.execute("UPDATE queue SET f = '' WHERE id = 4");
    assert_eq!(gman.call(&format!("{RELAY} FROM queue")).text(), "3");
    let error = gman.call("gman_relay_error()").text();
    assert!(error.starts_with("refused 4: function is empty"), "{error}");
}

#[test]
fn rows_out_of_order_are_an_error() {
    let server = FakeJobServer::always(Reply::Handle);
    let mut gman = Gman::start();
    gman.set_servers(&server.address());
    rows(&mut gman, 5);
    let error = gman
        .call(&format!(
            "{RELAY} FROM (SELECT id, f, w FROM queue ORDER BY id DESC LIMIT 3) AS batch"
        ))
        .error();
    assert!(error.contains("id 4 comes after 5"), "{error}");
}

/// A loadable function returns a signed integer, so a larger one would come back as -1.
#[test]
fn an_id_that_no_bigint_holds_is_an_error() {
    let server = FakeJobServer::always(Reply::Handle);
    let mut gman = Gman::start();
    gman.set_servers(&server.address());
    for (id, is_right) in [
        ("9223372036854775807", true),
        ("9223372036854775808", false),
        ("18446744073709551615", false),
        ("-1", false),
    ] {
        let call = gman.call(&format!("gman_relay({id}, 'f', 'w')"));
        match is_right {
            true => assert_eq!(call.text(), id),
            false => {
                let error = call.error();
                assert!(error.contains("id is negative or above"), "{error}");
            }
        }
    }
}

#[test]
fn a_server_that_dies_in_a_batch_leaves_the_rest_to_the_next() {
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let dying = FakeJobServer::start(|number| match number {
        0..5 => Reply::Bytes(packet(JOB_CREATED, &[handle(number).as_bytes()])),
        _ => Reply::BytesThenClose(vec![]),
    });
    let mut gman = Gman::start();
    gman.set_servers(&format!("{},{}", dying.address(), gearmand.address()));
    rows(&mut gman, 20);
    assert_eq!(gman.call(&format!("{RELAY} FROM queue")).text(), "5");
    drop(dying);
    let rest = gman.call(&format!("{RELAY} FROM queue WHERE id > 5"));
    assert_eq!(rest.text(), "20");
    assert_eq!(worker.wait_for(15).len(), 15);
}

#[test]
fn rows_larger_than_any_buffer_go_through() {
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let mut gman = Gman::start();
    gman.set_servers(&gearmand.address());
    rows(&mut gman, 100);
    gman.execute("UPDATE queue SET w = REPEAT('x', 1000000) WHERE id % 10 = 0");
    assert_eq!(gman.call(&format!("{RELAY} FROM queue")).text(), "100");
    let jobs = worker.wait_for(100);
    let bytes: usize = jobs.iter().map(|job| job.workload.len()).sum();
    assert!(bytes > 10_000_000, "{bytes}");
}

#[test]
fn a_server_that_says_nothing_is_waited_for_no_longer_than_the_setting_says() {
    let server = FakeJobServer::start(|number| match number {
        0 => Reply::Handle,
        _ => Reply::Silence,
    });
    let mut gman = Gman::with_switches();
    gman.set_servers(&server.address());
    gman.set("gman_timeout_ms", 300);
    rows(&mut gman, 10);
    let call = gman.call(&format!("{RELAY} FROM queue"));
    assert!(call.took < std::time::Duration::from_secs(10), "{call:?}");
    assert_eq!(call.text(), "1");
    let error = gman.call("gman_relay_error()").text();
    assert!(error.starts_with("failed 2: receive "), "{error}");
}
