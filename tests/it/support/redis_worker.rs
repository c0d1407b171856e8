//! The workers of `examples/` that write changed rows to Redis.

use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;

use tempfile::TempDir;

use super::cargo;
use super::database::product_file;
use super::folder;
use super::gearmand::Gearmand;
use super::process::Process;
use super::redis::Redis;

/// The Gearman function that they do.
pub(crate) const FUNCTION: &str = "syncToRedis";

/// Which of the two workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// `examples/redis_worker.rs`
    Rust,
    /// `examples/worker.php`
    Php,
}

/// A running worker that prints every job.
#[derive(Debug)]
pub(crate) struct RedisWorker {
    /// Before `folder`: the worker ends before its log goes.
    process: Process,
    _folder: TempDir,
}

impl RedisWorker {
    /// Starts a worker, and waits until gearmand knows it.
    pub(crate) fn start(language: Language, gearmand: &Gearmand, redis: &Redis) -> Self {
        Self::start_with(language, gearmand, redis, &[])
    }

    /// With further options.
    pub(crate) fn start_with(
        language: Language,
        gearmand: &Gearmand,
        redis: &Redis,
        options: &[&str],
    ) -> Self {
        let mut command = match language {
            Language::Rust => Command::new(rust_worker()),
            Language::Php => Command::new(product_file("examples/worker.php")),
        };
        command
            .arg(format!("--gearmand={}", gearmand.address()))
            .arg(format!("--redis={}", redis.address()))
            .arg("--verbose")
            .args(options);
        let known = || gearmand.status().get(FUNCTION).map_or(0, |f| f.workers);
        let before = known();
        let folder = folder::temporary();
        let mut process = Process::start(command, &folder.path().join("log"));
        process.wait_until_ready(|| match known() {
            workers if workers > before => Ok(()),
            workers => Err(format!("{workers} workers for {FUNCTION}")),
        });
        Self {
            process,
            _folder: folder,
        }
    }

    /// All that the worker has printed so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Asks the worker to stop, and answers how it ended.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.process
            .stop()
            .unwrap_or_else(|error| panic!("cannot stop the worker: {error}"))
    }
}

fn rust_worker() -> &'static PathBuf {
    static WORKER: OnceLock<PathBuf> = OnceLock::new();
    WORKER.get_or_init(|| cargo::example("redis_worker"))
}
