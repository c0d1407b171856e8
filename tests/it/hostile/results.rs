//! Workers whose results are as large as can be, or have no end.

use std::time::Duration;

use crate::support::fake_job_server::{
    JOB_CREATED, Reply, WORK_COMPLETE, WORK_EXCEPTION, WORK_WARNING, handle, packet,
};
use crate::support::{FakeJobServer, Gman};

/// More than any result should have, and as much as the servers of these tests pass on.
const LARGE: usize = 100 << 20;

/// The timeout of a foreground call, and some more.
const LONG: Duration = Duration::from_secs(32);

/// How much memory a server may keep of what it gave back.
const KEPT: u64 = 32 << 20;

/// A server whose worker ends the first job with a packet of this kind and this much text, and functions that let
/// it take its time.
fn ending_with(kind: u32, bytes: usize) -> (FakeJobServer, Gman) {
    let handle = handle(0);
    let end = packet(kind, &[handle.as_bytes(), &vec![b'x'; bytes]]);
    let created = packet(JOB_CREATED, &[handle.as_bytes()]);
    let server = FakeJobServer::always(Reply::Bytes([created, end].concat()));
    let mut gman = Gman::with_switches();
    gman.set("gman_on_failure", "error");
    gman.set("gman_timeout_ms", 20_000);
    gman.set_servers(&server.address());
    (server, gman)
}

#[test]
fn a_large_result_is_taken_and_its_memory_given_back() {
    let (_server, mut gman) = ending_with(WORK_COMPLETE, LARGE);
    let before = gman.database.rss_bytes();
    let result = gman.call("LENGTH(gman_do('f', 'w'))");
    println!("{:?} after {:?}", result.answer, result.took);
    assert!(result.took < LONG, "{:?}", result.took);
    assert_eq!(result.text(), LARGE.to_string());
    let after = gman.database.rss_bytes();
    assert!(
        after < before + KEPT,
        "{before} bytes before, {after} after"
    );
}

#[test]
fn a_large_exception_is_told_in_a_line() {
    let (_server, mut gman) = ending_with(WORK_EXCEPTION, LARGE);
    let before = gman.database.rss_bytes();
    let error = gman.call("gman_do('f', 'w')").error();
    assert!(
        error.contains("the worker threw an exception: xxx"),
        "{error}"
    );
    assert!(error.len() < 1024, "{} bytes", error.len());
    let after = gman.database.rss_bytes();
    assert!(
        after < before + KEPT,
        "{before} bytes before, {after} after"
    );
}

/// Warnings that never end keep the call no longer than its timeout, and are not collected.
#[test]
fn warnings_without_end_are_over_with_the_timeout() {
    const TIMEOUT: Duration = Duration::from_secs(2);
    let handle = b"H:fake:0";
    let warnings = packet(WORK_WARNING, &[handle, &vec![b'x'; 1 << 20]]).repeat(64);
    let flood = [packet(JOB_CREATED, &[handle]), warnings.repeat(4)].concat();
    let server = FakeJobServer::always(Reply::Bytes(flood));
    let mut gman = Gman::with_switches();
    gman.set("gman_on_failure", "error");
    gman.set("gman_timeout_ms", TIMEOUT.as_millis());
    gman.set("gman_do_timeout_ms", TIMEOUT.as_millis());
    gman.set_servers(&server.address());
    let before = gman.database.rss_bytes();
    let call = gman.call("gman_do('f', 'w')");
    println!("{:?} after {:?}", call.answer, call.took);
    assert!(
        call.took < TIMEOUT + Duration::from_secs(2),
        "{:?}",
        call.took
    );
    assert!(call.answer.is_err());
    let after = gman.database.rss_bytes();
    assert!(
        after < before + KEPT,
        "{before} bytes before, {after} after"
    );
}
