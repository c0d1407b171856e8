//! A Gearman worker that writes changed rows to Redis: the job `syncToRedis` with the workload
//! `{"id":1,"name":"sm"}` becomes `SET 1 sm`, and with `"name":null` it becomes `DEL 1`.
//!
//! No job is lost while Redis is away: the worker finishes a job only after Redis has answered, and
//! tries until it does. A worker that has to stop before that drops its connection, and gearmand
//! gives the job to the next worker. So a job can be done twice, which does no harm to a SET.
//!
//! One worker keeps the order of changes to the same row: it holds several jobs at once
//! (`--in-flight`), hands them to Redis in the order they came in, in one round trip, and finishes
//! them after that. Several workers, or one that is killed while it holds jobs, can change the order;
//! then let the row carry a version (`--version-field`): a change that is older than the one Redis
//! has is left out.
//!
//! ```sh
//! cargo run --release --example redis_worker -- --gearmand 127.0.0.1:4730 --redis 127.0.0.1:6379
//! ```

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser;
use gearman_mysql_udf::gearman::packet::{self, Command, Decoded, Magic};
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};

/// The Gearman function that the trigger submits.
const FUNCTION: &str = "syncToRedis";

/// How soon a signal is noticed while nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// The first and the longest pause between two attempts to reach a server.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How long Redis may take to answer before it counts as away.
const REDIS_TIMEOUT: Duration = Duration::from_secs(2);

/// Writes the rows of `syncToRedis` jobs to Redis.
#[derive(Parser)]
struct Options {
    /// The Gearman job server, host:port
    #[arg(long, env = "GEARMAND", default_value = "127.0.0.1:4730")]
    gearmand: String,

    /// Redis, host:port or redis://[user:password@]host:port/database
    #[arg(long, env = "REDIS", default_value = "127.0.0.1:6379")]
    redis: String,

    /// How many jobs are held at once
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    in_flight: u16,

    /// The member of the row, a whole number up to 2^53 that grows with every change, by which an
    /// older change is known; kept in Redis under the row's key with ":version" behind it
    #[arg(long)]
    version_field: Option<String>,

    /// Print every job
    #[arg(long)]
    verbose: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("redis_worker: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves one connection to gearmand after the other, until a signal asks to stop.
fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let stop = Stop::on_signals()?;
    let mut store = Store::new(&options.redis)?;
    let mut backoff = Backoff::new();
    while !stop.requested() {
        let problem = match JobServer::connect(&options.gearmand) {
            Ok(mut server) => {
                eprintln!(
                    "redis_worker: waiting for {FUNCTION} jobs of gearmand {}",
                    options.gearmand
                );
                backoff = Backoff::new();
                serve(&mut server, &mut store, options, &stop)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = problem {
            backoff.wait(&format!("gearmand {}: {error}", options.gearmand), &stop);
        }
    }
    Ok(())
}

/// Does jobs until a signal asks to stop or the connection fails.
///
/// Jobs are grabbed one after the other until there are enough or no more, then done together.
/// Unfinished ones are gearmand's again once the connection closes.
fn serve(
    server: &mut JobServer,
    store: &mut Store,
    options: &Options,
    stop: &Stop,
) -> io::Result<()> {
    let mut held: Vec<Job> = Vec::new();
    server.send(Command::CanDo, &[FUNCTION.as_bytes()])?;
    server.send(Command::GrabJob, &[])?;
    while let Some((command, arguments)) = server.receive(stop)? {
        match (command, arguments.as_slice()) {
            (Command::Noop, _) => server.send(Command::GrabJob, &[])?,
            (Command::JobAssign, [handle, _function, workload]) => {
                held.push(Job::new(handle, workload, options));
                if held.len() >= usize::from(options.in_flight)
                    && !finish(server, store, &mut held, stop)?
                {
                    return Ok(());
                }
                server.send(Command::GrabJob, &[])?;
            }
            (Command::NoJob, _) if held.is_empty() => server.send(Command::PreSleep, &[])?,
            (Command::NoJob, _) => {
                if !finish(server, store, &mut held, stop)? {
                    return Ok(());
                }
                server.send(Command::GrabJob, &[])?;
            }
            (other, _) => return Err(invalid(format!("unexpected {other} packet"))),
        }
    }
    Ok(())
}

/// Does the jobs that are held, in their order, and says so to gearmand; `false` when a signal asks
/// to stop.
fn finish(
    server: &mut JobServer,
    store: &mut Store,
    held: &mut Vec<Job>,
    stop: &Stop,
) -> io::Result<bool> {
    let changes: Vec<&Change> = held.iter().filter_map(|job| job.change.as_ref()).collect();
    if !store.apply(&changes, stop) {
        return Ok(false);
    }
    for job in held.drain(..) {
        match job.change {
            Some(_) => server.send(Command::WorkComplete, &[&job.handle, b""])?,
            // Trying again would not help, so it ends here. gearmand forgets a background job
            // whether it failed or not, but a client that waits for this one shall know.
            None => server.send(Command::WorkFail, &[&job.handle])?,
        }
    }
    Ok(!stop.requested())
}

/// A job that is not finished.
struct Job {
    handle: Vec<u8>,
    /// `None` where the workload is none.
    change: Option<Change>,
}

impl Job {
    fn new(handle: &[u8], workload: &[u8], options: &Options) -> Self {
        let text = String::from_utf8_lossy(workload);
        let change = Change::parse(workload, options.version_field.as_deref());
        match &change {
            Err(problem) => {
                eprintln!("redis_worker: {FUNCTION}: {problem}; the workload was: {text}");
            }
            Ok(_) if options.verbose => println!("{FUNCTION} {text}"),
            Ok(_) => {}
        }
        Self {
            handle: handle.to_vec(),
            change: change.ok(),
        }
    }
}

/// What a job asks for.
struct Change {
    key: String,
    /// `None` for NULL, which Redis cannot hold: readers find no key and ask the database.
    value: Option<String>,
    version: Option<u64>,
}

/// Applies a change unless Redis has a newer one: KEYS are the row's key and that of its version,
/// ARGV the version, and the value where there is one.
const UNLESS_NEWER: &str = "
local known = tonumber(redis.call('GET', KEYS[2]) or '0')
if known > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[2], ARGV[1])
if ARGV[2] then redis.call('SET', KEYS[1], ARGV[2]) else redis.call('DEL', KEYS[1]) end
return 1";

impl Change {
    fn parse(workload: &[u8], version_field: Option<&str>) -> Result<Self, String> {
        let row: Value = serde_json::from_slice(workload).map_err(|error| error.to_string())?;
        let column = |name: &str| match row.get(name) {
            Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            _ => Err(format!(
                "expected an object with a string or number \"{name}\""
            )),
        };
        let key = column("id")?.ok_or("expected an \"id\" that is not null")?;
        let value = column("name")?;
        let version = version_field.map(|name| {
            let version = row.get(name).and_then(Value::as_u64);
            version.ok_or_else(|| format!("expected an object with a whole number \"{name}\""))
        });
        Ok(Self {
            key,
            value,
            version: version.transpose()?,
        })
    }

    fn command(&self) -> redis::Cmd {
        let mut command;
        match self.version {
            Some(version) => {
                command = redis::cmd("EVAL");
                command.arg(UNLESS_NEWER).arg(2);
                command.arg(&self.key).arg(format!("{}:version", self.key));
                command.arg(version).arg(&self.value);
            }
            None => {
                command = redis::cmd(if self.value.is_some() { "SET" } else { "DEL" });
                command.arg(&self.key).arg(&self.value);
            }
        }
        command
    }
}

/// Redis, reached again whenever it was away.
struct Store {
    client: redis::Client,
    connection: Option<redis::Connection>,
}

impl Store {
    fn new(address: &str) -> redis::RedisResult<Self> {
        let url = if address.contains("://") {
            address.to_owned()
        } else {
            format!("redis://{address}/")
        };
        Ok(Self {
            client: redis::Client::open(url)?,
            connection: None,
        })
    }

    /// Tries until Redis has the changes, in their order; `false` when a signal asks to stop before
    /// that. An attempt that failed half way is made again from the first one on.
    fn apply(&mut self, changes: &[&Change], stop: &Stop) -> bool {
        let mut backoff = Backoff::new();
        while let Err(error) = self.try_apply(changes) {
            // What state the connection is in is unknown: the next attempt opens a new one.
            self.connection = None;
            backoff.wait(&format!("Redis: {error}; keeping the job"), stop);
            if stop.requested() {
                return false;
            }
        }
        true
    }

    fn try_apply(&mut self, changes: &[&Change]) -> redis::RedisResult<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(connect(&self.client)?),
        };
        let mut pipeline = redis::pipe();
        for change in changes {
            pipeline.add_command(change.command()).ignore();
        }
        pipeline.exec(connection)
    }
}

