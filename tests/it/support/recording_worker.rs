//! A Gearman worker that records what it is given.
//!
//! It speaks raw packets on its own, on purpose: the client under test must not be judged by its
//! own idea of the protocol.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a test waits for a job.
const PATIENCE: Duration = Duration::from_secs(60);

// Packet types: gearmand's PROTOCOL document.
const CAN_DO: u32 = 1;
const PRE_SLEEP: u32 = 4;
const NOOP: u32 = 6;
const NO_JOB: u32 = 10;
const WORK_COMPLETE: u32 = 13;
const WORK_FAIL: u32 = 14;
const WORK_EXCEPTION: u32 = 25;
const GRAB_JOB_UNIQ: u32 = 30;
const JOB_ASSIGN_UNIQ: u32 = 31;

/// One job as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) function: String,
    pub(crate) unique: String,
    pub(crate) handle: String,
    pub(crate) workload: Vec<u8>,
}

/// How a worker ends a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// `WORK_COMPLETE` with this result.
    Complete(Vec<u8>),
    /// `WORK_FAIL`.
    Fail,
    /// `WORK_EXCEPTION` with this text, after which gearmand 1.1 knows the job no more.
    Exception(Vec<u8>),
}

/// A worker on a thread of its own; stops when dropped.
#[derive(Debug)]
pub(crate) struct RecordingWorker {
    jobs: Arc<Jobs>,
    stream: TcpStream,
    thread: Option<JoinHandle<io::Result<()>>>,
}

#[derive(Debug, Default)]
struct Jobs {
    list: Mutex<Vec<Job>>,
    arrived: Condvar,
}

impl RecordingWorker {
    /// Registers for `functions` and completes every job with an empty result.
    pub(crate) fn start(port: u16, functions: &[&str]) -> Self {
        Self::answering(port, functions, |_| Answer::Complete(Vec::new()))
    }

    /// As [`RecordingWorker::start`], with an answer of the test's choice.
    pub(crate) fn answering(
        port: u16,
        functions: &[&str],
        answer: impl FnMut(&Job) -> Answer + Send + 'static,
    ) -> Self {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .unwrap_or_else(|error| panic!("cannot connect to gearmand: {error}"));
        for function in functions {
            send(&mut stream, CAN_DO, &[function.as_bytes()])
                .unwrap_or_else(|error| panic!("cannot register {function}: {error}"));
        }
        let jobs = Arc::new(Jobs::default());
        let thread = {
            let jobs = Arc::clone(&jobs);
            let mut stream = stream
                .try_clone()
                .unwrap_or_else(|error| panic!("cannot share a socket: {error}"));
            thread::spawn(move || work(&mut stream, &jobs, answer))
        };
        Self {
            jobs,
            stream,
            thread: Some(thread),
        }
    }

    /// All jobs so far, in the order of their arrival.
    pub(crate) fn jobs(&self) -> Vec<Job> {
        self.jobs.lock().clone()
    }

    /// How many jobs have arrived so far.
    pub(crate) fn count(&self) -> usize {
        self.jobs.lock().len()
    }

    /// Waits until at least `count` jobs have arrived, and answers all that have.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Job> {
        let started = Instant::now();
        let mut list = self.jobs.lock();
        while list.len() < count {
            let left = PATIENCE.saturating_sub(started.elapsed());
            assert!(
                !left.is_zero(),
                "waited {PATIENCE:?} for {count} jobs; {} arrived, the last one is {:?}",
                list.len(),
                list.last()
            );
            list = self
                .jobs
                .arrived
                .wait_timeout(list, left)
                .expect(UNPOISONED)
                .0;
        }
        list.clone()
    }
}

impl Drop for RecordingWorker {
    fn drop(&mut self) {
        // Fails if gearmand has closed already, which ends the thread as well.
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // It panics only with the test's own closure, which has been reported by then.
            let _ = thread.join();
        }
    }
}

const UNPOISONED: &str = "nothing panics while it holds the jobs";

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, Vec<Job>> {
        self.list.lock().expect(UNPOISONED)
    }

    fn push(&self, job: Job) {
        self.lock().push(job);
        self.arrived.notify_all();
    }
}

/// Does jobs until the connection ends, which is how a worker is stopped and how it learns that
/// gearmand is gone. A test that misses jobs for that sees it in [`RecordingWorker::wait_for`].
fn work(
    stream: &mut TcpStream,
    jobs: &Jobs,
    mut answer: impl FnMut(&Job) -> Answer,
) -> io::Result<()> {
    send(stream, GRAB_JOB_UNIQ, &[])?;
    loop {
        match receive(stream)? {
            (NOOP, _) => send(stream, GRAB_JOB_UNIQ, &[])?,
            (NO_JOB, _) => send(stream, PRE_SLEEP, &[])?,
            (JOB_ASSIGN_UNIQ, body) => {
                let job = parse_job(&body)?;
                let reply = answer(&job);
                let handle = job.handle.clone();
                jobs.push(job);
                finish(stream, handle.as_bytes(), &reply)?;
                send(stream, GRAB_JOB_UNIQ, &[])?;
            }
            (other, _) => return Err(invalid(format!("unexpected packet type {other}"))),
        }
    }
}

fn finish(stream: &mut TcpStream, handle: &[u8], answer: &Answer) -> io::Result<()> {
    match answer {
        Answer::Complete(result) => send(stream, WORK_COMPLETE, &[handle, result]),
        Answer::Fail => send(stream, WORK_FAIL, &[handle]),
        Answer::Exception(text) => send(stream, WORK_EXCEPTION, &[handle, text]),
    }
}

/// Handle, function, unique and workload, with a NUL between two of them.
fn parse_job(body: &[u8]) -> io::Result<Job> {
    let mut parts = body.splitn(4, |&byte| byte == 0);
    let mut part = || {
        parts
            .next()
            .ok_or_else(|| invalid("a job with too few parts"))
    };
    let (handle, function, unique, workload) = (part()?, part()?, part()?, part()?);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Job {
        function: text(function),
        unique: text(unique),
        handle: text(handle),
        workload: workload.to_vec(),
    })
}

/// Magic, type and body length in network byte order, then the arguments with a NUL between two.
fn send(stream: &mut TcpStream, kind: u32, arguments: &[&[u8]]) -> io::Result<()> {
    let body = arguments.join(&0);
    let length = u32::try_from(body.len()).map_err(invalid)?;
    let packet = [
        b"\0REQ",
        &kind.to_be_bytes(),
        &length.to_be_bytes(),
        &body[..],
    ]
    .concat();
    stream.write_all(&packet)
}

fn receive(stream: &mut TcpStream) -> io::Result<(u32, Vec<u8>)> {
    let mut words = [[0; 4]; 3];
    stream.read_exact(words.as_flattened_mut())?;
    let [magic, kind, length] = words;
    if magic != *b"\0RES" {
        return Err(invalid("expected a packet with the magic of a response"));
    }
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(invalid)?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((u32::from_be_bytes(kind), body))
}

fn invalid(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
