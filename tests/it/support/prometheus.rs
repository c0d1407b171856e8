//! A Prometheus that scrapes one address.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::folder;
use super::ports::Port;
use super::process::Process;

/// Stops when its value is dropped.
#[derive(Debug)]
pub(crate) struct Prometheus {
    /// Before the folder: it ends before its data goes.
    process: Process,
    port: Port,
    _folder: TempDir,
}

impl Prometheus {
    /// Scrapes `http://ADDRESS/metrics` every second.
    pub(crate) fn start(address: &str) -> Self {
        let (folder, port) = (folder::temporary(), Port::free());
        let file = folder.path().join("prometheus.yml");
        let configuration = format!(
            "global: {{scrape_interval: 1s}}\n\
             scrape_configs: [{{job_name: worker, static_configs: [{{targets: ['{address}']}}]}}]\n"
        );
        fs::write(&file, configuration).expect("a file in a temporary folder");
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!(
                "--web.listen-address={}:{}",
                Ipv4Addr::LOCALHOST,
                port.number()
            ));
        let mut prometheus = Self {
            process: Process::start(command, &folder.path().join("log")),
            port,
            _folder: folder,
        };
        let url = prometheus.url("-/ready");
        prometheus
            .process
            .wait_until_ready(|| ureq::get(&url).call());
        prometheus
    }

    /// The value of an expression that has one.
    pub(crate) fn value(&self, expression: &str) -> Option<f64> {
        let url = self.url("api/v1/query");
        let answer = ureq::get(url).query("query", expression).call();
        let text = answer.ok()?.body_mut().read_to_string().ok()?;
        let answer: Value = serde_json::from_str(&text).ok()?;
        answer["data"]["result"][0]["value"][1]
            .as_str()?
            .parse()
            .ok()
    }

    fn url(&self, path: &str) -> String {
        format!(
            "http://{}:{}/{path}",
            Ipv4Addr::LOCALHOST,
            self.port.number()
        )
    }
}
