//! A job server that speaks TLS itself: `gearmand --ssl`, if there is one that was built with it.

use std::env;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::certificates::Certificates;
use super::folder;
use super::ports::Port;
use super::process::Process;
use super::server_kind::prepared_folder;

/// The environment variable that names a gearmand with TLS, if it is not the one that
/// `scripts/gearmand-tls` has built.
const PROGRAM: &str = "GMAN_TEST_GEARMAND_TLS";

/// A running `gearmand --ssl`.
pub(crate) struct TlsGearmand {
    /// Before `folder`: the server ends before its files go.
    process: Process,
    port: Port,
    program: PathBuf,
    options: Vec<String>,
    folder: TempDir,
}

impl TlsGearmand {
    /// Starts one with the certificate `server`; or says why there is none. Debian's gearmand has the option
    /// and no TLS.
    pub(crate) fn start(certificates: &Certificates) -> Result<Self, String> {
        let file = |name| certificates.path(name);
        Self::start_with(vec![
            "--ssl".to_owned(),
            format!("--ssl-ca-file={}", file("ca.pem")),
            format!("--ssl-certificate={}", file("server.pem")),
            format!("--ssl-key={}", file("server.key")),
        ])
    }

    /// The same program without TLS, to compare with.
    pub(crate) fn start_without_tls() -> Result<Self, String> {
        Self::start_with(Vec::new())
    }

    fn start_with(options: Vec<String>) -> Result<Self, String> {
        let program = env::var_os(PROGRAM).map_or_else(
            || prepared_folder("gearmand-tls").join("gearmand"),
            PathBuf::from,
        );
        if !program.is_file() {
            return Err("no gearmand with TLS; scripts/gearmand-tls builds one".into());
        }
        let (port, folder) = (Port::free(), folder::temporary());
        let process = launch(&program, &port, &folder, &options);
        let mut gearmand = Self {
            process,
            port,
            program,
            options,
            folder,
        };
        gearmand.wait_until_ready();
        Ok(gearmand)
    }

    /// `127.0.0.1:port`, as `gman_servers_set` takes it.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port())
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, without any jobs.
    pub(crate) fn restart(&mut self) {
        self.process.kill();
        self.process = launch(&self.program, &self.port, &self.folder, &self.options);
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let port = self.port.number();
        self.process
            .wait_until_ready(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)));
    }
}

fn launch(program: &PathBuf, port: &Port, folder: &TempDir, options: &[String]) -> Process {
    let mut command = Command::new(program);
    command
        .args(["--listen=127.0.0.1", "--log-file=stderr"])
        .arg(format!("--port={}", port.number()))
        .arg(format!(
            "--pid-file={}",
            folder.path().join("pid").display()
        ))
        .args(options);
    if nix::unistd::geteuid().is_root() {
        command.arg("--user=root");
    }
    Process::start(command, &folder.path().join("log"))
}
