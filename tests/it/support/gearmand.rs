//! A Gearman job server.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::folder;
use super::ports::Port;
use super::process::Process;

/// How long gearmand may take to answer an admin command.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);

/// `TCP_ESTABLISHED` in /proc/net/tcp: the kernel's `include/net/tcp_states.h`.
const ESTABLISHED: &str = "01";

/// `TCP_TIME_WAIT`, where a connection's closer keeps it for a minute.
const TIME_WAIT: &str = "06";

/// A running gearmand without any jobs.
#[derive(Debug)]
pub(crate) struct Gearmand {
    /// Before `folder`: the server ends before its files go.
    process: Process,
    port: Port,
    options: Vec<String>,
    /// Local ports of admin connections, which do not count as clients.
    own_ports: Mutex<HashSet<u16>>,
    folder: TempDir,
}

/// What gearmand's admin command `status` tells of one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FunctionStatus {
    /// Jobs that are not finished, the running ones included.
    pub(crate) queued: u64,
    /// Jobs that a worker has.
    pub(crate) running: u64,
    /// Workers that can do the function.
    pub(crate) workers: u64,
}

impl Gearmand {
    /// Starts on a free port.
    pub(crate) fn start() -> Self {
        Self::start_on(Port::free())
    }

    /// Starts on a port that was chosen before.
    pub(crate) fn start_on(port: Port) -> Self {
        Self::start_with(port, folder::temporary(), Vec::new())
    }

    /// Starts with the options of the drop-in that the packages bring.
    pub(crate) fn start_tuned() -> Self {
        Self::start_with(Port::free(), folder::temporary(), drop_in_options())
    }

    /// Starts with a queue that survives the process, kept in memory of the machine; its job
    /// handles begin with `prefix`.
    pub(crate) fn start_persistent(prefix: &str) -> Self {
        let folder = folder::in_memory();
        let queue = folder.path().join("queue");
        let options = vec![
            "--queue-type=libsqlite3".to_owned(),
            format!("--libsqlite3-db={}", queue.display()),
            format!("--job-handle-prefix={prefix}"),
        ];
        Self::start_with(Port::free(), folder, options)
    }

    fn start_with(port: Port, folder: TempDir, options: Vec<String>) -> Self {
        let process = launch(folder.path(), &port, &options);
        let mut gearmand = Self {
            process,
            port,
            options,
            own_ports: Mutex::default(),
            folder,
        };
        gearmand.wait_until_ready();
        gearmand
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// `127.0.0.1:port`, as `gman_servers_set` takes it.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port())
    }

    /// The server process itself.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The processor time that gearmand has taken so far.
    pub(crate) fn processor_time(&self) -> Duration {
        self.process.processor_time()
    }

    /// The functions that gearmand knows, by name.
    pub(crate) fn status(&self) -> BTreeMap<String, FunctionStatus> {
        self.admin("status")
            .iter()
            .map(|line| parse_status(line).unwrap_or_else(|| panic!("not a status: {line}")))
            .collect()
    }

    /// Refuses jobs of `function`, which gearmand knows, while as many as `jobs` are not finished.
    pub(crate) fn limit_queue(&self, function: &str, jobs: u32) {
        self.admin(&format!("maxqueue {function} {jobs}"));
    }

    /// The connections that gearmand has, as its admin command `workers` lists them:
    /// `fd address client-id : function ...`, workers and clients alike.
    pub(crate) fn workers(&self) -> Vec<String> {
        self.admin("workers")
    }

    /// How many clients and workers are connected, this value's own admin commands aside.
    pub(crate) fn open_sockets(&self) -> usize {
        self.sockets(&[ESTABLISHED])
    }

    /// As [`Gearmand::open_sockets`], with those that a client closed within the last minute.
    pub(crate) fn recent_sockets(&self) -> usize {
        self.sockets(&[ESTABLISHED, TIME_WAIT])
    }

