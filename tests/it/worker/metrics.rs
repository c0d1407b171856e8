//! What Prometheus is told, and who watches over the worker.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{PATIENCE, run_job, start, submit_marks, wait_for_an_empty_queue};
use crate::monitoring::{metric_names, rules_and_panels};
use crate::support::{
    FUNCTION, Gearmand, Port, Prometheus, ROW_FUNCTION, Ran, Redis, RedisWorker, Submitter,
    TaskLimit, gman_program, ran, unsupported, wait_until,
};

/// A worker and where its numbers are.
struct Watched {
    worker: RedisWorker,
    port: Port,
}

impl Watched {
    fn start(gearmand: &Gearmand, redis: &Redis) -> Self {
        let port = Port::free();
        let metrics = format!("--metrics={}", Self::address(&port));
        Self {
            worker: start(gearmand, redis, &["--mode=hash", &metrics]),
            port,
        }
    }

    fn address(port: &Port) -> String {
        format!("127.0.0.1:{}", port.number())
    }

    /// The status and the body.
    fn get(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", Self::address(&self.port));
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .new_agent();
        let mut answer = agent
            .get(url)
            .call()
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        let text = answer.body_mut().read_to_string().expect("a text");
        (answer.status().as_u16(), text)
    }

    /// `gman health`
    fn health(&self) -> Ran {
        let mut command = Command::new(gman_program());
        let output = command
            .args(["health", &Self::address(&self.port)])
            .output();
        ran(output.expect("gman starts"))
    }

    fn value(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in\n{text}"))
    }
}

#[test]
fn prometheus_reads_what_the_worker_counts() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let watched = Watched::start(&gearmand, &redis);
    submit_marks(&gearmand, "k", 0..1000);
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    run_job(&gearmand, FUNCTION, "no json");
    let prometheus = Prometheus::start(&Watched::address(&watched.port));
    for (expression, expected) in [
        (r#"gman_worker_jobs_total{outcome="written"}"#, 1000.0),
        (r#"gman_worker_jobs_total{outcome="failed"}"#, 1.0),
        ("gman_worker_redis_batch_jobs_sum", 1000.0),
        ("gman_worker_jobs_in_flight", 0.0),
        ("gman_worker_gearmand_connections", 1.0),
    ] {
        wait_until(PATIENCE, expression, || {
            match prometheus.value(expression) {
                Some(value) if value == expected => Ok(()),
                other => Err(other),
            }
        });
    }
}

/// Every number of the worker that a rule or a panel names.
fn assert_every_name_is_in(text: &str) {
    let expressions = rules_and_panels();
    let named = metric_names(&expressions, "gman_worker_");
    assert!(!named.is_empty());
    for name in named {
        let found = text.lines().any(|line| {
            line.starts_with(&format!("{name} ")) || line.starts_with(&format!("{name}{{"))
        });
        assert!(found, "no {name} in\n{text}");
    }
}

#[test]
fn promtool_finds_nothing_wrong_with_the_text() {
    let (gearmand, mut redis) = (Gearmand::start(), Redis::start());
    let watched = Watched::start(&gearmand, &redis);
    run_job(&gearmand, FUNCTION, r#"{"id":1,"name":"sm"}"#);
    redis.restart();
    run_job(&gearmand, FUNCTION, r#"{"id":1,"name":"sm"}"#);
    assert!(watched.value(r#"gman_worker_redis_errors_total{error="lost"}"#) >= 1.0);
    let (_, text) = watched.get("/metrics");
    assert_every_name_is_in(&text);
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    let mut input = promtool.stdin.take().expect("a pipe");
    input.write_all(text.as_bytes()).expect("a reader");
    drop(input);
    let output = promtool.wait_with_output().expect("promtool");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}

#[test]
fn the_depth_of_each_queue_is_told_while_its_job_server_answers() {
    let (mut gearmand, mut redis) = (Gearmand::start(), Redis::start());
    let watched = Watched::start(&gearmand, &redis);
    let depth = |function: &str| {
        format!(
            r#"gman_worker_queue_jobs{{function="{function}",job_server="{}"}}"#,
            gearmand.address()
        )
    };
    let (ours, rows) = (depth(FUNCTION), depth(ROW_FUNCTION));
    Submitter::to(&gearmand).submit("of_others", [String::new()]);
    redis.stop();
    submit_marks(&gearmand, "k", 0..5);
    assert_eq!(watched.value(&ours), 5.0);
    assert_eq!(watched.value(&rows), 0.0);
    redis.restart();
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    assert_eq!(watched.value(&ours), 0.0);
    let queues = || watched.get("/metrics").1.matches("queue_jobs{").count();
    assert_eq!(queues(), 2);
    gearmand.kill();
    assert_eq!(queues(), 0);
}

#[test]
fn the_depth_of_each_queue_is_told_without_a_thread_for_each_job_server() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let watched = Watched::start(&gearmand, &redis);
    let threads = match TaskLimit::of(watched.worker.process().pid()) {
        Ok(threads) => threads,
        Err(reason) => unsupported!("{reason}"),
    };
    threads.set();
    assert_eq!(watched.get("/metrics").1.matches("queue_jobs{").count(), 2);
}

#[test]
fn the_age_of_a_change_is_told_and_so_is_a_clock_that_is_ahead() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let watched = Watched::start(&gearmand, &redis);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time");
    let change = |seconds: f64| {
        let at = (now.as_secs_f64() + seconds) * 1000.0;
        run_job(
            &gearmand,
            ROW_FUNCTION,
            &format!(r#"{{"key":"k","row":{{"a":1}},"at":{at:.3}}}"#),
        );
    };
    change(-10.0);
    change(-1000.0);
    run_job(&gearmand, ROW_FUNCTION, r#"{"key":"k","row":{"a":1}}"#);
    let age = |what: &str| watched.value(&format!("gman_worker_change_age_seconds_{what}"));
    assert_eq!(age("count"), 2.0);
    assert_eq!(age(r#"bucket{le="5"}"#), 0.0);
    assert_eq!(age(r#"bucket{le="3600"}"#), 2.0);
    assert!((1010.0..1200.0).contains(&age("sum")), "{}", age("sum"));
    assert_eq!(
        watched.value("gman_worker_changes_from_the_future_total"),
        0.0
    );
    change(3600.0);
    assert_eq!(
        watched.value("gman_worker_changes_from_the_future_total"),
        1.0
    );
    let skew = watched.value("gman_worker_clock_skew_seconds");
    assert!((3_400.0..=3_600.0).contains(&skew), "{skew}");
}

#[test]
fn healthz_says_what_is_wrong() {
    let (mut gearmand, mut redis) = (Gearmand::start(), Redis::start());
    let watched = Watched::start(&gearmand, &redis);
    assert_eq!(watched.get("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(watched.get("/").0, 404);
    assert_eq!(watched.health().status, Some(0));
    redis.stop();
    let (status, text) = watched.get("/healthz");
    assert_eq!(status, 503);
    assert!(text.contains(&redis.address()), "{text}");
    let health = watched.health();
    assert_eq!(health.status, Some(1));
    let expected = format!("gman: not well: {}", text.trim_end());
    assert_eq!(health.said.trim_end(), expected);
    redis.restart();
    assert_eq!(watched.get("/healthz").0, 200);
    gearmand.kill();
    wait_until(PATIENCE, "the job server to be missed", || {
        match watched.get("/healthz") {
            (503, text) if text.contains("0 of 1 job servers") => Ok(()),
            other => Err(other),
        }
    });
    assert!(!watched.worker.log().is_empty());
}
