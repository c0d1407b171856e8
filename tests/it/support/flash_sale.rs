//! The servers and workers of `examples/flash_sale`.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::database::Database;
use super::folder;
use super::gearmand::Gearmand;
use super::process::Process;
use super::redis::Redis;
use super::redis_worker::{Language, RedisWorker};

/// All that a sale needs, besides a worker that stores the orders.
#[derive(Debug)]
pub(crate) struct FlashSale {
    /// The built example.
    program: PathBuf,
    _page_worker: RedisWorker,
    pub(crate) database: Database,
    pub(crate) gearmand: Gearmand,
    pub(crate) redis: Redis,
    folder: TempDir,
}

impl FlashSale {
    pub(crate) fn start(program: PathBuf) -> Self {
        let database = Database::start();
        let gearmand = Gearmand::start();
        let redis = Redis::start();
        database.install_functions();
        let _: String = database.value(&format!(
            "SELECT gman_servers_set('{}')",
            gearmand.address()
        ));
        Self {
            program,
            _page_worker: RedisWorker::start(Language::Rust, &gearmand, &redis),
            database,
            gearmand,
            redis,
            folder: folder::temporary(),
        }
    }

    /// The database as `--database` takes it.
    pub(crate) fn database_url(&self) -> String {
        let socket = self.database.socket();
        format!("mysql://root@localhost/test?socket={}", socket.display())
    }

    /// Starts a worker that stores orders.
    pub(crate) fn orders_worker(&self, options: &[&str]) -> Process {
        self.start_program("orders", options)
    }

    /// Opens a sale and sends the buyers.
    pub(crate) fn sell(&self, options: &[&str]) -> Process {
        self.start_program("sell", options)
    }

    fn start_program(&self, command: &str, options: &[&str]) -> Process {
        let mut program = Command::new(&self.program);
        program
            .arg(command)
            .arg(format!("--gearmand={}", self.gearmand.address()))
            .arg(format!("--redis={}", self.redis.address()))
            .arg(format!("--database={}", self.database_url()))
            .args(options);
        Process::start(program, &self.folder.path().join(command))
    }
}
