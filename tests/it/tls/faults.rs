//! What a network and a job server can do to TLS; every job is counted.

use std::collections::{BTreeSet, HashSet};
use std::thread;
use std::time::{Duration, Instant};

use super::{PATIENCE, Stage};
use crate::support::wire::{Pace, Wire};
use crate::support::{
    Answer, Fault, FaultyWire, RecordingWorker, Stunnel, TlsGearmand, unsupported, wait_until,
};

/// How many rows one statement changes.
const ROWS: u32 = 1000;

impl Stage {
    /// A table whose changes are jobs; the unique id of each is the next number from [`ROWS`] + 1 on.
    fn create_table(&self) {
        let rows: Vec<String> = (1..=ROWS).map(|id| format!("({id}, 0)")).collect();
        for sql in [
            "CREATE TABLE test.t (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB",
            &format!("INSERT INTO test.t VALUES {}", rows.join(",")),
            "CREATE TRIGGER test.upd AFTER UPDATE ON test.t FOR EACH ROW \
             SET @r = gman_do_background('f', NEW.id, NEW.n * 1000 + NEW.id)",
        ] {
            self.database.execute(sql);
        }
    }

    fn update_all(&self) {
        self.database
            .execute("UPDATE test.t SET n = n + 1 ORDER BY id");
    }

    fn flush(&self) {
        let left: i64 = self.database.value("SELECT gman_flush(120000)");
        assert_eq!(left, 0, "{}", self.last_error());
    }

    fn failed(&self) -> u64 {
        let rows: Vec<(String, u64)> = self
            .database
            .query("SHOW GLOBAL STATUS LIKE 'gman_jobs_failed'");
        rows[0].1
    }
}

/// Every number up to `count` statements has arrived, and the first arrivals are in order.
fn assert_arrived(worker: &RecordingWorker, statements: u32) {
    let expected: BTreeSet<u32> = (ROWS + 1..=(statements + 1) * ROWS).collect();
    let arrivals = || -> Vec<u32> {
        let jobs = worker.jobs();
        jobs.iter()
            .map(|job| job.unique.parse().expect("a number"))
            .collect()
    };
    wait_until(PATIENCE, "every job to arrive", || {
        let missing = expected.len() - arrivals().iter().collect::<HashSet<_>>().len();
        if missing == 0 { Ok(()) } else { Err(missing) }
    });
    let mut seen = HashSet::new();
    let mut first = arrivals();
    let all = first.len();
    first.retain(|job| seen.insert(*job));
    assert!(first.is_sorted(), "jobs overtook each other");
    assert_eq!(first.into_iter().collect::<BTreeSet<_>>(), expected);
    println!(
        "{} jobs, {} of them twice",
        expected.len(),
        all - expected.len()
    );
}

#[test]
fn records_that_arrive_in_pieces_are_put_together() {
    let stage = match Stage::new() {
        Ok(stage) => stage,
        Err(reason) => unsupported!("{reason}"),
    };
    let worker = RecordingWorker::answering(stage.gearmand.port(), &["f"], |job| {
        Answer::Complete(match job.workload.as_slice() {
            b"large" => vec![b'x'; 40_000],
            _ => Vec::new(),
        })
    });
    let stunnel = Stunnel::start(&stage.certificates, stage.gearmand.port());
    let pace = Pace {
        bytes: 7,
        pause: Duration::from_micros(200),
    };
    let wire = Wire::start_at(pace, stunnel.port());
    stage.set_number("gman_connect_timeout_ms", 10_000);
    stage.set_number("gman_timeout_ms", 10_000);
    stage.go_to(&wire.address());
    for delivery in ["acked", "pipelined"] {
        stage.set("gman_delivery", delivery);
        for _ in 0..20 {
            assert!(stage.submit().is_some(), "{}", stage.last_error());
        }
    }
    stage.flush();
    let result: Option<String> = stage.database.value("SELECT gman_do('f', 'large')");
    let result = result.unwrap_or_else(|| panic!("{}", stage.last_error()));
    assert_eq!(result.len(), 40_000);
    assert_eq!(worker.wait_for(41).len(), 41);
}

#[test]
fn a_wire_that_breaks_in_the_middle_of_records_loses_no_job_and_keeps_the_order() {
    const STATEMENTS: u32 = 100;
    let stage = match Stage::new() {
        Ok(stage) => stage,
        Err(reason) => unsupported!("{reason}"),
    };
    let worker = RecordingWorker::start(stage.gearmand.port(), &["f"]);
    let stunnel = Stunnel::start(&stage.certificates, stage.gearmand.port());
    let wire = Wire::start(stunnel.port());
    stage.go_to(&wire.address());
    stage.set("gman_delivery", "pipelined");
    stage.set("gman_on_failure", "error");
    stage.set_number("gman_timeout_ms", 60_000);
    stage.create_table();
    let mut ended = 0;
    for statement in 1..=STATEMENTS {
        stage.update_all();
        if statement % 5 == 0 {
            ended += wire.end_connections();
        }
    }
    stage.flush();
    assert!(ended > 0, "no connection was ended");
    println!("{ended} connections ended");
    assert_arrived(&worker, STATEMENTS);
    assert_eq!(stage.failed(), 0);
}

