//! The orders worker: takes jobs from gearmand, many at once, and finishes them after COMMIT.

use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use gearman_mysql_udf::error::Error;
use gearman_mysql_udf::gearman::wire::connection::Connection;
use gearman_mysql_udf::gearman::wire::deadline::Deadline;
use gearman_mysql_udf::gearman::wire::packet::{self, Command, Magic};

use crate::hand_over::FUNCTION;
use crate::lasting::{self, Failure, Lasting};
use crate::ledger::{Ledger, Stored};
use crate::options::{Addresses, Pace};
use crate::order::Order;
use crate::stop::Stop;
use crate::sweeper;

/// How long gearmand may take to answer a new connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a worker waits for a job before it makes sure of its connection by opening a new one.
const IDLE_LIMIT: Duration = Duration::from_secs(3600);

/// The longest job that is waited for: an order takes some hundred bytes.
const LONGEST_JOB: usize = 1 << 20;

/// Stores orders until a signal asks to stop. What it holds then is gearmand's again.
pub(crate) fn work(addresses: &Addresses, pace: &Pace, stop: &Stop) -> Result<(), Failure> {
    let mut ledger = Ledger {
        database: lasting::database(&addresses.database)?,
        redis: lasting::redis(&addresses.redis)?,
    };
    thread::scope(|scope| {
        let sweeper = scope.spawn(|| sweeper::sweep(addresses, pace.sweep_after(), stop));
        let mut gearmand = gearmand(addresses.gearmand.clone());
        // `None` if a signal has ended it.
        let _ = gearmand.until_done(stop, |connection| {
            let should_stop = || stop.requested();
            let mut counter = Counter {
                connection,
                should_stop: &should_stop,
            };
            counter.serve(&mut ledger, pace, stop)
        });
        sweeper
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn gearmand(address: String) -> Lasting<Connection> {
    let name = format!("gearmand {address}");
    Lasting::new(name, move || {
        let deadline = Deadline::after(CONNECT_TIMEOUT);
        let mut resolved = address.to_socket_addrs()?;
        let socket_address = resolved.next().ok_or("the name has no address")?;
        let server = Arc::from(address.as_str());
        Ok(Connection::open(
            &server,
            &address,
            socket_address,
            &Arc::default(),
            &deadline,
        )?)
    })
}

/// A job that is not finished.
struct Job {
    handle: Vec<u8>,
    workload: Vec<u8>,
}

/// Where orders come in.
struct Counter<'a> {
    connection: &'a mut Connection,
    should_stop: &'a dyn Fn() -> bool,
}

impl<'a> Counter<'a> {
    /// Stores orders until a signal asks to stop or the connection fails.
    fn serve(&mut self, ledger: &mut Ledger, pace: &Pace, stop: &Stop) -> Result<(), Failure> {
        self.send(Command::CanDo, &[FUNCTION.as_bytes()])?;
        while !stop.requested() {
            let jobs = self.take_jobs(usize::from(pace.batch))?;
            let orders: Vec<Result<Order, String>> = jobs.iter().map(Job::order).collect();
            let good: Vec<Order> = orders.iter().flatten().copied().collect();
            let Some(stored) = ledger.store(&good, stop) else {
                return Ok(());
            };
            for (job, order) in jobs.iter().zip(orders) {
                self.finish(job, order.and_then(|order| refusal(&stored[&order.item])))?;
            }
            stop.pause(pace.time_for(good.len()));
        }
        Ok(())
    }

    /// Waits for a job, and takes those that are there with it.
    fn take_jobs(&mut self, most: usize) -> Result<Vec<Job>, Error> {
        let mut jobs = Vec::new();
        self.send(Command::GrabJob, &[])?;
        loop {
            let deadline = self.deadline();
            let packet = self.connection.receive(LONGEST_JOB, &deadline)?;
            match packet.command {
                Command::JobAssign => {
                    jobs.push(Job {
                        handle: packet.argument(0).to_vec(),
                        workload: packet.argument(2).to_vec(),
                    });
                    if jobs.len() == most {
                        return Ok(jobs);
                    }
                    self.send(Command::GrabJob, &[])?;
                }
                Command::NoJob if jobs.is_empty() => self.send(Command::PreSleep, &[])?,
                Command::NoJob => return Ok(jobs),
                Command::Noop => self.send(Command::GrabJob, &[])?,
                other => {
                    return Err(Error::Protocol {
                        server: Arc::clone(self.connection.server()),
                        problem: format!("expected a job, found {other}"),
                        elapsed: deadline.elapsed(),
                    });
                }
            }
        }
    }

    fn finish(&mut self, job: &Job, outcome: Result<(), String>) -> Result<(), Error> {
        match outcome {
            Ok(()) => self.send(Command::WorkComplete, &[&job.handle, b""]),
            // Trying again would not help. An order that is pending in Redis stays so, and shows.
            Err(problem) => {
                let order = String::from_utf8_lossy(&job.workload);
                eprintln!("flash_sale: {FUNCTION}: {problem}; the workload was: {order}");
                self.send(Command::WorkFail, &[&job.handle])
            }
        }
    }

    fn send(&mut self, command: Command, arguments: &[&[u8]]) -> Result<(), Error> {
        let deadline = self.deadline();
        let request = |out: &mut Vec<u8>| packet::encode(out, Magic::Request, command, arguments);
        self.connection.send(request, b"", &deadline)
    }

    fn deadline(&self) -> Deadline<'a> {
        Deadline::unless_stopped(IDLE_LIMIT, self.should_stop)
    }
}

impl Job {
    fn order(&self) -> Result<Order, String> {
        serde_json::from_slice(&self.workload).map_err(|error| error.to_string())
    }
}

fn refusal(stored: &Stored) -> Result<(), String> {
    match stored {
        Stored::Committed => Ok(()),
        Stored::Refused(why) => Err(why.clone()),
    }
}
