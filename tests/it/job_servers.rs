//! `gman_servers_set` and `gman_check`.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::fake_job_server::{Reply, handle};
use crate::support::{FakeJobServer, Gearmand, Gman, Port, wait_until};

#[test]
fn a_function_goes_to_its_own_list_and_all_others_to_the_default() {
    let (default, own) = (Gearmand::start(), Gearmand::start());
    let mut gman = Gman::start();
    gman.set_servers(&default.address());
    let own_list = own.address();
    let answer = gman
        .call(&format!("gman_servers_set('{own_list}', 'f')"))
        .text();
    assert_eq!(answer, own_list);

    gman.call("gman_do_background('f', 'w')").text();
    gman.call("gman_do_background('g', 'w')").text();

    let functions = |gearmand: &Gearmand| gearmand.status().into_keys().collect::<Vec<_>>();
    assert_eq!(functions(&own), ["f"]);
    assert_eq!(functions(&default), ["g"]);
}

#[test]
fn a_bad_list_is_an_error_that_names_the_entry_and_changes_nothing() {
    let gearmand = Gearmand::start();
    let mut gman = Gman::start();
    gman.set_servers(&gearmand.address());
    for (arguments, problem) in [
        ("NULL", "servers is NULL, expected a string"),
        ("''", "servers is empty, expected a list such as"),
        (
            "'127.0.0.1:0'",
            "in \"127.0.0.1:0\" expected a port from 1 to 65535",
        ),
        (
            "'localhost:1,b:x'",
            "in \"b:x\" expected a port from 1 to 65535",
        ),
        (
            "'::1'",
            "in \"::1\" expected one colon at most, or an IPv6 address in [ ]",
        ),
        ("'a\\0b'", "expected a host name or an address"),
        ("X'FF'", "servers is not UTF-8"),
        ("'127.0.0.1', ''", "function is empty"),
        ("'127.0.0.1', NULL", "function is NULL"),
        ("'127.0.0.1', 'f\\0'", "function has a NUL byte"),
    ] {
        let error = gman.call(&format!("gman_servers_set({arguments})")).error();
        assert!(
            error.starts_with("gman_servers_set: "),
            "{arguments}: {error}"
        );
        assert!(error.contains(problem), "{arguments}: {error}");
        gman.call("gman_do_background('f', 'w')").text();
    }
}

#[test]
fn setting_the_list_can_be_forbidden() {
    let gearmand = Gearmand::start();
    let mut gman = Gman::with_switches();
    gman.set_servers(&gearmand.address());
    gman.set("gman_servers_set_enabled", "OFF");
    let error = gman.call("gman_servers_set('127.0.0.1:1')").error();
    assert!(error.contains("gman_servers_set_enabled is OFF"), "{error}");
    gman.call("gman_do_background('f', 'w')").text();
}

