//! Who relays, and who takes over.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{Port, RecordingWorker, wait_until};

use super::{PATIENCE, as_strs, numbers, outbox_and_gearmand, texts, wait_for_log};

/// How soon another relay must take over from one that died.
pub(super) const TAKE_OVER: Duration = Duration::from_secs(10);

#[test]
fn one_relays_and_another_takes_over_when_it_dies() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let mut first = outbox.relay(&gearmand.address());
    wait_for_log(&first, "relaying the outbox of test");
    let second = outbox.relay(&gearmand.address());
    wait_for_log(&second, "waiting: gman relay ");
    outbox.write("f", as_strs(&numbers(1, 1000)));
    outbox.wait_until_empty();
    assert_eq!(texts(&worker.wait_for(1000)), numbers(1, 1000));

    first.kill();
    let died = Instant::now();
    outbox.write("f", ["1001"]);
    worker.wait_for(1001);
    let took = died.elapsed();
    println!("another relay took over after {took:?}");
    assert!(took < TAKE_OVER, "{took:?}");
}

#[test]
fn one_that_is_stopped_leaves_its_place_at_once() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let mut first = outbox.relay(&gearmand.address());
    wait_for_log(&first, "relaying the outbox of test");
    let second = outbox.relay(&gearmand.address());
    wait_for_log(&second, "waiting: gman relay ");
    assert!(first.stop().success());
    let stopped = Instant::now();
    outbox.write("f", ["1"]);
    worker.wait_for(1);
    assert!(
        stopped.elapsed() < Duration::from_secs(4),
        "{:?}",
        stopped.elapsed()
    );
    wait_for_log(&second, "relaying the outbox of test");
}

/// It does not know that it has been away: it must find out before it submits anything.
#[test]
fn one_that_was_suspended_does_not_go_on_where_another_has_taken_over() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let first = outbox.relay(&gearmand.address());
    wait_for_log(&first, "relaying the outbox of test");
    let _second = outbox.relay(&gearmand.address());
    first.freeze();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    outbox.write("f", as_strs(&numbers(1, 100)));
    outbox.wait_until_empty();
    first.signal(Signal::SIGCONT);
    wait_for_log(&first, "waiting: gman relay ");
    outbox.write("f", as_strs(&numbers(101, 200)));
    outbox.wait_until_empty();
    assert_eq!(texts(&worker.wait_for(200)), numbers(1, 200));
}

#[test]
fn prometheus_sees_who_relays_and_a_health_check_what_stands_in_the_way() {
    let (mut outbox, gearmand) = outbox_and_gearmand();
    let port = Port::free();
    let address = format!("127.0.0.1:{}", port.number());
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let relay = outbox.relay_with(&gearmand.address(), &[format!("--metrics={address}")]);
    wait_for_log(&relay, "relaying the outbox of test");
    outbox.write("f", as_strs(&numbers(1, 10)));
    worker.wait_for(10);
    outbox.wait_until_empty();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&address).expect("the relay listens");
        stream
            .write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
            .expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    let numbers = get("/metrics");
    for line in [
        "gman_relay_rows_total{outcome=\"confirmed\"} 10",
        "gman_relay_leads 1",
        "gman_relay_terms_total 1",
    ] {
        assert!(numbers.lines().any(|found| found == line), "{numbers}");
    }
    assert!(get("/healthz").starts_with("HTTP/1.1 200"));
    outbox.execute("SET GLOBAL read_only = 1");
    wait_until(PATIENCE, "the health check to fail", || {
        let answer = get("/healthz");
        match answer.starts_with("HTTP/1.1 503") && answer.contains("it is read-only") {
            true => Ok(()),
            false => Err(answer),
        }
    });
    assert!(get("/metrics").contains("gman_relay_leads 0"));
}