    /// Ends the server with SIGKILL: its jobs are lost, unless it was started to keep them.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Freezes the server: connections open, and nothing is answered.
    pub(crate) fn stop(&self) {
        self.process.freeze();
    }

    /// Lets a server go on that [`Gearmand::stop`] froze.
    pub(crate) fn cont(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// Ends the server in order, if it runs, and starts it again on its port, with the jobs it kept.
    pub(crate) fn restart(&mut self) {
        if let Err(error) = self.process.stop() {
            panic!("cannot stop gearmand: {error}");
        }
        self.process = launch(self.folder.path(), &self.port, &self.options);
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let (port, own) = (self.port.number(), &self.own_ports);
        self.process.wait_until_ready(|| ask(port, own, "status"));
    }

    fn admin(&self, command: &str) -> Vec<String> {
        ask(self.port(), &self.own_ports, command)
            .unwrap_or_else(|error| panic!("gearmand's admin command {command}: {error}"))
    }

    /// Connections as the other end has them, which closes first and so is the one in `TIME_WAIT`.
    fn sockets(&self, states: &[&str]) -> usize {
        let own = self.own_ports.lock().expect("nothing panics with it held");
        let table = fs::read_to_string("/proc/net/tcp")
            .unwrap_or_else(|error| panic!("/proc/net/tcp: {error}"));
        table
            .lines()
            .skip(1)
            .filter_map(Socket::parse)
            .filter(|socket| socket.remote_port == self.port())
            .filter(|socket| states.contains(&socket.state) && !own.contains(&socket.local_port))
            .count()
    }
}

/// One line of /proc/net/tcp.
struct Socket<'a> {
    local_port: u16,
    remote_port: u16,
    state: &'a str,
}

impl<'a> Socket<'a> {
    /// `sl local_address rem_address st ...`, an address as `0100007F:1A2B`.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split_whitespace().skip(1);
        let mut port = || u16::from_str_radix(fields.next()?.split_once(':')?.1, 16).ok();
        Some(Self {
            local_port: port()?,
            remote_port: port()?,
            state: fields.next()?,
        })
    }
}

fn launch(folder: &Path, port: &Port, options: &[String]) -> Process {
    let mut command = Command::new("gearmand");
    command
        .args([
            "--listen=127.0.0.1",
            "--log-file=stderr",
            "--verbose=NOTICE",
        ])
        .arg(format!("--port={}", port.number()))
        .arg(format!("--pid-file={}", folder.join("pid").display()))
        .args(options);
    if nix::unistd::geteuid().is_root() {
        command.arg("--user=root");
    }
    Process::start(command, &folder.join("log"))
}

/// What the shipped drop-in adds to the options of Debian's unit.
fn drop_in_options() -> Vec<String> {
    let drop_in = include_str!("../../../packaging/gearmand.conf");
    let (_, options) = drop_in.split_once("$PARAMS").expect("options of its own");
    options.split_whitespace().map(str::to_owned).collect()
}

/// The lines that gearmand answers to an admin command, up to the line `.` or `OK`.
fn ask(port: u16, own_ports: &Mutex<HashSet<u16>>, command: &str) -> io::Result<Vec<String>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    own_ports
        .lock()
        .expect("nothing panics with it held")
        .insert(stream.local_addr()?.port());
    stream.set_read_timeout(Some(ADMIN_TIMEOUT))?;
    writeln!(stream, "{command}")?;
    let mut lines = Vec::new();
    for line in BufReader::new(stream).lines() {
        match line? {
            end if end == "." || end == "OK" => return Ok(lines),
            line => lines.push(line),
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// `function <tab> unfinished <tab> running <tab> workers`.
fn parse_status(line: &str) -> Option<(String, FunctionStatus)> {
    let mut fields = line.split('\t');
    let function = fields.next()?.to_owned();
    let mut number = || fields.next()?.parse().ok();
    let status = FunctionStatus {
        queued: number()?,
        running: number()?,
        workers: number()?,
    };
    Some((function, status))
}
