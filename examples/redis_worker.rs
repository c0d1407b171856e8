//! A Gearman worker that writes changed rows to Redis: the job `syncToRedis` with the workload
//! `{"id":1,"name":"sm"}` becomes `SET 1 sm`, and with `"name":null` it becomes `DEL 1`.
//!
//! No job is lost while Redis is away: the worker finishes a job only after Redis has answered, and
//! tries until it does. A worker that has to stop before that drops its connection, and gearmand
//! gives the job to the next worker. So a job can be done twice, which does no harm to a SET.
//!
//! Run several for throughput, or one to keep the order of changes to the same row.
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
                serve(&mut server, &mut store, options.verbose, &stop)
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
fn serve(server: &mut JobServer, store: &mut Store, verbose: bool, stop: &Stop) -> io::Result<()> {
    server.send(Command::CanDo, &[FUNCTION.as_bytes()])?;
    server.send(Command::GrabJob, &[])?;
    while let Some((command, arguments)) = server.receive(stop)? {
        match (command, arguments.as_slice()) {
            (Command::Noop, _) => server.send(Command::GrabJob, &[])?,
            (Command::NoJob, _) => server.send(Command::PreSleep, &[])?,
            (Command::JobAssign, [handle, _function, workload]) => {
                let Some(reply) = do_job(workload, store, verbose, stop) else {
                    // Unfinished: closing the connection gives the job back.
                    return Ok(());
                };
                match reply {
                    Reply::Complete => server.send(Command::WorkComplete, &[handle, b""])?,
                    Reply::Fail => server.send(Command::WorkFail, &[handle])?,
                }
                if stop.requested() {
                    return Ok(());
                }
                server.send(Command::GrabJob, &[])?;
            }
            (other, _) => return Err(invalid(format!("unexpected {other} packet"))),
        }
    }
    Ok(())
}

/// How a job ends.
enum Reply {
    Complete,
    Fail,
}

/// Does one job; `None` when a signal asks to stop before Redis has it.
fn do_job(workload: &[u8], store: &mut Store, verbose: bool, stop: &Stop) -> Option<Reply> {
    let text = String::from_utf8_lossy(workload);
    let change = match Change::parse(workload) {
        Ok(change) => change,
        Err(problem) => {
            // Trying again would not help, so it ends here. gearmand forgets a background job
            // whether it failed or not, but a client that waits for this one shall know.
            eprintln!("redis_worker: {FUNCTION}: {problem}; the workload was: {text}");
            return Some(Reply::Fail);
        }
    };
    if verbose {
        println!("{FUNCTION} {text}");
    }
    store.apply(&change, stop).then_some(Reply::Complete)
}

/// What a job asks for.
struct Change {
    key: String,
    /// `None` for NULL, which Redis cannot hold: readers find no key and ask the database.
    value: Option<String>,
}

impl Change {
    fn parse(workload: &[u8]) -> Result<Self, String> {
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
        Ok(Self { key, value })
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

    /// Tries until Redis has the change; `false` when a signal asks to stop before that.
    fn apply(&mut self, change: &Change, stop: &Stop) -> bool {
        let mut backoff = Backoff::new();
        while let Err(error) = self.try_apply(change) {
            // What state the connection is in is unknown: the next attempt opens a new one.
            self.connection = None;
            backoff.wait(&format!("Redis: {error}; keeping the job"), stop);
            if stop.requested() {
                return false;
            }
        }
        true
    }

    fn try_apply(&mut self, change: &Change) -> redis::RedisResult<()> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(connect(&self.client)?),
        };
        match &change.value {
            Some(value) => redis::cmd("SET")
                .arg(&change.key)
                .arg(value)
                .exec(connection),
            None => redis::cmd("DEL").arg(&change.key).exec(connection),
        }
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
