//! No file descriptor is left: the statement is told, and no job server is blamed.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use super::deliveries;
use crate::support::{Gearmand, Gman, RecordingWorker, run, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

/// How many files a server has opened when it has started, and never closes.
const FIRST_FILES: u32 = 10;

/// Lets the process open so many files, or as many as it likes.
fn limit_files(pid: u32, most: &str) {
    run(Command::new("prlimit").args([format!("--pid={pid}"), format!("--nofile={most}:")]));
}

/// Lets the process open no file beyond those that it has.
fn leave_no_descriptor(pid: u32) {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("a process");
    let open: BTreeSet<u32> = open
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let free = (0..FIRST_FILES).find(|number| !open.contains(number));
    let free = free.unwrap_or(FIRST_FILES);
    limit_files(pid, &free.to_string());
}

#[test]
fn a_server_without_a_free_descriptor_says_so_and_goes_on_when_there_is_one() {
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let mut gman = Gman::with_switches();
    gman.set("gman_on_failure", "error");
    let pid = gman.database.pid();
    for servers in [gearmand.address(), format!("localhost:{}", gearmand.port())] {
        for delivery in deliveries(&mut gman) {
            gman.set("gman_delivery", delivery);
            gman.set_servers("127.0.0.1:1");
            gman.set_servers(&servers);
            leave_no_descriptor(pid);
            let before = worker.count();
            for call in ["gman_do('f', 'w')", "gman_sum('f', 1)"] {
                let error = gman.call(call).error();
                assert!(
                    error.contains("the system has no "),
                    "{delivery}, {call}: {error}"
                );
            }
            let background = gman.call("gman_do_background('f', 'w')").answer;
            let check = gman.call("gman_check()").text();
            println!("{servers}, {delivery}: {background:?}\n{check}");
            assert!(check.contains("the system has no "), "{check}");
            limit_files(pid, "10000");
            // At once: nobody is left alone for that.
            let second = gman.call("gman_do_background('f', 'w')").text();
            assert!(!second.is_empty());
            assert_eq!(gman.call("gman_flush(10000)").text(), "0");
            let expected = before + 1 + usize::from(background.is_ok());
            wait_until(PATIENCE, "the jobs to arrive", || match worker.count() {
                count if count >= expected => Ok(()),
                count => Err((count, expected)),
            });
        }
    }
    assert_eq!(gman.status("gman_server_failures"), 0);
}
