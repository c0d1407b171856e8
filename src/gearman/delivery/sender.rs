//! The thread of a pipeline: it connects, writes what the window holds, and takes the answers.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use crate::error::{Error, Phase};
use crate::gearman::delivery::pipeline::{Sender, Shared, State, Trouble};
use crate::gearman::servers::health::Attempt;
use crate::gearman::servers::job_server::JobServer;
use crate::gearman::wire::connection::Connection;
use crate::gearman::wire::deadline::Deadline;
use crate::gearman::wire::exchange::{self, Answer};
use crate::status;

/// How many bytes are copied out of the window and written at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// A chunk of at least this many bytes is more than one usual request: statements are submitting
/// one after the other.
const BUSY_BYTES: usize = 1024;

/// How many answers are taken in one turn: a server that answers what nobody asked is noticed.
const MAX_ANSWERS: usize = 4096;

/// How long a sender rests after such a chunk. Every rest makes the next chunk larger, and each
/// chunk costs the processor that the statements need; a single job never waits for it.
const REST: Duration = Duration::from_micros(500);

/// How long a sender waits for a gate to open before it looks again: an answer of the server to COMMIT
/// takes as long. It doubles while the same gate stays closed.
const GATE_PAUSE: Duration = Duration::from_micros(50);

/// The longest pause before a closed gate.
const LONGEST_GATE_PAUSE: Duration = Duration::from_millis(1);

/// How often a sender that is not on the first server of its list looks whether it could be.
const RETURN_EVERY: Duration = Duration::from_secs(1);

/// The shortest pause while no server can be tried.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// Sends until it is dismissed.
pub(crate) fn run(shared: &Shared) {
    while wait_for_work(shared) {
        let mut state = shared.lock();
        let (generation, connect) = (state.generation, state.connect);
        let Some(servers) = state.servers.clone() else {
            state.trouble = Some(Arc::new(Error::NoServers));
            drop(state);
            shared.sleep(None, None);
            continue;
        };
        drop(state);
        match Link::open(shared, &servers, generation, connect) {
            Some(link) => link.serve(),
            None => pause(shared, &servers),
        }
    }
}

/// Sleeps while the window is empty; answers false once the sender is dismissed.
fn wait_for_work(shared: &Shared) -> bool {
    loop {
        let mut state = shared.lock();
        if state.sender == Sender::Dismissed {
            return false;
        }
        if !state.window.is_empty() {
            state.sender = Sender::Busy;
            return true;
        }
        state.sender = Sender::Asleep;
        drop(state);
        shared.sleep(None, None);
    }
}

/// Sleeps until a server may be tried again.
fn pause(shared: &Shared, servers: &[Arc<JobServer>]) {
    let now = Instant::now();
    let rests = servers.iter().map(|server| server.health.rest_left(now));
    let shortest = rests.min().unwrap_or_default();
    shared.sleep(None, Some(shortest.max(SHORTEST_PAUSE)));
}

/// A server failed, during an attempt or on a connection that had worked.
fn failed(shared: &Shared, server: &JobServer, attempt: Option<Attempt<'_>>, error: Error) {
    let now = Instant::now();
    let error = Arc::new(error);
    if let Some(attempt) = attempt.or_else(|| server.health.attempt(now).ok()) {
        attempt.failed(Arc::clone(&error), now);
    }
    server.pool.clear();
    status::SERVER_FAILURES.add(1);
    shared.lock().trouble = Some(Arc::clone(&error));
    shared.listener.tell(Trouble::Server(&error));
}

