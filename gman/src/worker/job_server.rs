//! Takes jobs from one job server, and reconnects whenever it was unreachable.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gearman_mysql_udf::gearman::servers::host_port::HostPort;
use gearman_mysql_udf::gearman::wire::packet::{Command, Packet};
use gearman_mysql_udf::gearman::wire::protection::Protection;

use super::catch_up::CatchUp;
use super::connection::{Connection, Finished};
use super::format::{self, Format, Task};
use super::inbox::{Inbox, Item, TooLarge};
use super::intake::Intake;
use super::job::{Job, Row};
use super::log::{self, say};
use super::options::Options;
use super::silence::Silence;
use super::statistics::Statistics;
use super::store::{Outcome, Outcomes};
use super::writers::Writers;
use crate::service::{Backoff, Stop};

/// After this long without a word the job server is asked for a job: gearmand looks at jobs whose
/// time has come only when a worker asks. Workers on libgearman ask as often.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// How soon it is looked again whether there is room for what has come.
const WHILE_OVERFULL: Duration = Duration::from_millis(5);

/// What a row takes in memory besides its text, about. It counts for jobs with several rows: the others
/// are few enough.
const ROW_BYTES: usize = 1024;

/// One job server.
pub(super) struct JobServer {
    address: HostPort,
    protection: Protection,
    functions: Vec<String>,
    row_function: String,
    format: Format,
    in_flight: usize,
    in_flight_bytes: usize,
    max_workload: usize,
    verbose: bool,
    writers: Writers,
    statistics: Arc<Statistics>,
    stop: Arc<Stop>,
}

/// What has arrived.
enum Arrival {
    /// A job, and what it asks for: one row at least.
    Job(Arc<Job>, Vec<Task>),
    /// A job that is not to be done.
    Settled(Finished),
    NoJob,
    Noop,
}

impl JobServer {
    pub(super) fn new(
        address: HostPort,
        protection: &Protection,
        functions: &[String],
        options: &Options,
        writers: &Writers,
        statistics: &Arc<Statistics>,
        stop: &Arc<Stop>,
    ) -> Self {
        Self {
            address,
            protection: protection.clone(),
            functions: functions.to_vec(),
            row_function: options.row_function(),
            format: options.format(),
            in_flight: options.in_flight.into(),
            in_flight_bytes: options.in_flight_bytes,
            max_workload: options.max_workload,
            verbose: options.verbose,
            writers: writers.clone(),
            statistics: Arc::clone(statistics),
            stop: Arc::clone(stop),
        }
    }

    /// Serves one connection after the other, until somebody asks to stop.
    pub(super) fn serve(&self) {
        let mut backoff = Backoff::new();
        let mut was_connected = false;
        while !self.stop.requested() {
            let problem = match self.connect() {
                Ok(connection) => {
                    self.statistics
                        .gearmand_reconnects
                        .inc_by(was_connected.into());
                    was_connected = true;
                    backoff = Backoff::new();
                    self.statistics.gearmand_connections.inc();
                    let problem = self.use_up(&Arc::new(connection));
                    self.statistics.gearmand_connections.dec();
                    problem
                }
                Err(error) => Some(error.to_string()),
            };
            if let Some(problem) = problem {
                let pause = backoff.pause();
                let (address, ms) = (&self.address, pause.as_millis());
                say(format!(
                    "gearmand {address}: {problem}; trying again in {ms} ms"
                ));
                self.stop.pause_unless_requested(pause);
            }
        }
    }

    fn connect(&self) -> io::Result<Connection> {
        let functions = &self.functions;
        let intake = Intake::new(self.in_flight, self.in_flight_bytes);
        let connection = Connection::open(
            &self.address,
            &self.protection,
            functions,
            intake,
            &self.statistics,
        )?;
        let (address, functions) = (&self.address, functions.join(" and "));
        say(format!(
            "waiting for {functions} jobs of gearmand {address}"
        ));
        Ok(connection)
    }

    /// Takes jobs until the connection ends; returns the problem, if there was one.
    fn use_up(&self, connection: &Arc<Connection>) -> Option<String> {
        let outcome = self.take_jobs(connection);
        let given_back = connection.lose();
        match outcome {
            Err(error) => Some(format!(
                "{error}; it passes {given_back} jobs to other workers"
            )),
            Ok(()) => {
                if given_back > 0 {
                    let address = &self.address;
                    say(format!(
                        "giving {given_back} jobs back to gearmand {address}"
                    ));
                }
                None
            }
        }
    }

    /// Takes jobs until somebody asks to stop and they are finished, or there is no time for that.
    fn take_jobs(&self, connection: &Arc<Connection>) -> io::Result<()> {
        let mut inbox = Inbox::new(self.max_workload);
        let mut catch_up = CatchUp::new();
        let mut heard = Instant::now();
        let mut silence = Silence::new(heard);
        loop {
            if self.stop.requested() {
                if connection.is_drained() {
                    connection.hang_up();
                    return Ok(());
                }
                if self.stop.expired() {
                    return Ok(());
                }
            }
            if connection.is_overfull() {
                self.stop.pause_unless_expired(WHILE_OVERFULL);
                // Its answers may have come meanwhile.
                silence.note(true, 0, Instant::now());
                continue;
            }
            let mut answers = 0;
            if connection.read(inbox.bytes())? > 0 {
                heard = Instant::now();
                let arrivals = self.arrivals(connection, &mut inbox, &mut catch_up)?;
                answers = self.pass_on(connection, arrivals)?;
            }
            let now = Instant::now();
            silence.note(answers > 0, connection.asked(), now);
            if silence.is_too_long(now) {
                return Err(io::Error::new(ErrorKind::TimedOut, "it does not answer"));
            }
            if heard.elapsed() > ASK_AGAIN {
                connection.update(Intake::woken)?;
            }
        }
    }