fn connect(client: &redis::Client) -> redis::RedisResult<redis::Connection> {
    let connection = client.get_connection_with_timeout(REDIS_TIMEOUT)?;
    connection.set_read_timeout(Some(REDIS_TIMEOUT))?;
    connection.set_write_timeout(Some(REDIS_TIMEOUT))?;
    Ok(connection)
}

/// A worker's connection to gearmand.
struct JobServer {
    stream: TcpStream,
    received: Vec<u8>,
}

impl JobServer {
    fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TICK))?;
        Ok(Self {
            stream,
            received: Vec::new(),
        })
    }

    fn send(&mut self, command: Command, arguments: &[&[u8]]) -> io::Result<()> {
        let mut bytes = Vec::new();
        packet::encode(&mut bytes, Magic::Request, command, arguments);
        self.stream.write_all(&bytes)
    }

    /// Waits for a packet; `None` when a signal asks to stop before one has come.
    fn receive(&mut self, stop: &Stop) -> io::Result<Option<(Command, Vec<Vec<u8>>)>> {
        let mut buffer = [0; 8192];
        loop {
            if let Decoded::Packet(packet) =
                packet::decode(Magic::Response, &self.received).map_err(invalid)?
            {
                let arguments = packet.arguments().map(<[u8]>::to_vec).collect();
                let (command, bytes) = (packet.command, packet.bytes());
                self.received.drain(..bytes);
                return Ok(Some((command, arguments)));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the connection was closed",
                    ));
                }
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if stop.requested() {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn invalid(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

/// Whether SIGTERM or SIGINT has come.
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn on_signals() -> io::Result<Self> {
        let requested = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register(signal, Arc::clone(&requested))?;
        }
        Ok(Self(requested))
    }

    fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Growing pauses between attempts.
struct Backoff {
    next: Duration,
}

impl Backoff {
    fn new() -> Self {
        Self { next: BACKOFF.0 }
    }

    /// Reports `problem` and pauses, for less when a signal asks to stop.
    fn wait(&mut self, problem: &str, stop: &Stop) {
        eprintln!(
            "redis_worker: {problem}; trying again in {} ms",
            self.next.as_millis()
        );
        let mut left = self.next;
        while !left.is_zero() && !stop.requested() {
            let step = left.min(TICK);
            thread::sleep(step);
            left -= step;
        }
        self.next = (self.next * 2).min(BACKOFF.1);
    }
}
