//! A connection to a job server. One thread reads from it; whoever finishes jobs writes to it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gearman_mysql_udf::gearman::servers::host_port::HostPort;
use gearman_mysql_udf::gearman::wire::packet::{self, Command, Magic};
use gearman_mysql_udf::gearman::wire::protection::Protection;

use super::intake::{Ask, Intake};
use super::statistics::Statistics;
use super::store::Outcomes;
use super::stream::Stream;
use crate::connections::connect_to_job_server;

/// How long connecting may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A job that is finished, one way or the other.
pub(super) struct Finished {
    pub(super) handle: Vec<u8>,
    pub(super) outcomes: Outcomes,
    /// What it counted towards the bytes that are held.
    pub(super) bytes: usize,
    /// Whether it had to wait for a Redis that was unreachable.
    pub(super) parked: bool,
}

/// An open connection.
pub(super) struct Connection {
    stream: Stream,
    outgoing: Mutex<Outgoing>,
    statistics: Arc<Statistics>,
}

/// What writers take turns with.
struct Outgoing {
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
        let wire = connect_to_job_server(address, protection, TIMEOUT)?;
        let mut bytes = Vec::new();
        for function in functions {
            request(&mut bytes, Command::CanDo, &[function.as_bytes()]);
        }
        let connection = Self {
            stream: Stream::new(wire)?,
            outgoing: Mutex::new(Outgoing {
                intake,
                bytes,
                lost: false,
            }),
            statistics: Arc::clone(statistics),
        };
        connection.update(|_| {})?;
        Ok(connection)
    }

    /// Reads what has arrived to the end of `received`; waits for a moment, and finding nothing is no error.
    pub(super) fn read(&self, received: &mut Vec<u8>) -> io::Result<usize> {
        self.stream.read(received)
    }

    /// Notes that a job with a workload of this many bytes has come.
    pub(super) fn count_assigned(&self, bytes: usize) {
        self.statistics.in_flight.inc();
        self.statistics.in_flight_bytes.add(as_gauge(bytes));
    }

    /// Lets `change` note what has happened, and sends what follows from it.
    pub(super) fn update(&self, change: impl FnOnce(&mut Intake)) -> io::Result<()> {
        let mut outgoing = self.lock();
        change(&mut outgoing.intake);
        self.send(&mut outgoing)
    }

    /// Tells the job server what became of jobs. If the connection is lost, there is nobody to tell:
    /// the job server gives them on.
    pub(super) fn finish<'a>(&self, finished: impl Iterator<Item = &'a Finished>) {
        let mut outgoing = self.lock();
        if outgoing.lost {
            return;
        }
        for Finished {
            handle,
            outcomes,
            bytes,
            parked,
        } in finished
        {
            outgoing.intake.finished(*bytes, *parked);
            self.statistics.in_flight.dec();
            self.statistics.in_flight_bytes.sub(as_gauge(*bytes));
            self.count(outcomes);
            match outcomes.impossible {
                0 => request(&mut outgoing.bytes, Command::WorkComplete, &[handle, b""]),
                // gearmand forgets a background job whether it failed or not, but a client that waits
                // for this one shall know.
                _ => request(&mut outgoing.bytes, Command::WorkFail, &[handle]),
            }
        }
        if self.send(&mut outgoing).is_err() {
            // The reader meets the end and opens a new connection.
            self.stream.shut_down();
        }
    }

    /// Lets other jobs come although `count` jobs wait for a Redis that is unreachable.
    pub(super) fn park(&self, count: usize) {
        // If it is lost, the reader meets the end.
        let _ = self.update(|intake| intake.parked(count));
    }

    /// How often the job server has been asked for a job and has not said whether there is one.
    pub(super) fn asked(&self) -> usize {
        self.lock().intake.asked()
    }

    /// Notes that the job server objects; whether it can, to a job that was reported.
    pub(super) fn is_objection(&self) -> bool {
        self.lock().intake.objected()
    }

    /// Whether no more is to be read until some of what is held is finished.
    pub(super) fn is_overfull(&self) -> bool {
        self.lock().intake.is_overfull()
    }

    /// Asks for nothing more; whether all that was asked for has come and is finished.
    pub(super) fn is_drained(&self) -> bool {
        let intake = &mut self.lock().intake;
        intake.close();
        intake.is_drained()
    }

    /// Ends the connection in order.
    pub(super) fn hang_up(&self) {
        self.stream.hang_up();
    }

    /// Gives the connection up; returns how many jobs the job server has to give on.
    pub(super) fn lose(&self) -> usize {
        let mut outgoing = self.lock();
        outgoing.lost = true;
        self.stream.shut_down();
        let (held, bytes) = (outgoing.intake.held(), outgoing.intake.held_bytes());
        self.statistics.given_back.inc_by(held as u64);
        self.statistics.in_flight.sub(as_gauge(held));
        self.statistics.in_flight_bytes.sub(as_gauge(bytes));
        held
    }

    fn count(&self, outcomes: &Outcomes) {
        self.statistics.written.inc_by(outcomes.done);
        self.statistics.left_out.inc_by(outcomes.left_out);
        self.statistics.failed.inc_by(outcomes.impossible);
    }

    fn send(&self, outgoing: &mut Outgoing) -> io::Result<()> {
        let Outgoing { intake, bytes, .. } = outgoing;
        match intake.ask() {
            Ask::Jobs(count) => (0..count).for_each(|_| request(bytes, Command::GrabJob, &[])),
            Ask::Sleep => request(bytes, Command::PreSleep, &[]),
        }
        let sent = self.stream.write(bytes);
        bytes.clear();
        sent
    }

    fn lock(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn as_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn request(bytes: &mut Vec<u8>, command: Command, arguments: &[&[u8]]) {
    packet::encode(bytes, Magic::Request, command, arguments);
}
