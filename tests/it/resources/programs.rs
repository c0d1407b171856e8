//! `gman` where the system gives it too little: one line that says so, and exit status 1.

use std::fs;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use crate::support::{Port, Process, TaskLimit, gman_program, unsupported, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `gman`, which may start so many threads; how it ended, and all that it said.
///
/// # Errors
///
/// Why nobody can be kept from starting threads here.
fn run(arguments: &[&str], threads: u32) -> Result<(ExitStatus, String), String> {
    let folder = TempDir::new().expect("a folder");
    let gate = folder.path().join("gate");
    mkfifo(&gate, Mode::S_IRWXU).expect("a pipe");
    // Waits for a line, so that the limit is there before the program.
    let mut shell = Command::new("sh");
    shell
        .args(["-c", r#"read line <"$0"; exec "$@""#])
        .arg(&gate)
        .arg(gman_program())
        .args(arguments);
    let mut process = Process::start(shell, &folder.path().join("log"));
    let limit = TaskLimit::of(process.pid())?;
    limit.leave(threads);
    fs::write(&gate, "\n").expect("a shell that reads");
    let status = wait_until(PATIENCE, "gman to end", || {
        process.exit_status().ok_or_else(|| process.log())
    });
    Ok((status, process.log()))
}

#[test]
fn a_program_without_the_threads_that_it_begins_with_ends_with_one_line() {
    let port = Port::free();
    let metrics = format!("--metrics=127.0.0.1:{}", port.number());
    let nobody = "127.0.0.1:1";
    let gearmand = format!("--gearmand={nobody}");
    let redis = format!("--redis=redis://{nobody}");
    let mysql = format!("--mysql=mysql://root@{nobody}");
    let worker = ["worker", &gearmand, &redis, &metrics];
    let relay = [
        "relay",
        "test",
        "--defaults-file=/dev/null",
        &gearmand,
        &mysql,
        &metrics,
    ];
    // For signals, Prometheus, Redis and the job server; a relay waits for its database with the first two.
    for (program, needed) in [(&worker[..], 4), (&relay, 2)] {
        for threads in 0..needed {
            let (status, log) = match run(program, threads) {
                Ok(ended) => ended,
                Err(reason) => unsupported!("{reason}"),
            };
            assert_eq!(status.code(), Some(1), "{threads} threads: {log}");
            let line = "gman: the system has no thread left: Resource temporarily unavailable (os \
                        error 11); raise TasksMax= of the unit, or `ulimit -u`";
            let told = log.lines().filter(|told| *told == line).count();
            assert!(
                told == 1 && !log.contains("panicked"),
                "{threads} threads: {log}"
            );
        }
    }
}
