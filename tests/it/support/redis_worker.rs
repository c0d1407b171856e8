//! The two workers that write changed rows to Redis.

use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::cargo::gman_program;
use super::database::product_file;
use super::folder;
use super::gearmand::Gearmand;
use super::process::Process;
use super::redis::Redis;

/// The Gearman function that they do.
pub(crate) const FUNCTION: &str = "syncToRedis";

/// The Gearman function whose jobs name the key.
pub(crate) const ROW_FUNCTION: &str = "syncRowToRedis";

/// Which of the two workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// `gman worker`
    Rust,
    /// `examples/worker.php`
    Php,
}

/// A running worker.
#[derive(Debug)]
pub(crate) struct RedisWorker {
    /// Before `folder`: the worker ends before its log goes.
    process: Process,
    _folder: TempDir,
}

impl RedisWorker {
    /// Starts a worker that prints every job, and waits until gearmand knows it.
    pub(crate) fn start(language: Language, gearmand: &Gearmand, redis: &Redis) -> Self {
        Self::start_with(language, gearmand, redis, &["--verbose"])
    }

    /// With other options.
    pub(crate) fn start_with(
        language: Language,
        gearmand: &Gearmand,
        redis: &Redis,
        options: &[&str],
    ) -> Self {
        let mut command = match language {
            Language::Rust => rust_worker(),
            Language::Php => Command::new(product_file("examples/worker.php")),
        };
        command
            .arg(format!("--gearmand={}", gearmand.address()))
            .arg(format!("--redis={}", redis.address()))
            .args(options);
        Self::run(command, &[gearmand])
    }

    /// Starts the worker in Rust with variables of its environment.
    pub(crate) fn with_variables(
        gearmand: &Gearmand,
        redis: &Redis,
        variables: &[(&str, String)],
    ) -> Self {
        let mut command = rust_worker();
        command
            .arg(format!("--gearmand={}", gearmand.address()))
            .arg(format!("--redis={}", redis.address()))
            .envs(variables.iter().map(|(name, value)| (name, value)));
        Self::run(command, &[gearmand])
    }

    /// Starts the worker in Rust with the options given and no others, and waits until the job servers,
    /// which the options name, know it.
    pub(crate) fn start_bare(gearmands: &[&Gearmand], options: &[String]) -> Self {
        let mut command = rust_worker();
        command.args(options);
        Self::run(command, gearmands)
    }

    fn run(command: Command, gearmands: &[&Gearmand]) -> Self {
        let known: Vec<u64> = gearmands.iter().map(|server| workers(server)).collect();
        let folder = folder::temporary();
        let mut process = Process::start(command, &folder.path().join("log"));
        for (gearmand, before) in gearmands.iter().zip(known) {
            process.wait_until_ready(|| match workers(gearmand) {
                workers if workers > before => Ok(()),
                workers => Err(format!("{workers} workers")),
            });
        }
        Self {
            process,
            _folder: folder,
        }
    }

    /// The process itself.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// All that the worker has printed so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// The processor time that the worker has taken so far.
    pub(crate) fn processor_time(&self) -> Duration {
        self.process.processor_time()
    }

    /// The memory that the worker takes.
    pub(crate) fn rss_bytes(&self) -> u64 {
        self.process.rss_bytes()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends the worker with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks the worker to stop, and returns how it ended.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.process
            .stop()
            .unwrap_or_else(|error| panic!("cannot stop the worker: {error}"))
    }
}

/// How many workers a job server knows for the functions, and for their lanes.
fn workers(gearmand: &Gearmand) -> u64 {
    let is_ours = |name: &str| name.starts_with(FUNCTION) || name.starts_with(ROW_FUNCTION);
    let status = gearmand.status();
    let ours = status.iter().filter(|(name, _)| is_ours(name));
    ours.map(|(_, function)| function.workers).sum()
}

/// The worker in Rust, without options.
fn rust_worker() -> Command {
    let mut command = Command::new(gman_program());
    command.arg("worker");
    command
}
