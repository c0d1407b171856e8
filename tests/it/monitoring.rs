//! What the packages bring for Prometheus and Grafana, with the real programs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::plugin::with_plugin;
use crate::support::{Database, Port, Process, unsupported, wait_until};

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging")
}

fn promtool(arguments: &[&str]) -> Output {
    Command::new("promtool")
        .args(arguments)
        .current_dir(packaging().join("prometheus"))
        .output()
        .expect("promtool")
}

fn assert_success(output: &Output) {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, errors) = (said(&output.stdout), said(&output.stderr));
    assert!(output.status.success(), "{out}{errors}");
}

/// The names that begin with `prefix` in `text`.
pub(crate) fn metric_names<'t>(text: &'t str, prefix: &str) -> BTreeSet<&'t str> {
    text.match_indices(prefix)
        .map(|(start, _)| {
            let name = &text[start..];
            let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            &name[..end.unwrap_or(name.len())]
        })
        .collect()
}

/// Every expression of the rules and of the dashboard.
pub(crate) fn rules_and_panels() -> String {
    let rules = include_str!("../../packaging/prometheus/gman.rules.yml");
    let dashboard = include_str!("../../packaging/grafana/gman.json");
    format!("{rules}{dashboard}")
}

#[test]
fn the_alerts_fire_when_they_should_and_not_otherwise() {
    assert_success(&promtool(&["check", "rules", "gman.rules.yml"]));
    assert_success(&promtool(&["test", "rules", "gman.rules.test.yml"]));
    assert_success(&promtool(&["check", "config", "prometheus.yml"]));
}

#[test]
fn every_alert_has_a_test_that_sees_it() {
    let tested = include_str!("../../packaging/prometheus/gman.rules.test.yml");
    let rules = include_str!("../../packaging/prometheus/gman.rules.yml");
    let alerts = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: Vec<&str> = alerts.collect();
    assert!(alerts.len() >= 10, "{alerts:?}");
    for alert in alerts {
        assert!(tested.contains(alert), "no test of {alert}");
    }
}

/// What mysqld_exporter serves for `database`.
fn exported(database: &Database) -> String {
    let folder = TempDir::new().expect("a folder");
    let port = Port::free();
    let address = format!("127.0.0.1:{}", port.number());
    let socket = database.socket().display().to_string();
    let account = folder.path().join("my.cnf");
    fs::write(&account, format!("[client]\nuser=root\nsocket={socket}\n"))
        .expect("room for a file");
    let mut exporter = Command::new("prometheus-mysqld-exporter");
    exporter
        // Debian 12's exporter reads this, and that of Debian 13 the file alone.
        .env("DATA_SOURCE_NAME", format!("root@unix({socket})/"))
        .arg(format!("--config.my-cnf={}", account.display()))
        .arg(format!("--web.listen-address={address}"));
    let _exporter = Process::start(exporter, &folder.path().join("log"));
    let scrape = || {
        let answer = ureq::get(format!("http://{address}/metrics")).call();
        let text = answer.map(|mut answer| answer.body_mut().read_to_string().expect("text"));
        match text {
            Ok(text) if text.contains("mysql_up 1") => Ok(text),
            other => Err(other),
        }
    };
    wait_until(Duration::from_secs(30), "mysqld_exporter", scrape)
}

#[test]
fn every_counter_that_a_rule_or_a_panel_names_is_exported() {
    let database = match with_plugin() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let served = exported(&database);
    let expressions = rules_and_panels();
    let named = metric_names(&expressions, "mysql_global_");
    assert!(named.len() >= 10, "{named:?}");
    for name in named {
        let found = served
            .lines()
            .any(|line| line.starts_with(&format!("{name} ")));
        assert!(found, "{name} is not exported");
    }
}

#[test]
fn the_dashboard_has_panels_with_expressions_that_can_be_read() {
    let dashboard: Value =
        serde_json::from_str(include_str!("../../packaging/grafana/gman.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let (mut ids, mut rules) = (BTreeSet::new(), Vec::new());
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        assert!(
            panel["title"]
                .as_str()
                .is_some_and(|title| !title.is_empty())
        );
        let place = &panel["gridPos"];
        let right = place["x"].as_u64().expect("x") + place["w"].as_u64().expect("w");
        assert!(right <= 24, "{panel}");
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{panel}");
        rules.extend(targets.iter().map(|target| {
            json!({"record": "a:panel", "expr": target["expr"].as_str().expect("an expression")})
        }));
    }
    // JSON is YAML.
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("panels.yml");
    let checked = json!({"groups": [{"name": "panels", "rules": rules}]});
    fs::write(&file, checked.to_string()).expect("room for a file");
    assert_success(&promtool(&[
        "check",
        "rules",
        "--lint=none",
        &file.to_string_lossy(),
    ]));
}