/// A connection to one server of the list.
struct Link<'a> {
    shared: &'a Shared,
    server: &'a JobServer,
    /// The servers that come before it in the list.
    better: &'a [Arc<JobServer>],
    /// Of the list that it was opened from.
    generation: u64,
    connection: Connection,
    /// Still there until the first answer: a server that takes connections and says nothing has
    /// failed.
    attempt: Option<Attempt<'a>>,
    /// Copied out of the window, to be written.
    chunk: Vec<u8>,
    /// How much of `chunk` is written.
    written: usize,
    /// How much of that the window does not know of yet.
    untold: usize,
    /// Whether the last turn wrote [`BUSY_BYTES`] or more.
    wrote_much: bool,
    /// Answers that the window does not know of yet.
    answers: Vec<Answer>,
    /// Refused jobs that nobody has been told of yet: the function, and the job server's words.
    refusals: Vec<(String, Error)>,
    /// Begins anew with each answer, and with the first byte that is written after all was answered.
    silence: Deadline<'static>,
    looked_for_better: Instant,
    /// The next pause before a gate; `None` while no request waits behind one.
    gate_pause: Option<Duration>,
}

/// What to do after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Something waits to be written or answered.
    Busy,
    /// What waits is behind a gate.
    Gated,
    /// Nothing waits.
    Idle,
    /// The connection is of no more use.
    Leave,
}

impl<'a> Link<'a> {
    /// Connects to the first server of the list that lets us.
    fn open(
        shared: &'a Shared,
        servers: &'a [Arc<JobServer>],
        generation: u64,
        limit: Duration,
    ) -> Option<Self> {
        for (index, server) in servers.iter().enumerate() {
            let Ok(attempt) = server.health.attempt(Instant::now()) else {
                continue;
            };
            match server.connect(&Deadline::after(limit), limit) {
                Ok(connection) => {
                    return Some(Self {
                        shared,
                        server,
                        better: &servers[..index],
                        generation,
                        connection,
                        attempt: Some(attempt),
                        chunk: Vec::new(),
                        written: 0,
                        untold: 0,
                        wrote_much: false,
                        answers: Vec::new(),
                        refusals: Vec::new(),
                        silence: Deadline::after(Duration::ZERO),
                        looked_for_better: Instant::now(),
                        gate_pause: None,
                    });
                }
                Err(error) => failed(shared, server, Some(attempt), error),
            }
        }
        None
    }

    /// Writes and takes answers until the connection fails or is left.
    fn serve(mut self) {
        loop {
            match self.turn() {
                Ok(Turn::Leave) => break self.connection.settle(),
                Ok(Turn::Idle) => self.sleep(None),
                Ok(Turn::Busy) if self.wrote_much => std::thread::sleep(REST),
                Ok(Turn::Busy) => self.sleep(Some(self.silence.left())),
                Ok(Turn::Gated) => self.sleep(None),
                Err(error) => break self.give_up(error),
            }
        }
    }

    /// One round: takes the answers that have come, tells the window, and writes what it has.
    fn turn(&mut self) -> Result<Turn, Error> {
        let taken = self.take_answers();
        // Answers that came before the end of the connection count.
        let turn = self.synchronise()?;
        for (function, error) in self.refusals.drain(..) {
            self.shared.listener.tell(Trouble::Refused {
                function: &function,
                error: &error,
            });
        }
        taken?;
        self.wrote_much = false;
        if self.written < self.chunk.len() {
            let rest = &self.chunk[self.written..];
            let count = self.connection.write_now(rest, &self.silence)?;
            self.written += count;
            self.untold += count;
            self.wrote_much = count >= BUSY_BYTES;
        }
        if turn == Turn::Busy && self.silence.left().is_zero() {
            return Err(self.connection.timed_out(Phase::Receive, &self.silence));
        }
        Ok(turn)
    }

    fn take_answers(&mut self) -> Result<(), Error> {
        while self.answers.len() < MAX_ANSWERS {
            match exchange::next_answer(&mut self.connection, &self.silence)? {
                Some(answer) => self.answers.push(answer),
                None => break,
            }
        }
        Ok(())
    }

