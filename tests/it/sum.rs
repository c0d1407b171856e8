//! `gman_sum`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mysql::prelude::Queryable;

use crate::support::fake_job_server::{
    JOB_CREATED, Reply, WORK_COMPLETE, WORK_DATA, handle, packet,
};
use crate::support::{Answer, FakeJobServer, Gearmand, Gman, Port, RecordingWorker, unsupported};

/// `ER_PARSE_ERROR`.
const SYNTAX_ERROR: u16 = 1064;

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

/// Has a worker that returns its workload, and a table `t` of ten rows in three groups `g` of two halves `h`.
fn with_groups() -> (Gman, RecordingWorker, Gearmand) {
    let gearmand = Gearmand::start();
    let worker = echo(&gearmand);
    let mut gman = Gman::start();
    gman.set_servers(&gearmand.address());
    gman.execute("CREATE TABLE t (id INT PRIMARY KEY, g INT, h INT)");
    let rows: Vec<String> = (1..=10)
        .map(|id| format!("({id}, {}, {})", id % 3, id % 2))
        .collect();
    gman.execute(&format!("INSERT INTO t VALUES {}", rows.join(",")));
    (gman, worker, gearmand)
}

/// HAVING asks for the sum, and the row that is sent asks again; a condition on a view becomes a HAVING.
#[test]
fn a_sum_is_the_same_however_often_the_server_asks_for_it() {
    let (mut gman, worker, _gearmand) = with_groups();
    gman.execute("CREATE VIEW v AS SELECT g, gman_sum('echo', id) AS s FROM t GROUP BY g");
    let sum = "SELECT g, gman_sum('echo', id) AS s FROM t GROUP BY g";
    for sql in [
        format!("{sum} HAVING s > 15 ORDER BY g"),
        format!("{sum} HAVING s > 15 AND s < 1000 ORDER BY s"),
        format!("SELECT g, s FROM ({sum}) d WHERE s > 15 ORDER BY g"),
        "SELECT g, s FROM v WHERE s > 15 ORDER BY g".into(),
    ] {
        let before = worker.count();
        let sums: Vec<(i32, i64)> = gman.query(&sql);
        assert_eq!(sums, [(0, 18), (1, 22)], "{sql}");
        assert_eq!(worker.count() - before, 10, "{sql}");
    }
}

#[test]
fn with_rollup_each_level_has_its_own_sum() {
    let (mut gman, worker, _gearmand) = with_groups();
    let sql = |sum: &str| format!("SELECT g, h, {sum} FROM t GROUP BY g, h WITH ROLLUP");
    let ours: Vec<(Option<i32>, Option<i32>, i64)> = gman.query(&sql("gman_sum('echo', id)"));
    let native: Vec<(Option<i32>, Option<i32>, i64)> = gman.query(&sql("SUM(id)"));
    assert_eq!(ours, native);
    // Each row is a job for each of three levels.
    assert_eq!(worker.count(), 30);
    let having: Vec<(Option<i32>, i64)> = gman
        .query("SELECT g, gman_sum('echo', id) AS s FROM t GROUP BY g WITH ROLLUP HAVING s > 20");
    assert_eq!(having, [(Some(1), 22), (None, 55)]);
}

/// `s IS NULL` would not do: MariaDB does not ask a loadable function for it.
#[test]
fn a_failure_in_one_level_of_a_rollup_leaves_the_others() {
    let gearmand = Gearmand::start();
    let _worker = RecordingWorker::answering(gearmand.port(), &["echo"], |job| {
        match job.workload.as_slice() {
            b"7" => Answer::Fail,
            number => Answer::Complete(number.to_vec()),
        }
    });
    let mut gman = Gman::start();
    gman.set_servers(&gearmand.address());
    gman.execute("CREATE TABLE t (id INT PRIMARY KEY, g INT)");
    gman.execute("INSERT INTO t VALUES (1, 1), (2, 1), (7, 2), (8, 2)");
    let sums: Vec<(Option<i32>, Option<i64>)> =
        gman.query("SELECT g, gman_sum('echo', id) AS s FROM t GROUP BY g WITH ROLLUP HAVING COALESCE(s, -1) <> 0");
    assert_eq!(sums, [(Some(1), Some(3)), (Some(2), None), (None, None)]);
}

#[test]
fn a_window_has_the_sums_of_its_frames() {
    let (mut gman, _worker, _gearmand) = with_groups();
    let frames = [
        "",
        "ORDER BY id",
        "PARTITION BY g",
        "PARTITION BY g ORDER BY id",
        "ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
        "ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
        "ORDER BY id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
    ];
    for frame in frames {
        let sql = |sum: &str| format!("SELECT id, {sum} OVER ({frame}) FROM t ORDER BY id");
        let ours = gman
            .session
            .query::<(i32, i64), _>(sql("gman_sum('echo', id)"));
        match ours {
            Ok(ours) => {
                let native: Vec<(i32, i64)> = gman.query(&sql("SUM(id)"));
                assert_eq!(ours, native, "{frame}");
            }
            // Only MariaDB takes a loadable function for a window's.
            Err(mysql::Error::MySqlError(error)) if error.code == SYNTAX_ERROR => {
                unsupported!("no windows of loadable functions: {}", error.message);
            }
            Err(error) => panic!("{frame}: {error}"),
        }
    }
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
