//! A Redis server.

use std::collections::BTreeMap;
use std::env;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use redis::{Commands, FromRedisValue, RedisResult};
use tempfile::TempDir;

use super::folder;
use super::ports::Port;
use super::process::Process;

/// A running Redis that is empty at first and keeps its data over a restart.
#[derive(Debug)]
pub(crate) struct Redis {
    /// Before `folder`: the server ends before its files go.
    process: Process,
    host: Ipv4Addr,
    port: Port,
    options: Vec<String>,
    password: &'static str,
    folder: TempDir,
}

impl Redis {
    pub(crate) fn start() -> Self {
        Self::start_with(Vec::new(), "")
    }

    /// One that keeps nothing on disk, as a cache: what benchmarks measure.
    pub(crate) fn without_persistence() -> Self {
        Self::start_with(["--appendonly", "no"].map(str::to_owned).to_vec(), "")
    }

    /// Starts with further options, and a password unless it is empty.
    pub(crate) fn start_with(options: Vec<String>, password: &'static str) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST, options, password)
    }

    /// At an address of this machine, from which its own connections come too.
    pub(crate) fn start_at(host: Ipv4Addr, options: Vec<String>, password: &'static str) -> Self {
        let folder = folder::temporary();
        let port = Port::free();
        let process = launch(folder.path(), host, &port, &options, password);
        let mut redis = Self {
            process,
            host,
            port,
            options,
            password,
            folder,
        };
        redis.wait_until_ready();
        redis
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    pub(crate) fn host(&self) -> Ipv4Addr {
        self.host
    }

    /// The server process itself.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// The processor time that the server has taken so far.
    pub(crate) fn processor_time(&self) -> Duration {
        self.process.processor_time()
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port())
    }

    pub(crate) fn connect(&self) -> redis::Connection {
        open(&self.address(), self.password)
            .unwrap_or_else(|error| panic!("cannot connect to Redis: {error}"))
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

    /// The fields of the hash `key`; none where there is no such key.
    pub(crate) fn hash(&self, key: &str) -> BTreeMap<String, String> {
        self.connect()
            .hgetall(key)
            .unwrap_or_else(|error| panic!("HGETALL {key}: {error}"))
    }

    /// Freezes the server: connections open, and nothing is answered.
    pub(crate) fn freeze(&self) {
        self.process.freeze();
    }

    /// Lets a server go on that was frozen.
    pub(crate) fn thaw(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// Sends a command, and returns what Redis says, or its error.
    pub(crate) fn command<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query(&mut self.connect())
    }

    /// Ends the server with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
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
        self.process = launch(
            self.folder.path(),
            self.host,
            &self.port,
            &self.options,
            self.password,
        );
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let (address, password) = (self.address(), self.password);
        // PING is refused while the data is being loaded.
        self.process.wait_until_ready(|| {
            let mut connection = open(&address, password)?;
            redis::cmd("PING").query::<String>(&mut connection)
        });
    }
}

fn open(address: &str, password: &str) -> redis::RedisResult<redis::Connection> {
    let url = match password {
        "" => format!("redis://{address}/"),
        password => format!("redis://:{password}@{address}/"),
    };
    redis::Client::open(url)?.get_connection()
}

/// What is started: a server that speaks as Redis does can be named by `GMAN_TEST_REDIS`.
pub(super) fn program() -> String {
    env::var("GMAN_TEST_REDIS").unwrap_or_else(|_| "redis-server".to_owned())
}

fn launch(
    folder: &Path,
    host: Ipv4Addr,
    port: &Port,
    options: &[String],
    password: &str,
) -> Process {
    let mut command = Command::new(program());
    let host = host.to_string();
    command
        .args(["--bind", &host, "--bind-source-addr", &host])
        // It would take other addresses of this machine than 127.0.0.1 for strangers.
        .args(["--protected-mode", "no"])
        .args(["--appendonly", "yes", "--save", ""])
        .arg("--dir")
        .arg(folder)
        .arg("--port")
        .arg(port.number().to_string())
        .args(["--requirepass", password])
        .args(options);
    Process::start(command, &folder.join("log"))
}