    /// Tells the window what was written and answered, and copies out what is to be written next.
    fn synchronise(&mut self) -> Result<Turn, Error> {
        let leaving = self.wants_to_leave();
        let shared = self.shared;
        let mut state = shared.lock();
        let was_under_way = state.window.is_under_way();
        self.gate_pause = state.window.open_gates().then(|| {
            let pause = self.gate_pause.map_or(GATE_PAUSE, |pause| 2 * pause);
            pause.min(LONGEST_GATE_PAUSE)
        });
        state.window.wrote(std::mem::take(&mut self.untold));
        self.settle_answers(&mut state)?;
        if !was_under_way {
            self.silence = Deadline::after(state.silence);
        }
        if state.sender == Sender::Dismissed {
            return Ok(Turn::Leave);
        }
        let leaving = leaving || state.generation != self.generation;
        if self.written == self.chunk.len() {
            self.chunk.clear();
            self.written = 0;
            match leaving {
                true => state.window.rest_of_request(&mut self.chunk, CHUNK_BYTES),
                false => state.window.next(&mut self.chunk, CHUNK_BYTES),
            }
        }
        if leaving {
            let under_way = state.window.is_under_way();
            return Ok(if under_way { Turn::Busy } else { Turn::Leave });
        }
        if state.window.is_empty() {
            state.sender = Sender::Asleep;
            return Ok(Turn::Idle);
        }
        state.sender = Sender::Busy;
        match state.window.is_gated() {
            true => Ok(Turn::Gated),
            false => Ok(Turn::Busy),
        }
    }

    /// Takes what was answered out of the window.
    fn settle_answers(&mut self, state: &mut State) -> Result<(), Error> {
        if self.answers.is_empty() {
            return Ok(());
        }
        let before = (state.window.waiting(), state.window.bytes());
        let mut asked = true;
        for answer in self.answers.drain(..) {
            let refused = match answer {
                Answer::Created => None,
                Answer::Refused(error) => state.window.functions().next().zip(Some(error)),
            };
            asked = state.window.answered().is_ok();
            if !asked {
                break;
            }
            match refused {
                None => status::JOBS_ACKNOWLEDGED.add(1),
                Some((function, error)) => {
                    status::JOBS_FAILED.add(1);
                    self.refusals.push((function, error));
                }
            }
        }
        status::IN_FLIGHT.subtract(before.0 - state.window.waiting());
        status::WINDOW_BYTES_USED.subtract((before.1 - state.window.bytes()) as u64);
        if !asked {
            return Err(self.connection.unasked(&self.silence));
        }
        state.trouble = None;
        self.silence = Deadline::after(state.silence);
        if let Some(attempt) = self.attempt.take() {
            attempt.succeeded();
        }
        self.shared.announce(state);
        Ok(())
    }

    /// Whether a server that comes first in the list may be tried again.
    fn wants_to_leave(&mut self) -> bool {
        let now = Instant::now();
        if self.better.is_empty() || now - self.looked_for_better < RETURN_EVERY {
            return false;
        }
        let available = |server: &Arc<JobServer>| server.health.is_available(now);
        let leaving = self.better.iter().any(available);
        if !leaving {
            self.looked_for_better = now;
        }
        leaving
    }

    fn sleep(&self, limit: Option<Duration>) {
        let mut events = PollFlags::POLLIN;
        if self.written < self.chunk.len() {
            events |= PollFlags::POLLOUT;
        }
        let limit = match (limit, self.better.is_empty()) {
            (limit, true) => limit,
            (limit, false) => Some(limit.unwrap_or(RETURN_EVERY).min(RETURN_EVERY)),
        };
        let limit = match (limit, self.gate_pause) {
            (limit, None) => limit,
            (None, pause) => pause,
            (Some(limit), Some(pause)) => Some(limit.min(pause)),
        };
        let socket = PollFd::new(self.connection.as_fd(), events);
        self.shared.sleep(Some(socket), limit);
    }

    fn give_up(mut self, error: Error) {
        let mut state = self.shared.lock();
        state.window.wrote(self.untold);
        let jobs = state.window.broke();
        drop(state);
        status::JOBS_RETRIED.add(jobs);
        let attempt = self.attempt.take();
        // A server that has answered may close a connection that nobody uses, or be restarted: it
        // is worth trying at once.
        if attempt.is_some() || !error.is_hang_up() {
            failed(self.shared, self.server, attempt, error);
        }
    }
}
