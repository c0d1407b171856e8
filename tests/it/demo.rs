//! The demo does what it says, and ends with what it started.

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Process, example, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

fn demo(arguments: &[&str]) -> Output {
    Command::new(example("demo"))
        .args(arguments)
        .output()
        .expect("the demo starts")
}

#[test]
fn the_demo_shows_the_job_and_the_new_value() {
    let output = demo(&[]);
    let shown = String::from_utf8_lossy(&output.stdout);
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}{problems}");
    for part in [
        "| gman_do_background ",
        "SET GLOBAL gman_delivery = 'committed';\n",
        "page      http://127.0.0.1:",
        "UPDATE test SET name='sm' WHERE id=1;",
        r#"syncToRedis {"id":1,"name":"sm"}"#,
        "ms from sending the UPDATE to the new value in Redis.",
    ] {
        assert!(shown.contains(part), "expected {part} in\n{shown}");
    }
    assert!(!shown.contains("This server cannot"), "{shown}");
    let (before, after) = shown.split_once("Change the row").expect("the change");
    assert!(before.trim_end().ends_with("\"test1\"\n\n7"), "{before}");
    assert!(after.contains("get 1\n    \"sm\"\n"), "{after}");
    assert!(
        !shown.contains('\x1b'),
        "colours belong on a terminal: {shown}"
    );
}

#[test]
fn a_demo_without_the_new_value_fails() {
    let output = demo(&["--timeout-ms", "0"]);
    let problems = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{problems}");
    assert!(
        problems.contains("did not arrive in Redis within 0 ms"),
        "{problems}"
    );
}

#[test]
fn a_kept_demo_stays_until_ctrl_c_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(example("demo"));
    command.arg("--keep");
    let mut demo = Process::start(command, &folder.path().join("log"));
    let shown = demo.wait_until_ready(|| match demo_log(folder.path()) {
        log if log.contains("and ask for it") => Ok(log),
        log => Err(log),
    });

    let port: u16 = after(&shown, "redis-cli -p ").parse().expect("a port");
    let url = format!("redis://{}:{port}/", Ipv4Addr::LOCALHOST);
    let mut redis = redis::Client::open(url)
        .and_then(|client| client.get_connection())
        .expect("Redis still runs");
    let value: String = redis::Commands::get(&mut redis, "1").expect("the value");
    assert_eq!(value, "sm");
    let page = after(&shown, "page      ");
    let served = ureq::get(page)
        .call()
        .and_then(|mut response| response.body_mut().read_to_string())
        .expect("the page");
    assert!(served.contains("<td>sm</td>"), "{served}");
    let files = Path::new(after(&shown, "files     "));
    let logs = std::fs::read_dir(files)
        .expect("the folder of all files")
        .filter(|entry| entry.as_ref().is_ok_and(|e| e.path().join("log").is_file()));
    assert_eq!(
        logs.count(),
        5,
        "database, gearmand, Redis, worker and page"
    );

    demo.signal(Signal::SIGINT);
    let status = wait_until(PATIENCE, "the demo to end", || {
        demo.exit_status().ok_or_else(|| demo.log())
    });
    assert!(status.success(), "{status}: {}", demo.log());
    assert!(!files.exists(), "{} is still there", files.display());
    let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    assert!(refused.is_err(), "Redis is still there");
    assert!(ureq::get(page).call().is_err(), "the page is still there");
}

fn demo_log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// The word after `label`.
fn after<'a>(text: &'a str, label: &str) -> &'a str {
    text.split_once(label)
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .unwrap_or_else(|| panic!("expected {label} in\n{text}"))
}
