//! A job server that does on purpose what a good one never does.
//!
//! It speaks raw packets on its own: the client under test must not be judged by its own idea of
//! the protocol.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::wait::wait_until;

/// How long a test waits for something to arrive here.
const PATIENCE: Duration = Duration::from_secs(60);

// Packet types: gearmand's PROTOCOL document.
pub(crate) const NOOP: u32 = 6;
pub(crate) const JOB_CREATED: u32 = 8;
pub(crate) const WORK_STATUS: u32 = 12;
pub(crate) const WORK_COMPLETE: u32 = 13;
pub(crate) const WORK_FAIL: u32 = 14;
const ECHO_REQ: u32 = 16;
const ECHO_RES: u32 = 17;
pub(crate) const ERROR: u32 = 19;
pub(crate) const WORK_EXCEPTION: u32 = 25;
const OPTION_REQ: u32 = 26;
const OPTION_RES: u32 = 27;
pub(crate) const WORK_DATA: u32 = 28;
pub(crate) const WORK_WARNING: u32 = 29;

/// What happens to a job that is submitted.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// `JOB_CREATED`, as a good server answers.
    Handle,
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes, and then the end of the connection.
    BytesThenClose(Vec<u8>),
    /// These bytes, one at a time.
    Drip(Vec<u8>, Duration),
    /// `JOB_CREATED`, but only after a while.
    Late(Duration),
    /// Nothing.
    Silence,
}

/// A job as it was submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Submission {
    /// Counts the connections from 0.
    pub(crate) connection: usize,
    pub(crate) command: u32,
    pub(crate) function: String,
    pub(crate) unique: String,
    /// The rest of the packet: the workload, or the epoch and the workload.
    pub(crate) rest: Vec<u8>,
}

/// A server on a free port. It stops listening when it is dropped.
#[derive(Debug)]
pub(crate) struct FakeJobServer {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    connections: Vec<TcpStream>,
    /// Connections that the client has ended.
    ended: usize,
    submissions: Vec<Submission>,
}

impl FakeJobServer {
    /// Answers the job with the number `n`, counted from 0 over all connections, with `plan(n)`.
    pub(crate) fn start(plan: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_judging(move |number, _| plan(number))
    }

    /// As [`FakeJobServer::start`], with a plan that looks at the job as well.
    pub(crate) fn start_judging(
        plan: impl Fn(usize, &Submission) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap_or_else(|error| panic!("cannot listen: {error}"));
        let port = listener.local_addr().expect("a bound socket").port();
        let shared = Arc::new(Shared::default());
        let plan = Arc::new(plan);
        {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&listener, &shared, &plan));
        }
        Self { port, shared }
    }

    /// Answers every job in the same way.
    pub(crate) fn always(reply: Reply) -> Self {
        Self::start(move |_| reply.clone())
    }

    /// `127.0.0.1:port`, as `gman_servers_set` takes it.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// How many connections have been accepted.
    pub(crate) fn connections(&self) -> usize {
        self.shared.lock().connections.len()
    }

    /// How many connections the client has not ended.
    pub(crate) fn open_connections(&self) -> usize {
        let state = self.shared.lock();
        state.connections.len() - state.ended
    }

    /// All jobs so far.
    pub(crate) fn submissions(&self) -> Vec<Submission> {
        self.shared.lock().submissions.clone()
    }

    /// Waits until the client has ended all but `open` connections.
    pub(crate) fn wait_until_open(&self, open: usize) {
        wait_until(PATIENCE, "the client to close connections", || {
            match self.open_connections() {
                now if now == open => Ok(()),
                now => Err(now),
            }
        });
    }

    /// Waits for `count` jobs.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Submission> {
        wait_until(PATIENCE, "jobs to be submitted", || {
            let submissions = self.submissions();
            if submissions.len() >= count {
                Ok(submissions)
            } else {
                Err(submissions)
            }
        })
    }
}

impl Drop for FakeJobServer {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopped = true;
        for connection in &state.connections {
            // It may have ended by itself.
            let _ = connection.shutdown(Shutdown::Both);
        }
        drop(state);
        // Wakes the thread that accepts; if it fails, nobody accepts any more.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with it held")
    }
}