#[test]
fn a_wire_that_is_cut_loses_no_job_and_keeps_the_order() {
    const STATEMENTS: u32 = 20;
    let stage = match Stage::new() {
        Ok(stage) => stage,
        Err(reason) => unsupported!("{reason}"),
    };
    let worker = RecordingWorker::start(stage.gearmand.port(), &["f"]);
    let stunnel = Stunnel::start(&stage.certificates, stage.gearmand.port());
    let wire = Wire::start(stunnel.port());
    stage.go_to(&wire.address());
    stage.set("gman_delivery", "pipelined");
    stage.set("gman_on_failure", "error");
    stage.create_table();
    for statement in 1..=STATEMENTS {
        if statement == STATEMENTS / 2 {
            wire.cut();
        }
        let began = Instant::now();
        stage.update_all();
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "a call waited for the network"
        );
    }
    thread::sleep(Duration::from_secs(3));
    wire.mend();
    stage.flush();
    assert_arrived(&worker, STATEMENTS);
    assert_eq!(stage.failed(), 0);
}

#[test]
fn no_flipped_bit_and_no_repeated_byte_reaches_either_end() {
    const STATEMENTS: u32 = 20;
    let stage = match Stage::new() {
        Ok(stage) => stage,
        Err(reason) => unsupported!("{reason}"),
    };
    let worker = RecordingWorker::start(stage.gearmand.port(), &["f"]);
    let stunnel = Stunnel::start(&stage.certificates, stage.gearmand.port());
    let wire = FaultyWire::start_encrypted(stunnel.port());
    stage.go_to(&wire.address());
    stage.set("gman_delivery", "pipelined");
    stage.set("gman_on_failure", "error");
    stage.set_number("gman_timeout_ms", 60_000);
    stage.create_table();
    let mut faults = 0;
    for statement in 1..=STATEMENTS {
        let fault = [Fault::FlippedBits, Fault::Twice][statement as usize % 2];
        wire.fail(fault, 5);
        stage.update_all();
        faults += wire.faults();
    }
    wire.mend();
    stage.flush();
    assert!(faults > 0, "no fault came");
    println!("{faults} faults");
    assert_arrived(&worker, STATEMENTS);
    for job in worker.jobs() {
        let id = String::from_utf8_lossy(&job.workload).parse::<u32>();
        let unique = job.unique.parse::<u32>();
        let is_whole = id.is_ok_and(|id| unique.is_ok_and(|unique| unique % ROWS == id % ROWS));
        assert!(is_whole, "{job:?}");
    }
    assert_eq!(stage.failed(), 0);
}

#[test]
fn a_tls_server_that_is_killed_again_and_again_loses_no_job_and_keeps_the_order() {
    const STATEMENTS: u32 = 100;
    let stage = match Stage::new() {
        Ok(stage) => stage,
        Err(reason) => unsupported!("{reason}"),
    };
    let worker = RecordingWorker::start(stage.gearmand.port(), &["f"]);
    let mut stunnel = Stunnel::start(&stage.certificates, stage.gearmand.port());
    stage.go_to(&stunnel.address());
    stage.set("gman_delivery", "pipelined");
    stage.set("gman_on_failure", "error");
    stage.set_number("gman_timeout_ms", 60_000);
    stage.create_table();
    for statement in 1..=STATEMENTS {
        stage.update_all();
        if statement % 10 == 0 {
            stunnel.kill();
            stunnel.restart();
        }
    }
    stage.flush();
    assert_arrived(&worker, STATEMENTS);
    assert_eq!(stage.failed(), 0);
}

/// gearmand's own TLS reads a record in parts, and looks for more when the socket has more.
#[test]
fn gearmand_takes_every_job_of_large_records() {
    let stage = match Stage::new() {
        Ok(stage) => stage,
        Err(reason) => unsupported!("{reason}"),
    };
    let mut gearmand = match TlsGearmand::start(&stage.certificates) {
        Ok(gearmand) => gearmand,
        Err(reason) => unsupported!("{reason}"),
    };
    stage.go_to(&gearmand.address());
    stage.set("gman_on_failure", "error");
    stage.create_table();
    for delivery in ["pipelined", "acked"] {
        stage.set("gman_delivery", delivery);
        for _ in 0..20 {
            stage.update_all();
        }
        for bytes in [1_000, 8_180, 8_192, 16_300, 16_384, 40_000, 3_000_000] {
            let call = format!("SELECT gman_do_background('f', REPEAT('x', {bytes}))");
            let answer: Option<String> = stage.database.value(&call);
            assert!(
                answer.is_some(),
                "{delivery}, {bytes}: {}",
                stage.last_error()
            );
        }
        stage.flush();
    }
    // Killed in the middle of a stream, it gets what it has not acknowledged again.
    stage.set("gman_delivery", "pipelined");
    stage.set_number("gman_timeout_ms", 60_000);
    for _ in 0..5 {
        stage.update_all();
        gearmand.kill();
        stage.update_all();
        gearmand.restart();
    }
    stage.flush();
    assert_eq!(stage.failed(), 0);
}
