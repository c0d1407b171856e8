//! A Redis server.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use redis::Commands;
use tempfile::TempDir;

use super::folder;
use super::ports::Port;
use super::process::Process;

/// A running Redis that is empty at first and keeps its data over a restart.
#[derive(Debug)]
pub(crate) struct Redis {
    /// Before `folder`: the server ends before its files go.
    process: Process,
    port: Port,
    folder: TempDir,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let folder = folder::temporary();
        let port = Port::free();
        let process = launch(folder.path(), &port);
        let mut redis = Self {
            process,
            port,
            folder,
        };
        redis.wait_until_ready();
        redis
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port())
    }

    pub(crate) fn connect(&self) -> redis::Connection {
        open(self.port()).unwrap_or_else(|error| panic!("cannot connect to Redis: {error}"))
    }

    /// The value of `key`, if there is one.
    pub(crate) fn get(&self, key: &str) -> Option<String> {
        self.connect()
            .get(key)
            .unwrap_or_else(|error| panic!("GET {key}: {error}"))
    }

    pub(crate) fn set(&self, key: &str, value: &str) {
        let () = self
            .connect()
            .set(key, value)
            .unwrap_or_else(|error| panic!("SET {key}: {error}"));
    }

    /// Stops the server in order: connecting is refused from then on.
    pub(crate) fn stop(&mut self) {
        if let Err(error) = self.process.stop() {
            panic!("cannot stop Redis: {error}");
        }
    }

    /// Stops the server, if it runs, and starts it again on its data and port.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.process = launch(self.folder.path(), &self.port);
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let port = self.port();
        // PING is refused while the data is being loaded.
        self.process.wait_until_ready(|| {
            let mut connection = open(port)?;
            redis::cmd("PING").query::<String>(&mut connection)
        });
    }
}

fn open(port: u16) -> redis::RedisResult<redis::Connection> {
    redis::Client::open(format!("redis://{}:{port}/", Ipv4Addr::LOCALHOST))?.get_connection()
}

fn launch(folder: &Path, port: &Port) -> Process {
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--appendonly", "yes", "--save", ""])
        .arg("--dir")
        .arg(folder)
        .arg("--port")
        .arg(port.number().to_string());
    Process::start(command, &folder.join("log"))
}