/// A response packet.
pub(crate) fn packet(kind: u32, arguments: &[&[u8]]) -> Vec<u8> {
    let body = arguments.join(&0);
    let mut packet = header(kind, u32::try_from(body.len()).expect("a short body"));
    packet.extend_from_slice(&body);
    packet
}

/// The header of a response packet, true or not.
pub(crate) fn header(kind: u32, length: u32) -> Vec<u8> {
    [*b"\0RES", kind.to_be_bytes(), length.to_be_bytes()].concat()
}

/// The handle that [`Reply::Handle`] gives to the job with this number.
pub(crate) fn handle(number: usize) -> String {
    format!("H:fake:{number}")
}

fn accept(
    listener: &TcpListener,
    shared: &Arc<Shared>,
    plan: &Arc<impl Fn(usize, &Submission) -> Reply + Send + Sync + 'static>,
) {
    for stream in listener.incoming() {
        let stream = stream.unwrap_or_else(|error| panic!("cannot accept: {error}"));
        let mut state = shared.lock();
        if state.stopped {
            return;
        }
        let number = state.connections.len();
        let kept = stream.try_clone();
        state
            .connections
            .push(kept.unwrap_or_else(|error| panic!("cannot share: {error}")));
        drop(state);
        let (shared, plan) = (Arc::clone(shared), Arc::clone(plan));
        thread::spawn(move || {
            // How a connection ends is the client's choice, and what some tests are about.
            let _ = serve(stream, number, &shared, plan.as_ref());
            shared.lock().ended += 1;
        });
    }
}

fn serve(
    mut stream: TcpStream,
    connection: usize,
    shared: &Shared,
    plan: &(impl Fn(usize, &Submission) -> Reply + ?Sized),
) -> io::Result<()> {
    loop {
        let (command, body) = receive(&mut stream)?;
        match command {
            OPTION_REQ => stream.write_all(&packet(OPTION_RES, &[&body]))?,
            ECHO_REQ => stream.write_all(&packet(ECHO_RES, &[&body]))?,
            _ => {
                let submission = submission(connection, command, &body);
                let number = {
                    let mut state = shared.lock();
                    state.submissions.push(submission.clone());
                    state.submissions.len() - 1
                };
                answer(&mut stream, number, &plan(number, &submission))?;
            }
        }
    }
}

fn answer(stream: &mut TcpStream, number: usize, reply: &Reply) -> io::Result<()> {
    match reply {
        Reply::Handle => stream.write_all(&packet(JOB_CREATED, &[handle(number).as_bytes()])),
        Reply::Bytes(bytes) => stream.write_all(bytes),
        Reply::BytesThenClose(bytes) => {
            stream.write_all(bytes)?;
            stream.shutdown(Shutdown::Both)?;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        Reply::Drip(bytes, every) => bytes.iter().try_for_each(|byte| {
            stream.write_all(&[*byte])?;
            pause(stream, *every)
        }),
        Reply::Late(after) => {
            // Not by `pause`: it is to be sent also after the client has gone.
            thread::sleep(*after);
            stream.write_all(&packet(JOB_CREATED, &[handle(number).as_bytes()]))
        }
        Reply::Silence => Ok(()),
    }
}

/// Waits, unless the client hangs up.
fn pause(stream: &TcpStream, pause: Duration) -> io::Result<()> {
    let started = Instant::now();
    stream.set_read_timeout(Some(pause))?;
    let peeked = stream.peek(&mut [0]);
    stream.set_read_timeout(None)?;
    match peeked {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        Ok(_) | Err(_) => {
            thread::sleep(pause.saturating_sub(started.elapsed()));
            Ok(())
        }
    }
}

fn submission(connection: usize, command: u32, body: &[u8]) -> Submission {
    let mut parts = body.splitn(3, |&byte| byte == 0);
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (function, unique) = (text(), text());
    Submission {
        connection,
        command,
        function,
        unique,
        rest: parts.next().unwrap_or_default().to_vec(),
    }
}

fn receive(stream: &mut TcpStream) -> io::Result<(u32, Vec<u8>)> {
    let mut words = [[0; 4]; 3];
    stream.read_exact(words.as_flattened_mut())?;
    let [magic, kind, length] = words;
    assert_eq!(&magic, b"\0REQ", "the magic of a request");
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body)?;
    Ok((u32::from_be_bytes(kind), body))
}
