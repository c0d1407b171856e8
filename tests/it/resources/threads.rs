//! No thread is left: whoever needs one is told, and goes on when there is one.

use std::time::Duration;

use super::deliveries;
use crate::support::{Gearmand, Gman, RecordingWorker, TaskLimit, unsupported, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

const NO_THREAD: &str = "the system has no thread left";

#[test]
fn a_server_without_a_free_thread_says_so_and_goes_on_when_there_is_one() {
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let mut gman = Gman::with_switches();
    let threads = match TaskLimit::of(gman.database.pid()) {
        Ok(threads) => threads,
        Err(reason) => unsupported!("{reason}"),
    };
    gman.set("gman_on_failure", "error");
    let deliveries = deliveries(&mut gman);
    // The thread that looks names up, and the one for a single lookup.
    let named = format!("localhost:{}", gearmand.port());
    threads.set();
    let error = gman.call(&format!("gman_servers_set('{named}')")).error();
    assert!(error.contains(NO_THREAD), "{error}");
    threads.lift();
    gman.set_servers(&named);
    threads.set();
    for call in ["gman_do('f', 'w')", "gman_do_background('f', 'w')"] {
        let error = gman.call(call).error();
        assert!(error.contains(NO_THREAD), "{call}: {error}");
    }
    // Those that ask the job servers.
    let check = gman.call("gman_check()").text();
    assert!(check.contains(NO_THREAD), "{check}");
    threads.lift();
    gman.call("gman_do_background('f', 'w')").text();
    assert_eq!(gman.status("gman_server_failures"), 0);

    // The senders.
    let later = deliveries
        .into_iter()
        .filter(|delivery| *delivery != "acked");
    for (port, delivery) in (1..).zip(later) {
        gman.set("gman_delivery", delivery);
        // A list of its own has a sender of its own.
        let list = format!("{},127.0.0.1:{port}", gearmand.address());
        gman.call(&format!("gman_servers_set('{list}', '{delivery}')"))
            .text();
        threads.set();
        let call = format!("gman_do_background('{delivery}', 'w')");
        let refused = gman.call(&call);
        threads.lift();
        let error = refused.error();
        assert!(error.contains(NO_THREAD), "{delivery}: {error}");
        gman.call(&call).text();
        assert_eq!(gman.call("gman_flush(10000)").text(), "0");
        assert_eq!(gearmand.status()[delivery].queued, 1);
    }
    assert_eq!(worker.wait_for(1).len(), 1);
}

#[test]
fn a_sender_without_a_thread_to_look_for_a_better_server_stays_where_it_is() {
    let (mut first, second) = (Gearmand::start(), Gearmand::start());
    let mut gman = Gman::with_switches();
    let threads = match TaskLimit::of(gman.database.pid()) {
        Ok(threads) => threads,
        Err(reason) => unsupported!("{reason}"),
    };
    gman.set("gman_delivery", "pipelined");
    gman.set_servers(&format!("{},{}", first.address(), second.address()));
    first.kill();
    gman.call("gman_do_background('f', 'w')").text();
    assert_eq!(gman.call("gman_flush(10000)").text(), "0");
    threads.set();
    first.restart();
    for job in 2..=5 {
        std::thread::sleep(Duration::from_millis(500));
        gman.call("gman_do_background('f', 'w')").text();
        assert_eq!(gman.call("gman_flush(10000)").text(), "0");
        assert_eq!(second.status()["f"].queued, job);
    }
    threads.lift();
    wait_until(PATIENCE, "jobs to go to the better server", || {
        gman.call("gman_do_background('f', 'w')").text();
        match first.status().get("f") {
            Some(status) => Ok(status.queued),
            None => Err(()),
        }
    });
}