    /// Reads the whole packets that have come.
    fn arrivals(
        &self,
        connection: &Arc<Connection>,
        inbox: &mut Inbox,
        catch_up: &mut CatchUp,
    ) -> io::Result<Vec<Arrival>> {
        let mut arrivals = Vec::new();
        while let Some(item) = inbox.next()? {
            let packet = match item {
                Item::Packet(packet) => packet,
                Item::TooLarge(job) => {
                    arrivals.push(self.too_large(job));
                    continue;
                }
            };
            match packet.command {
                Command::JobAssign => arrivals.push(self.job(connection, &packet, catch_up)),
                Command::NoJob => {
                    catch_up.end();
                    arrivals.push(Arrival::NoJob);
                }
                Command::Noop => arrivals.push(Arrival::Noop),
                // Such as about a job that an administrator has cancelled meanwhile.
                Command::Error if connection.is_objection() => {
                    let text = String::from_utf8_lossy(packet.argument(1));
                    say(format!("gearmand {}: {text}", self.address));
                }
                other => return Err(invalid(format!("unexpected {other} packet"))),
            }
        }
        Ok(arrivals)
    }

    /// Notes what has arrived, before anybody can finish it, and deals it out. Returns how many questions that
    /// answers.
    fn pass_on(&self, connection: &Connection, arrivals: Vec<Arrival>) -> io::Result<usize> {
        let is_answer = |arrival: &&Arrival| !matches!(arrival, Arrival::Noop);
        let answers = arrivals.iter().filter(is_answer).count();
        // What is held is bounded by what was asked for.
        if answers > connection.asked() {
            return Err(invalid("it sends jobs that nobody has asked for"));
        }
        let noted = connection.update(|intake| {
            for arrival in &arrivals {
                let bytes = match arrival {
                    Arrival::Job(job, _) => job.bytes(),
                    Arrival::Settled(job) => job.bytes,
                    Arrival::NoJob => {
                        intake.found_none();
                        continue;
                    }
                    Arrival::Noop => {
                        intake.woken();
                        continue;
                    }
                };
                connection.count_assigned(bytes);
                intake.assigned(bytes);
            }
        });
        for arrival in arrivals {
            match arrival {
                Arrival::Job(job, tasks) => {
                    let rows = tasks.into_iter().map(|task| Row::new(&job, task));
                    rows.for_each(|row| self.writers.hand_in(row));
                }
                Arrival::Settled(job) => connection.finish([&job].into_iter()),
                Arrival::NoJob | Arrival::Noop => {}
            }
        }
        noted.map(|()| answers)
    }

    fn job(
        &self,
        connection: &Arc<Connection>,
        packet: &Packet<'_>,
        catch_up: &mut CatchUp,
    ) -> Arrival {
        let (function, workload) = (packet.argument(1), packet.argument(2));
        let handle = packet.argument(0).to_vec();
        let (mut tasks, mut outcomes) = self.tasks(function, workload);
        tasks.retain(|task| {
            let is_overtaken = catch_up.is_overtaken(function, &handle, &task.change);
            if is_overtaken {
                outcomes.add(Outcome::LeftOut);
            }
            !is_overtaken
        });
        let bytes = workload.len() + tasks.len().saturating_sub(1) * ROW_BYTES;
        if tasks.is_empty() {
            return settled(handle, outcomes, bytes);
        }
        let job = Job::new(connection, handle, bytes, tasks.len(), outcomes);
        Arrival::Job(Arc::new(job), tasks)
    }

    /// What a job asks for, row by row. A row that cannot be read fails alone: trying again would not help.
    fn tasks(&self, function: &[u8], workload: &[u8]) -> (Vec<Task>, Outcomes) {
        let name = String::from_utf8_lossy(function);
        let (mut tasks, mut outcomes) = (Vec::new(), Outcomes::default());
        let mut note = |row: &[u8], task: Result<Task, String>| match task {
            Ok(task) => {
                if self.verbose {
                    log::show(&name, row);
                }
                tasks.push(task);
            }
            Err(problem) => {
                let text = String::from_utf8_lossy(row);
                say(format!("{name}: {problem}; the workload was: {text}"));
                outcomes.add(Outcome::Impossible);
            }
        };
        match format::rows(workload) {
            Ok(rows) => rows
                .into_iter()
                .for_each(|row| note(row, self.task(function, row))),
            Err(problem) => note(workload, Err(problem)),
        }
        (tasks, outcomes)
    }

    fn too_large(&self, job: TooLarge) -> Arrival {
        let (name, bytes, limit) = (
            String::from_utf8_lossy(&job.function),
            job.bytes,
            self.max_workload,
        );
        say(format!(
            "{name}: the job fails, as its workload has {bytes} bytes; --max-workload is {limit}"
        ));
        let mut outcomes = Outcomes::default();
        outcomes.add(Outcome::Impossible);
        settled(job.handle, outcomes, 0)
    }

    fn task(&self, function: &[u8], workload: &[u8]) -> Result<Task, String> {
        if function == self.row_function.as_bytes() {
            self.format.keyed_row(workload)
        } else {
            self.format.row(workload)
        }
    }
}

fn settled(handle: Vec<u8>, outcomes: Outcomes, bytes: usize) -> Arrival {
    Arrival::Settled(Finished {
        handle,
        outcomes,
        bytes,
        parked: false,
    })
}

fn invalid(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, problem)
}
