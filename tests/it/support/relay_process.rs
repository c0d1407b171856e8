//! `gman relay` as a process.

use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::cargo::gman_program;
use super::database::Database;
use super::folder;
use super::gearmand::Gearmand;
use super::process::Process;
use super::wait::wait_until;

/// How long a relay may take until it relays: it waits for the lease of one that died.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running relay.
#[derive(Debug)]
pub(crate) struct RelayProcess {
    /// Before `folder`: the relay ends before its log goes.
    process: Process,
    _folder: TempDir,
}

impl RelayProcess {
    /// Starts a relay of the outbox of this server to this job server, and waits until it has begun.
    pub(crate) fn between(database: &Database, gearmand: &Gearmand) -> Self {
        Self::of(
            database,
            &[format!("--gearmand={}", gearmand.address())],
            &[],
        )
    }

    /// Starts a relay of the outbox of this server with further options and variables of its environment, and
    /// waits until it has begun.
    pub(crate) fn of(
        database: &Database,
        options: &[String],
        variables: &[(&str, String)],
    ) -> Self {
        let socket = database.socket();
        let mysql = format!("--mysql=mysql://root@localhost?socket={}", socket.display());
        let relay = Self::start_with(&[&[mysql], options].concat(), variables);
        wait_until(PATIENCE, "the relay to begin", || {
            let log = relay.log();
            if log.contains("relaying the outbox") {
                Ok(())
            } else {
                Err(log)
            }
        });
        relay
    }

    /// Starts a relay of the outbox in the database `test` with the options given.
    pub(crate) fn start(options: &[String]) -> Self {
        Self::start_with(options, &[])
    }

    /// As [`RelayProcess::start`], with variables of its environment.
    pub(crate) fn start_with(options: &[String], variables: &[(&str, String)]) -> Self {
        let folder = folder::temporary();
        let mut command = Command::new(gman_program());
        command
            .args(["relay", "test", "--defaults-file=/dev/null"])
            .args(options)
            .envs(variables.iter().map(|(name, value)| (name, value)));
        let process = Process::start(command, &folder.path().join("log"));
        Self {
            process,
            _folder: folder,
        }
    }

    /// The processor time that the relay has taken so far.
    pub(crate) fn processor_time(&self) -> Duration {
        self.process.processor_time()
    }

    /// The process itself.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// All that the relay has printed so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// As [`Process::freeze`].
    pub(crate) fn freeze(&self) {
        self.process.freeze();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends the relay with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks the relay to stop, and returns how it ended.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.process
            .stop()
            .unwrap_or_else(|error| panic!("cannot stop the relay: {error}"))
    }
}
