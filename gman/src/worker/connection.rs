//! A connection to a job server. One thread reads from it; whoever finishes jobs writes to it.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gearman_mysql_udf::gearman::servers::host_port::HostPort;
use gearman_mysql_udf::gearman::wire::connection::Connection as Wire;
use gearman_mysql_udf::gearman::wire::deadline::Deadline;
use gearman_mysql_udf::gearman::wire::packet::{self, Command, Magic};
use gearman_mysql_udf::gearman::wire::protection::Protection;

use super::intake::{Ask, Intake};
use super::statistics::Statistics;
use super::store::Outcome;

/// How long connecting or writing may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How soon a reader that hears nothing looks whether to stop.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// A job that is finished, one way or the other.
pub(super) struct Finished {
    pub(super) handle: Vec<u8>,
    pub(super) outcome: Outcome,
    /// The length of its workload, if that was kept.
    pub(super) bytes: usize,
    /// Whether it had to wait for a Redis that was unreachable.
    pub(super) parked: bool,
}

/// An open connection.
pub(super) struct Connection {
    /// The socket below, for who waits, and for who ends the connection while another waits.
    socket: TcpStream,
    shared: Mutex<Shared>,
    statistics: Arc<Statistics>,
}

/// What readers and writers take turns with.
struct Shared {
    wire: Wire,
    intake: Intake,
    /// Kept, so that sending allocates nothing.
    bytes: Vec<u8>,
    lost: bool,
}

impl Connection {
    /// Connects, registers the Gearman functions and asks for the first job.
    pub(super) fn open(
        address: &HostPort,
        protection: &Protection,
        functions: &[String],
        intake: Intake,
        statistics: &Arc<Statistics>,
    ) -> io::Result<Self> {
        let wire = connect(address, protection)?;
        let socket = TcpStream::from(wire.as_fd().try_clone_to_owned()?);
        socket.set_read_timeout(Some(TICK))?;
        let mut bytes = Vec::new();
        for function in functions {
            request(&mut bytes, Command::CanDo, &[function.as_bytes()]);
        }
        let connection = Self {
            socket,
            shared: Mutex::new(Shared {
                wire,
                intake,
                bytes,
                lost: false,
            }),
            statistics: Arc::clone(statistics),
        };
        connection.update(|_| {})?;
        Ok(connection)
    }

    /// Reads what has arrived to the end of `received`; nothing within [`TICK`] is nothing. What TLS has
    /// arrive for itself is nothing as well.
    pub(super) fn read(&self, received: &mut Vec<u8>) -> io::Result<usize> {
        // Not with the lock held, which a writer wants. What a writer has taken in meanwhile waits for a
        // tick at most.
        match self.socket.peek(&mut [0]) {
            Err(error)
                if !matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) =>
            {
                Err(error)
            }
            _ => {
                let arrived = self
                    .lock()
                    .wire
                    .take_arrived(received, &Deadline::after(TIMEOUT));
                arrived.map_err(io::Error::other)
            }
        }
    }

    /// Notes that a job with a workload of this many bytes has come.
    pub(super) fn count_assigned(&self, bytes: usize) {
        self.statistics.in_flight.inc();
        self.statistics.in_flight_bytes.add(as_gauge(bytes));
    }

    /// Lets `change` note what has happened, and sends what follows from it.
    pub(super) fn update(&self, change: impl FnOnce(&mut Intake)) -> io::Result<()> {
        let mut shared = self.lock();
        change(&mut shared.intake);
        shared.send()
    }

    /// Tells the job server what became of jobs. If the connection is lost, there is nobody to tell:
    /// the job server gives them on.
    pub(super) fn finish<'a>(&self, finished: impl Iterator<Item = &'a Finished>) {
        let mut shared = self.lock();
        if shared.lost {
            return;
        }
        for Finished {
            handle,
            outcome,
            bytes,
            parked,
        } in finished
        {
            shared.intake.finished(*bytes, *parked);
            self.statistics.in_flight.dec();
            self.statistics.in_flight_bytes.sub(as_gauge(*bytes));
            self.count(*outcome);
            match outcome {
                Outcome::Done | Outcome::LeftOut => {
                    request(&mut shared.bytes, Command::WorkComplete, &[handle, b""]);
                }
                // gearmand forgets a background job whether it failed or not, but a client that waits
                // for this one shall know.
                Outcome::Impossible => {
                    request(&mut shared.bytes, Command::WorkFail, &[handle]);
                }
            }
        }
        if shared.send().is_err() {
            // The reader meets the end and opens a new connection.
            let _ = self.socket.shutdown(Shutdown::Both);
        }
    }

    /// Lets other jobs come although `count` jobs wait for a Redis that is unreachable.
    pub(super) fn park(&self, count: usize) {
        // If it is lost, the reader meets the end.
        let _ = self.update(|intake| intake.parked(count));
    }

    /// Whether the job server has been asked for jobs and has not said whether there are any.
    pub(super) fn awaits_an_answer(&self) -> bool {
        self.lock().intake.asked() > 0
    }

    /// Asks for nothing more; whether all that was asked for has come and is finished.
    pub(super) fn is_drained(&self) -> bool {
        let intake = &mut self.lock().intake;
        intake.close();
        intake.is_drained()
    }

    /// Ends the connection in order: with an answer unread, closing it would be a reset, which can
    /// overtake what was written last.
    pub(super) fn hang_up(&self) {
        self.lock().wire.end_requests();
        let mut rest = Vec::new();
        while matches!(self.read(&mut rest), Ok(1..)) {}
    }

    /// Gives the connection up; returns how many jobs the job server has to give on.
    pub(super) fn lose(&self) -> usize {
        let mut shared = self.lock();
        shared.lost = true;
        let _ = self.socket.shutdown(Shutdown::Both);
        let (held, bytes) = (shared.intake.held(), shared.intake.held_bytes());
        self.statistics.given_back.inc_by(held as u64);
        self.statistics.in_flight.sub(as_gauge(held));
        self.statistics.in_flight_bytes.sub(as_gauge(bytes));
        held
    }

    fn count(&self, outcome: Outcome) {
        match outcome {
            Outcome::Done => self.statistics.written.inc(),
            Outcome::LeftOut => self.statistics.left_out.inc(),
            Outcome::Impossible => self.statistics.failed.inc(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn send(&mut self) -> io::Result<()> {
        let Self {
            wire,
            intake,
            bytes,
            ..
        } = self;
        match intake.ask() {
            Ask::Jobs(count) => (0..count).for_each(|_| request(bytes, Command::GrabJob, &[])),
            Ask::Sleep => request(bytes, Command::PreSleep, &[]),
        }
        let sent = wire.send(|_| {}, bytes, &Deadline::after(TIMEOUT));
        bytes.clear();
        // Not to be reset when it ends: gearmand would not read what was written last.
        wire.mark_answered();
        sent.map_err(io::Error::other)
    }
}

fn as_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Tries the addresses of a host in turn.
fn connect(server: &HostPort, protection: &Protection) -> io::Result<Wire> {
    let name = Arc::from(server.to_string());
    let way = protection.way();
    let mut problem = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (server.host.as_str(), server.port).to_socket_addrs()? {
        let deadline = Deadline::after(TIMEOUT);
        match Wire::open(&name, &server.host, address, &way, &deadline) {
            Ok(wire) => return Ok(wire),
            Err(error) => problem = io::Error::other(error),
        }
    }
    Err(problem)
}

fn request(bytes: &mut Vec<u8>, command: Command, arguments: &[&[u8]]) {
    packet::encode(bytes, Magic::Request, command, arguments);
}
