//! `gman_sum`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::fake_job_server::{
    JOB_CREATED, Reply, WORK_COMPLETE, WORK_DATA, handle, packet,
};
use crate::support::{Answer, FakeJobServer, Gearmand, Gman, Port, RecordingWorker};

/// A worker that returns its workload.
fn echo(gearmand: &Gearmand) -> RecordingWorker {
    RecordingWorker::answering(gearmand.port(), &["echo"], |job| {
        Answer::Complete(job.workload.clone())
    })
}

#[test]
fn a_sum_is_that_of_the_results_of_all_rows_of_a_group() {
    let gearmand = Gearmand::start();
    let worker = echo(&gearmand);
    let mut gman = Gman::with_switches();
    gman.set_servers(&gearmand.address());
    gman.create_table(1000, "0");

    assert_eq!(gman.call("gman_sum('echo', id) FROM t").text(), "500500");
    let groups: Vec<(u32, i64)> =
        gman.query("SELECT id % 3 AS g, gman_sum('echo', -id) FROM t GROUP BY g ORDER BY g");
    assert_eq!(groups, [(0, -166_833), (1, -167_167), (2, -166_500)]);
    assert_eq!(
        gman.call("gman_sum('echo', 'x') FROM t WHERE id < 0")
            .text(),
        "0"
    );
    assert_eq!(worker.count(), 2000);
    assert_eq!(gman.status("gman_connections_opened"), 1);
}

#[test]
fn rows_with_the_same_unique_id_are_one_job_and_count_each() {
    let gearmand = Gearmand::start();
    let mut gman = Gman::start();
    gman.set_servers(&gearmand.address());
    gman.create_table(10, "0");
    let sum = std::thread::scope(|scope| {
        let gearmand = &gearmand;
        let worker = scope.spawn(move || {
            // Not before all rows are there: then they are one job.
            crate::support::wait_until(Duration::from_secs(30), "the job", || {
                match gearmand.status().get("echo") {
                    Some(status) if status.queued > 0 => Ok(()),
                    status => Err(status.copied()),
                }
            });
            std::thread::sleep(Duration::from_millis(200));
            let worker = echo(gearmand);
            worker.wait_for(1);
            worker
        });
        let sum = gman.call("gman_sum('echo', 7, 'same') FROM t").text();
        assert_eq!(worker.join().expect("the worker").count(), 1);
        sum
    });
    assert_eq!(sum, "70");
}

#[test]
fn all_rows_are_submitted_before_the_first_result_is_waited_for() {
    // Answers nothing but handles until it has all rows, then the results in reverse.
    let jobs = Arc::new(Mutex::new(Vec::new()));
    let server = FakeJobServer::start(move |number| {
        let mut jobs = jobs.lock().expect("unpoisoned");
        jobs.push(number);
        let mut said = packet(JOB_CREATED, &[handle(number).as_bytes()]);
        if jobs.len() == 100 {
            for job in jobs.drain(..).rev() {
                let (handle, result) = (handle(job), job.to_string());
                let (first, rest) = result.split_at(1);
                said.extend(packet(WORK_DATA, &[handle.as_bytes(), first.as_bytes()]));
                said.extend(packet(WORK_COMPLETE, &[handle.as_bytes(), rest.as_bytes()]));
            }
        }
        Reply::Bytes(said)
    });
    let mut gman = Gman::start();
    gman.set_servers(&server.address());
    gman.create_table(100, "0");
    for _ in 0..2 {
        let sum: i64 = gman
            .call("gman_sum('f', id) FROM t")
            .text()
            .parse()
            .expect("a sum");
        assert!(sum == 4950 || sum == 14950, "{sum}");
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn rows_may_name_different_functions_on_different_servers() {
    let (a, b) = (Gearmand::start(), Gearmand::start());
    let answer = |number: &'static [u8]| move |_: &_| Answer::Complete(number.to_vec());
    let _a = RecordingWorker::answering(a.port(), &["f1"], answer(b"1"));
    let _b = RecordingWorker::answering(b.port(), &["f0"], answer(b"100"));
    let mut gman = Gman::start();
    gman.set_servers(&a.address());
    gman.call(&format!("gman_servers_set('{}', 'f0')", b.address()))
        .text();
    gman.execute("CREATE TABLE names (f VARCHAR(10) NOT NULL)");
    for _ in 0..5 {
        gman.execute("INSERT INTO names VALUES ('f0'), ('f1')");
    }
    let sum = gman.call("gman_sum(f, '') FROM names");
    assert_eq!(sum.text(), "505");
}

#[test]
fn a_result_that_is_no_integer_is_a_failure() {
    let gearmand = Gearmand::start();
    let _worker = echo(&gearmand);
    let mut gman = Gman::with_switches();
    gman.set_servers(&gearmand.address());
    assert!(gman.call("gman_sum('echo', '1.5')").is_null());
    gman.set("gman_on_failure", "error");
    for workload in ["1.5", "", "one", "9223372036854775808"] {
        let error = gman
            .call(&format!("gman_sum('echo', '{workload}')"))
            .error();
        let expected = format!("expected a result that is an integer, found \"{workload}\"");
        assert!(error.contains(&expected), "{error}");
    }
    let error = gman.call(
        "gman_sum('echo', w) FROM (SELECT '9223372036854775807' AS w UNION ALL SELECT '1') AS w",
    );
    assert!(error.error().contains("fits into a BIGINT"));
    assert_eq!(gman.call("gman_sum('echo', ' 12\\n')").text(), "12");
}

#[test]
fn a_sum_of_many_big_rows_neither_hangs_nor_loses_one() {
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::answering(gearmand.port(), &["one"], |_| {
        Answer::Complete(b"1".to_vec())
    });
    let mut gman = Gman::start();
    gman.set_servers(&gearmand.address());
    gman.create_table(500, "0");
    // 125 MB in one go: neither end's buffers hold it.
    let sum = gman
        .call("gman_sum('one', REPEAT('x', 250000), id) FROM t")
        .text();
    assert_eq!(sum, "500");
    assert_eq!(worker.count(), 500);
}

#[test]
fn a_sum_falls_back_on_the_next_server_and_fails_with_the_connection() {
    let gearmand = Gearmand::start();
    let _worker = echo(&gearmand);
    let gone = Port::free();
    let mut gman = Gman::with_switches();
    gman.set("gman_on_failure", "error");
    gman.set_servers(&format!(
        "127.0.0.1:{},{}",
        gone.number(),
        gearmand.address()
    ));
    gman.create_table(10, "0");
    assert_eq!(gman.call("gman_sum('echo', id) FROM t").text(), "55");

    let dying = FakeJobServer::start(|number| match number {
        0..5 => Reply::Handle,
        _ => Reply::BytesThenClose(vec![]),
    });
    gman.set_servers(&format!("{},{}", dying.address(), gearmand.address()));
    let error = gman.call("gman_sum('echo', id) FROM t").error();
    assert!(error.contains(&dying.address()), "{error}");
}
