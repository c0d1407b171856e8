//! stunnel in front of a job server: TLS as those have it whose gearmand was built without.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;

use tempfile::TempDir;

use super::certificates::Certificates;
use super::folder;
use super::ports::Port;
use super::process::Process;

/// Lets TLS in and passes plain text on to a port of this machine.
pub(crate) struct Stunnel {
    /// Before `folder`: it ends before its files go.
    process: Process,
    port: Port,
    folder: TempDir,
}

impl Stunnel {
    /// Shows the certificate `server`.
    pub(crate) fn start(certificates: &Certificates, backend: u16) -> Self {
        Self::start_with(certificates, "server", backend, "")
    }

    /// Lets nobody in who does not show a certificate of the authority.
    pub(crate) fn for_known_clients(certificates: &Certificates, backend: u16) -> Self {
        let ca = certificates.path("ca.pem");
        let options = format!("verifyChain = yes\nCAfile = {ca}\n");
        Self::start_with(certificates, "server", backend, &options)
    }

    /// Shows the certificate `name`, with more lines of configuration.
    pub(crate) fn start_with(
        certificates: &Certificates,
        name: &str,
        backend: u16,
        options: &str,
    ) -> Self {
        let folder = folder::temporary();
        let port = Port::free();
        let file = |extension| certificates.path(&format!("{name}.{extension}"));
        let configuration = format!(
            "foreground = yes\npid =\ndebug = info\nsyslog = no\n\
             [gearmand]\naccept = {host}:{port}\nconnect = {host}:{backend}\n\
             cert = {cert}\nkey = {key}\n{options}",
            host = Ipv4Addr::LOCALHOST,
            port = port.number(),
            cert = file("pem"),
            key = file("key"),
        );
        let path = folder.path().join("stunnel.conf");
        fs::write(&path, configuration).expect("a file in a temporary folder");
        let mut stunnel = Self {
            process: launch(&folder),
            port,
            folder,
        };
        stunnel.wait_until_ready();
        stunnel
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// `127.0.0.1:port`, as `gman_servers_set` takes it.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port())
    }

    /// What it says of its clients.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after [`Stunnel::kill`], with the certificates that are there now.
    pub(crate) fn restart(&mut self) {
        self.process.kill();
        self.process = launch(&self.folder);
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let port = self.port.number();
        self.process
            .wait_until_ready(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)));
    }
}

fn launch(folder: &TempDir) -> Process {
    let mut command = Command::new("stunnel");
    command.arg(folder.path().join("stunnel.conf"));
    Process::start(command, &folder.path().join("log"))
}
