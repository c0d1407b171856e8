//! A server as a child process.

use std::cell::RefCell;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::wait::PAUSE;

/// How long a server may take until it answers; generous, as the machine may be busy.
const SERVER_PATIENCE: Duration = Duration::from_secs(60);

/// How long a process that was asked to end may take before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// How long a process may take until all of its threads have stopped.
const FREEZING: Duration = Duration::from_secs(20);

/// How much of the log a failure shows: MySQL 5.6 ends its own with 50 lines about its plugins.
const TAIL_LINES: usize = 80;

thread_local! {
    /// The file of the network in which this thread starts processes, if that is another one than ours.
    static NETWORK: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on this thread starts processes in the network of this file, as nsenter(1) takes it.
pub(super) fn start_in_network(file: String) {
    NETWORK.set(Some(file));
}

/// A running child. Dropping it ends it; it also ends when this process is killed.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with stdout and stderr going to the end of `log`.
    pub(crate) fn start(command: Command, log: &Path) -> Self {
        let name = base_name(command.get_program());
        let output = File::options().create(true).append(true).open(log);
        let spawned = output.and_then(|output| {
            let mut command = ending_with_us(&command);
            command
                .stdin(Stdio::null())
                .stdout(output.try_clone()?)
                .stderr(output)
                // A terminal's Ctrl-C is for the parent, which ends its children in order.
                .process_group(0);
            spawn(command)
        });
        match spawned {
            Ok(child) => Self {
                name,
                child,
                log: log.to_owned(),
            },
            Err(error) => panic!("cannot start {name}: {error}"),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `probe` returns `Ok`.
    ///
    /// # Panics
    ///
    /// When the process ends, or has not become ready in a minute; shows its log's tail.
    pub(crate) fn wait_until_ready<T, Seen: Debug>(
        &mut self,
        mut probe: impl FnMut() -> Result<T, Seen>,
    ) -> T {
        let started = Instant::now();
        loop {
            let seen = match probe() {
                Ok(value) => return value,
                Err(seen) => seen,
            };
            let problem = match self.exit_status() {
                Some(status) => format!("ended ({status})"),
                None if started.elapsed() < SERVER_PATIENCE => {
                    thread::sleep(PAUSE);
                    continue;
                }
                None => format!("was not ready after {SERVER_PATIENCE:?}"),
            };
            panic!(
                "{} {problem}; last seen: {seen:?}; its log ends with\n{}",
                self.name,
                self.log_tail()
            );
        }
    }

    /// All that the process has written so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The resident memory of the process: `VmRSS` of proc(5).
    pub(crate) fn rss_bytes(&self) -> u64 {
        let kib = self.status("VmRSS");
        let kib = kib.trim_end_matches(" kB").parse::<u64>();
        kib.expect("a number of KiB") * 1024
    }

    /// The processor time that the process has taken so far.
    pub(crate) fn processor_time(&self) -> Duration {
        processor_time(self.pid())
    }

    /// How many threads the process has.
    pub(crate) fn threads(&self) -> usize {
        self.status("Threads").parse().expect("a number of threads")
    }

    /// How many sockets the process has open.
    pub(crate) fn sockets(&self) -> usize {
        let path = format!("/proc/{}/fd", self.pid());
        let files = fs::read_dir(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        files
            .flatten()
            // One that is closed meanwhile is none.
            .filter_map(|file| fs::read_link(file.path()).ok())
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// A line of `/proc/PID/status`.
    fn status(&self, name: &str) -> String {
        let path = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .unwrap_or_else(|| panic!("expected a line {name} in {path}:\n{status}"))
            .trim()
            .to_owned()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Err(error) = signal::kill(self.nix_pid(), signal) {
            panic!("cannot send {signal} to {}: {error}", self.name);
        }
    }

    /// Freezes the process, and returns once all of its threads are: on a busy machine one may run on for a
    /// while after the signal.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        super::wait_until(FREEZING, "the process to freeze", || {
            let states = self.thread_states();
            match states.iter().all(|state| state == "T") {
                true => Ok(()),
                false => Err(states),
            }
        });
    }

    /// Of each thread, as proc(5) has them.
    fn thread_states(&self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("a process");
        tasks
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok())
            .map(|stat| {
                // Behind the name, which may have anything in it.
                let (_, behind) = stat.rsplit_once(") ").expect("a name in brackets");
                behind.split(' ').next().unwrap_or_default().to_owned()
            })
            .collect()
    }

    /// `None` while the process runs.
    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Ends the process with SIGKILL, as a power cut would.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself: then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks the process to end and returns how it did; kills one that does not.
    pub(crate) fn stop(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        signal::kill(self.nix_pid(), Signal::SIGTERM)?;
        // A stopped process receives SIGTERM only once it goes on.
        signal::kill(self.nix_pid(), Signal::SIGCONT)?;
        let asked = Instant::now();
        while asked.elapsed() < STOP_PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(PAUSE);
        }
        self.child.kill()?;
        self.child.wait()
    }

    fn nix_pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nobody to tell in a drop; at worst the kernel ends it together with this process.
        let _ = self.stop();
    }
}

/// The processor time that a process has taken so far, of all its threads: utime and stime of proc(5), in
/// hundredths of a second.
pub(crate) fn processor_time(pid: u32) -> Duration {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    // Behind the name, which may hold anything.
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: u64 = ticks
        .map(|field| field.parse::<u64>().expect("ticks"))
        .sum();
    Duration::from_millis(10 * ticks)
}

/// Runs `command` to its end and returns its stdout.
///
/// # Panics
///
/// When it cannot be started or fails; shows its stderr.
pub(crate) fn run(command: &mut Command) -> String {
    let name = base_name(command.get_program());
    let output = command
        .env("PATH", search_path())
        .output()
        .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
    assert!(
        output.status.success(),
        "{name} failed ({}): {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The same command, killed by the kernel when the thread that spawned it ends, and in the network of this
/// thread.
///
/// setpriv(1) of util-linux sets `PR_SET_PDEATHSIG` and becomes the command, which needs no
/// `unsafe` code here.
fn ending_with_us(command: &Command) -> Command {
    let mut wrapped = match NETWORK.with_borrow(Clone::clone) {
        None => Command::new("setpriv"),
        Some(network) => {
            let mut wrapped = Command::new("nsenter");
            wrapped.args([&format!("--net={network}"), "setpriv"]);
            wrapped
        }
    };
    wrapped
        .args(["--pdeathsig", "KILL", "--"])
        .arg(command.get_program())
        .args(command.get_args())
        .env("PATH", search_path());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped
}

/// The PATH with the folders where the servers live, which not every account has on it.
fn search_path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    path
}

/// Spawns from a thread that lives as long as this process: `PR_SET_PDEATHSIG` is about the
/// thread that spawned, and a test's thread ends before a server that several tests share.
fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in orders {
                // The one who asked waits for the answer, or is gone and does not need it.
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (reply, answer) = mpsc::channel();
    let ended = |_| io::Error::other("the spawning thread has ended");
    spawner
        .lock()
        .map_err(|_| io::Error::other("the spawning thread's queue is poisoned"))?
        .send((command, reply))
        .map_err(|_| io::Error::other("the spawning thread has ended"))?;
    answer.recv().map_err(ended)?
}

fn base_name(program: &OsStr) -> String {
    Path::new(program)
        .file_name()
        .unwrap_or(program)
        .to_string_lossy()
        .into_owned()
}