#[test]
fn every_session_has_the_same_list_and_shares_connections() {
    let server = FakeJobServer::always(Reply::Handle);
    let mut gman = Gman::start();
    gman.set_servers(&server.address());
    for number in 0..3 {
        let handle_of: String = gman.database.value("SELECT gman_do_background('f', 'w')");
        assert_eq!(handle_of, handle(number));
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_list_set_again_keeps_its_connections_and_one_that_goes_closes_them() {
    let (first, second) = (
        FakeJobServer::always(Reply::Handle),
        FakeJobServer::always(Reply::Handle),
    );
    let mut gman = Gman::start();
    for _ in 0..2 {
        gman.set_servers(&first.address());
        gman.call("gman_do_background('f', 'w')").text();
    }
    assert_eq!(first.connections(), 1);
    gman.set_servers(&second.address());
    first.wait_until_open(0);
}

#[test]
fn names_are_kept_fresh_by_a_thread_that_takes_no_signals() {
    let gearmand = Gearmand::start();
    let mut gman = Gman::start();
    let pid = gman.database.pid();
    gman.set_servers(&gearmand.address());
    assert_eq!(
        threads_named(pid, "gman-"),
        Vec::<String>::new(),
        "addresses need none"
    );

    gman.set_servers(&format!("localhost:{}", gearmand.port()));
    gman.call("gman_do_background('f', 'w')").text();
    // A thread gives itself its name, once it runs.
    let thread = wait_until(Duration::from_secs(10), "the thread", || {
        threads_named(pid, "gman-resolve").pop().ok_or(())
    });
    let status = fs::read_to_string(format!("{thread}/status")).expect("its status");
    let blocked = status
        .lines()
        .find_map(|line| line.strip_prefix("SigBlk:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .expect("a mask");
    // All but those that cannot be blocked (KILL 9, STOP 19) and that glibc keeps for itself (32, 33).
    let never: u64 = [9, 19, 32, 33].iter().map(|signal| 1 << (signal - 1)).sum();
    assert_eq!(blocked | never, u64::MAX, "{blocked:016x}");

    gman.set_servers(&gearmand.address());
    wait_until(
        Duration::from_secs(10),
        "the thread to end",
        || match threads_named(pid, "gman-resolve") {
            threads if threads.is_empty() => Ok(()),
            threads => Err(threads),
        },
    );
}

/// The folders in /proc of threads whose name begins with `prefix`.
fn threads_named(pid: u32, prefix: &str) -> Vec<String> {
    fs::read_dir(format!("/proc/{pid}/task"))
        .expect("the server runs")
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = fs::read_to_string(path.join("comm")).ok()?;
            name.starts_with(prefix).then(|| path.display().to_string())
        })
        .collect()
}

/// A name may resolve later; the servers beside it take the jobs meanwhile, without waiting for it.
#[test]
fn a_list_with_a_name_that_does_not_resolve_is_taken() {
    let gearmand = Gearmand::start();
    let mut gman = Gman::start();
    let list = format!("nosuchhost.invalid,{}", gearmand.address());
    gman.set_servers(&list);
    for _ in 0..3 {
        assert!(!gman.call("gman_do_background('f', 'w')").is_null());
    }
    let check = gman.call("gman_check()").text();
    assert!(
        check.contains(r#""error":"resolve nosuchhost.invalid:4730: "#)
            && check.contains(r#""state":"up""#),
        "{check}"
    );

    gman.set_servers("nosuchhost.invalid");
    assert!(gman.call("gman_do_background('f', 'w')").is_null());
    let log = gman.database.error_log();
    assert!(log.contains("resolve nosuchhost.invalid:4730: "), "{log}");
    gman.set_servers(&format!("localhost:{}", gearmand.port()));
    assert!(!gman.call("gman_do_background('f', 'w')").is_null());
}

#[test]
fn check_tells_how_every_server_is() {
    let gearmand = Gearmand::start();
    let silent = FakeJobServer::always(Reply::Silence);
    let gone = Port::free();
    let mut gman = Gman::with_switches();
    let check = gman.call("gman_check()").text();
    assert!(
        check.starts_with(
            r#"[{"server":null,"lists":[],"state":"unset","error":"no job servers are set;"#
        ) && check.contains(r#""hint":""#),
        "{check}"
    );
    let gone = format!("127.0.0.1:{}", gone.number());
    let list = format!("{},{gone},{}", gearmand.address(), silent.address());
    gman.set_servers(&list);
    let own = gman.call(&format!("gman_servers_set('{}', 'f')", gearmand.address()));
    own.text();

    let call = gman.call("gman_check()");
    let took = call.took;
    let text = call.text();
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));

    // Promised: the connect timeout, 250 ms. The rest is for a busy machine.
    assert!(
        took < Duration::from_millis(250) + Duration::from_secs(1),
        "{took:?}"
    );
    println!("{text}");
    let up = &report[0];
    assert_eq!(up["server"], json!(gearmand.address()));
    assert_eq!(up["lists"], json!([null, "f"]));
    assert_eq!(up["state"], json!("up"));
    assert!(
        up["round_trip_ms"]
            .as_f64()
            .is_some_and(|ms| ms > 0.0 && ms < 250.0),
        "{up}"
    );
    assert!(
        up["version"]
            .as_str()
            .is_some_and(|version| version.starts_with("1.")),
        "{up}"
    );
    let down = &report[1];
    assert_eq!(down["server"], json!(gone));
    assert_eq!(down["lists"], json!([null]));
    assert_eq!(down["state"], json!("down"));
    assert!(
        down["error"]
            .as_str()
            .is_some_and(|e| e.contains("Connection refused")),
        "{down}"
    );
    assert!(
        down["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("gearmand runs")),
        "{down}"
    );
    let mute = &report[2];
    assert_eq!(mute["state"], json!("down"));
    assert!(
        mute["error"]
            .as_str()
            .is_some_and(|e| e.contains("timed out")),
        "{mute}"
    );
    assert_eq!(report.as_array().map(Vec::len), Some(3));
}

#[test]
fn check_tells_the_deepest_queues() {
    let gearmand = Gearmand::start_tuned();
    let mut gman = Gman::start();
    gman.set_servers(&gearmand.address());
    let queues = |gman: &mut Gman| -> Value {
        let report = gman.call("gman_check()").text();
        let report: Value = serde_json::from_str(&report).expect("JSON");
        report[0]["queues"].clone()
    };
    assert_eq!(queues(&mut gman), json!([]));
    for (function, jobs) in [("shallow", 1), ("deep", 3)] {
        for _ in 0..jobs {
            let call = format!("gman_do_background('{function}', 'w')");
            gman.call(&call).text();
        }
    }
    let queue =
        |function, jobs| json!({"function": function, "jobs": jobs, "running": 0, "workers": 0});
    assert_eq!(
        queues(&mut gman),
        json!([queue("deep", 3), queue("shallow", 1)])
    );
}

#[test]
fn a_check_that_finds_a_server_up_ends_its_rest() {
    let mut gearmand = Gearmand::start();
    let mut gman = Gman::with_switches();
    gman.set("gman_on_failure", "error");
    gman.set_servers(&gearmand.address());
    gearmand.kill();
    // Refused again and again, the server rests for ever longer.
    while gman.status("gman_server_failures") < 5 {
        gman.call("gman_do_background('f', 'w')").error();
    }
    let report = gman.call("gman_check()").text();
    assert!(report.contains("\"not_tried_for_ms\":"), "{report}");
    gearmand.restart();
    let report = gman.call("gman_check()").text();
    assert!(report.contains("\"state\":\"up\""), "{report}");
    gman.call("gman_do_background('f', 'w')").text();
}
