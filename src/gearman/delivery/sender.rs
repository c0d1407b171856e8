//! The thread of a pipeline: it connects, writes what the window holds, and reads the answers.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use nix::sys::prctl;

use crate::error::{Error, Phase};
use crate::gearman::delivery::events::Event;
use crate::gearman::delivery::spool::{Sender, Spool, State};
use crate::gearman::limits::Limits;
use crate::gearman::servers::failover::{Stage, Verdict};
use crate::gearman::servers::health::Attempt;
use crate::gearman::servers::job_server::{JobServer, ServerList};
use crate::gearman::servers::lease::Lease;
use crate::gearman::thread;
use crate::gearman::wire::deadline::Deadline;
use crate::gearman::wire::protocol::{self, Acknowledgement};
use crate::memory;
use crate::status;

/// How many bytes are copied out of the window and written at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// A chunk of at least this many bytes is more than one usual request: statements are submitting
/// one after the other.
const BUSY_BYTES: usize = 1024;

/// How many answers are taken in one turn: a server that answers what nobody asked is noticed.
const MAX_ANSWERS: usize = 4096;

/// Jobs that follow each other within this time on the average are more than 5,000 a second: transactions of
/// a single row are submitting one after the other.
const BUSY_INTERVAL: Duration = Duration::from_micros(200);

/// How long a sender rests after a large chunk. Every rest makes the next chunk larger, and each
/// chunk costs the processor that the statements need; a job that comes alone never waits for it.
const REST: Duration = Duration::from_micros(500);

/// How long it rests while transactions of a single row submit: less is in a chunk then, and each time that it
/// wakes up disturbs a commit that waits for the disk.
const REST_BETWEEN_SINGLE_ROWS: Duration = Duration::from_millis(1);

/// How long a sender waits for a gate to open before it looks again: a fraction of the time that it has
/// waited for this gate already, so that a job leaves little later than it may, however long a commit takes.
const GATE_PAUSE_FRACTION: u32 = 4;

/// The shortest pause before a gate. No disk commits faster, and to look costs a tenth of it.
const GATE_PAUSE: Duration = Duration::from_micros(25);

/// The longest pause before a gate.
const LONGEST_GATE_PAUSE: Duration = Duration::from_millis(1);

/// How late the kernel may end a pause, in nanoseconds. Its default is 50 us, twice the shortest pause.
const TIMER_SLACK_NS: u64 = 1_000;

/// How often a sender that is not on the first server of its list looks whether it could be.
const RETURN_EVERY: Duration = Duration::from_secs(1);

/// The shortest pause while no server can be tried.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// How long a sender stays that has nothing to send.
const LONGEST_IDLENESS: Duration = Duration::from_secs(60);

/// How often in a row a connection may fail while the same request is on its way, to servers that
/// answered an echo just before: then it is the request that they cannot take. The rests in between
/// add up to more than twelve seconds.
const MAX_FAILURES_AT_FRONT: u32 = 8;

/// Sends until it is dismissed, or has had nothing to do for a while.
pub(crate) fn run(spool: &Arc<Spool>) {
    // Without it, pauses are longer than they need be, and nothing else.
    let _ = prctl::set_timerslack(TIMER_SLACK_NS);
    let mut open = None;
    while wait_for_work(spool) {
        let state = spool.lock();
        let (generation, limits) = (state.generation, state.limits);
        let suspects_front = state.failures_at_front > 0;
        let servers = state.servers.clone();
        drop(state);
        let Some(servers) = servers else {
            spool.lock().last_failure = Some(Arc::new(Error::NoServers));
            spool.sleep(None, None);
            continue;
        };
        let link = match open.take() {
            Some(lease) => Link::over(spool, &servers, generation, lease),
            None => Link::open(spool, &servers, generation, &limits, suspects_front),
        };
        match link {
            Some(link) => open = link.serve(),
            None => pause(spool, &servers),
        }
    }
}

/// Sleeps while the window is empty; returns false once the sender has to end.
fn wait_for_work(spool: &Spool) -> bool {
    let began = Instant::now();
    loop {
        let mut state = spool.lock();
        if state.sender == Sender::Dismissed {
            return false;
        }
        if !state.window.is_empty() {
            state.sender = Sender::Busy;
            return true;
        }
        let left = LONGEST_IDLENESS.saturating_sub(began.elapsed());
        if left.is_zero() {
            state.sender = Sender::Absent;
            return false;
        }
        state.sender = Sender::Asleep;
        drop(state);
        spool.sleep(None, Some(left));
    }
}

/// Sleeps until a server may be tried again. Whoever waits for answers need not.
fn pause(spool: &Spool, servers: &[Arc<JobServer>]) {
    let now = Instant::now();
    let rests = servers.iter().map(|server| server.health.rest_left(now));
    let shortest = rests.min().unwrap_or_default();
    if !shortest.is_zero() {
        spool.lock().servers_rest = true;
        spool.progress.notify_all();
    }
    spool.sleep(None, Some(shortest.max(SHORTEST_PAUSE)));
}

/// Takes note of a failure.
fn note(spool: &Spool, verdict: Verdict) {
    let error = match verdict {
        Verdict::PassOver(error) => error,
        Verdict::Again(error) | Verdict::GiveUp(error) => Arc::new(error),
    };
    spool.lock().last_failure = Some(Arc::clone(&error));
    spool.listener.tell(Event::ServerFailed(&error));
}

/// A connection to one server of the list.
struct Link<'a> {
    spool: &'a Arc<Spool>,
    servers: &'a ServerList,
    /// The place of the server in the list: those before it are better.
    place: usize,
    /// Of the list that it was opened from.
    generation: u64,
    lease: Lease,
    /// Still there until the first answer: a server that takes connections and says nothing has
    /// failed.
    attempt: Option<Attempt<'a>>,
    /// Copied out of the window, to be written.
    chunk: Vec<u8>,
    /// How much of `chunk` is written.
    written: usize,
    /// How much of that the window does not know of yet.
    untold: usize,
    /// How many jobs the window has accepted, ever.
    accepted: u64,
    /// When the last chunk was written, and how many jobs had been accepted then.
    last_write: Option<(Instant, u64)>,
    /// How long to rest, as the last round wrote and statements are submitting one after the other.
    rest: Option<Duration>,
    /// Answers that the window does not know of yet.
    answers: Vec<Acknowledgement>,
    /// Refused jobs that nobody has been told of yet: the function, and the job server's words.
    refusals: Vec<(String, Error)>,
    /// How long there may be no progress.
    patience: Duration,
    /// Begins anew with each answer and with bytes that are taken: how long nothing has moved.
    silence: Deadline<'static>,
    /// Whether the server answered an echo before the first request.
    echoed: bool,
    /// Looks for a better server on a connection of its own.
    probe: Option<mpsc::Receiver<Option<Lease>>>,
    looked_for_better: Instant,
    /// Since when the requests wait that are the first behind a gate.
    gated_since: Option<Instant>,
}

/// What to do after a turn.
#[derive(Debug, PartialEq, Eq)]
enum Round {
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
    /// Connects to the first server of the list that lets us. With `suspects_front` it has to answer
    /// an echo as well.
    fn open(
        spool: &'a Arc<Spool>,
        servers: &'a ServerList,
        generation: u64,
        limits: &Limits,
        suspects_front: bool,
    ) -> Option<Self> {
        for (place, server) in servers.iter().enumerate() {
            let Ok(attempt) = server.health.attempt(Instant::now()) else {
                continue;
            };
            let mut attempt = Some(attempt);
            match connect(server, limits, suspects_front) {
                Ok(lease) => {
                    let mut link = Self::new(spool, servers, generation, place, lease);
                    link.attempt = attempt;
                    link.echoed = suspects_front;
                    return Some(link);
                }
                Err(error) => {
                    let verdict = server.judge(&mut attempt, Stage::Fresh, error);
                    note(spool, verdict);
                }
            }
        }
        None
    }

    /// Goes on with a connection that has been probed, if the list still has its server and it is made as all are.
    fn over(
        spool: &'a Arc<Spool>,
        servers: &'a ServerList,
        generation: u64,
        lease: Lease,
    ) -> Option<Self> {
        if lease.connection.is_outdated() {
            return None;
        }
        let place = servers
            .iter()
            .position(|server| Arc::ptr_eq(server, lease.server()))?;
        Some(Self::new(spool, servers, generation, place, lease))
    }

    fn new(
        spool: &'a Arc<Spool>,
        servers: &'a ServerList,
        generation: u64,
        place: usize,
        lease: Lease,
    ) -> Self {
        Self {
            spool,
            servers,
            place,
            generation,
            lease,
            attempt: None,
            chunk: Vec::new(),
            written: 0,
            untold: 0,
            accepted: 0,
            last_write: None,
            rest: None,
            answers: Vec::new(),
            refusals: Vec::new(),
            patience: Duration::ZERO,
            silence: Deadline::after(Duration::ZERO),
            echoed: false,
            probe: None,
            looked_for_better: Instant::now(),
            gated_since: None,
        }
    }

    /// Writes and reads answers until the connection fails or is left; returns the connection to a
    /// better server that it is left for.
    fn serve(mut self) -> Option<Lease> {
        let mut better = None;
        let mut idle_since = None;
        loop {
            self.look_for_better(&mut better);
            match self.round(better.is_some()) {
                Ok(Round::Leave) => {
                    self.lease.connection.mark_answered();
                    self.lease.keep();
                    return better;
                }
                Ok(Round::Idle) => {
                    let since = *idle_since.get_or_insert_with(Instant::now);
                    let left = LONGEST_IDLENESS.saturating_sub(since.elapsed());
                    if left.is_zero() && self.retire() {
                        return None;
                    }
                    self.sleep(left);
                    continue;
                }
                Ok(Round::Busy) => match self.rest {
                    Some(rest) => std::thread::sleep(rest),
                    None => self.sleep(self.silence.left()),
                },
                Ok(Round::Gated) => self.sleep(LONGEST_GATE_PAUSE),
                Err(error) => {
                    self.give_up(error);
                    return better;
                }
            }
            idle_since = None;
        }
    }

    /// Whether the connection may go, as there has been nothing to send for a while.
    fn retire(&mut self) -> bool {
        let empty = self.spool.lock().window.is_empty();
        if empty {
            self.lease.connection.mark_answered();
        }
        empty
    }

    /// One round: reads the answers that have come, tells the window, and writes what it has.
    fn round(&mut self, leaving: bool) -> Result<Round, Error> {
        let taken = self.take_answers();
        // Answers that came before the end of the connection count.
        let round = self.synchronise(leaving);
        for (function, error) in self.refusals.drain(..) {
            self.spool.listener.tell(Event::Refused {
                function: &function,
                error: &error,
            });
        }
        let round = round?;
        taken?;
        self.rest = None;
        if self.written < self.chunk.len() {
            self.write()?;
        }
        if round == Round::Busy && self.silence.left().is_zero() {
            let phase = match self.written < self.chunk.len() {
                true => Phase::Send,
                false => Phase::Receive,
            };
            return Err(self.lease.connection.timed_out(phase, &self.silence));
        }
        Ok(round)
    }

    fn write(&mut self) -> Result<(), Error> {
        let rest = &self.chunk[self.written..];
        let count = self.lease.connection.write_now(rest, &self.silence)?;
        self.written += count;
        self.untold += count;
        if count > 0 {
            self.rest = if count >= BUSY_BYTES {
                Some(REST)
            } else {
                self.jobs_follow_closely()
                    .then_some(REST_BETWEEN_SINGLE_ROWS)
            };
            self.last_write = Some((Instant::now(), self.accepted));
            self.silence = Deadline::after(self.patience);
        }
        Ok(())
    }

    /// Whether the jobs since the last chunk came one right after the other.
    fn jobs_follow_closely(&self) -> bool {
        self.last_write.is_some_and(|(time, accepted)| {
            let jobs = u32::try_from(self.accepted - accepted).unwrap_or(u32::MAX);
            time.elapsed() < BUSY_INTERVAL.saturating_mul(jobs)
        })
    }

    fn take_answers(&mut self) -> Result<(), Error> {
        while self.answers.len() < MAX_ANSWERS {
            memory::reserve(&mut self.answers, 1)?;
            match protocol::next_acknowledgement(&mut self.lease.connection, &self.silence)? {
                Some(answer) => self.answers.push(answer),
                None => break,
            }
        }
        Ok(())
    }

    /// Tells the window what was written and answered, and copies out what is to be written next.
    fn synchronise(&mut self, leaving: bool) -> Result<Round, Error> {
        let spool = self.spool;
        let mut state = spool.lock();
        self.patience = state.limits.submit;
        self.accepted = state.window.accepted_so_far();
        if state.window.open_gates() > 0 || !state.window.has_gates() {
            self.gated_since = None;
        }
        if state.window.has_gates() {
            self.gated_since.get_or_insert_with(Instant::now);
        }
        let was_under_way = state.window.is_under_way();
        state.window.wrote(std::mem::take(&mut self.untold));
        self.hand_over_answers(&mut state)?;
        if !was_under_way {
            self.silence = Deadline::after(self.patience);
        }
        if state.sender == Sender::Dismissed {
            return Ok(Round::Leave);
        }
        let leaving = leaving || state.generation != self.generation;
        if self.written == self.chunk.len() {
            self.chunk.clear();
            self.written = 0;
            memory::reserve(&mut self.chunk, CHUNK_BYTES)?;
            match leaving {
                true => state.window.rest_of_request(&mut self.chunk, CHUNK_BYTES),
                false => state.window.next(&mut self.chunk, CHUNK_BYTES),
            }
        }
        if leaving {
            let under_way = state.window.is_under_way();
            return Ok(if under_way { Round::Busy } else { Round::Leave });
        }
        if state.window.is_empty() {
            state.sender = Sender::Asleep;
            return Ok(Round::Idle);
        }
        state.sender = Sender::Busy;
        match state.window.is_gated() {
            true => Ok(Round::Gated),
            false => Ok(Round::Busy),
        }
    }

    /// Takes what was answered out of the window.
    fn hand_over_answers(&mut self, state: &mut State) -> Result<(), Error> {
        if self.answers.is_empty() {
            return Ok(());
        }
        memory::reserve(&mut self.refusals, self.answers.len())?;
        let before = (state.window.waiting(), state.window.bytes());
        let mut asked = true;
        for answer in self.answers.drain(..) {
            let refused = match answer {
                Acknowledgement::Created => None,
                Acknowledgement::Refused(error) => state.window.functions().next().zip(Some(error)),
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
            return Err(self.lease.connection.unasked(&self.silence));
        }
        self.silence = Deadline::after(self.patience);
        self.lease.release_permit();
        if let Some(attempt) = self.attempt.take() {
            attempt.succeeded(Instant::now());
        }
        self.spool.announce(state);
        Ok(())
    }

    /// Finds out, without stopping, whether a server that comes first in the list is well again.
    fn look_for_better(&mut self, better: &mut Option<Lease>) {
        if let Some(probe) = &self.probe {
            match probe.try_recv() {
                Err(mpsc::TryRecvError::Empty) => return,
                Ok(found) => *better = found.or_else(|| better.take()),
                Err(mpsc::TryRecvError::Disconnected) => {}
            }
            self.probe = None;
        }
        let now = Instant::now();
        if self.place == 0 || better.is_some() || now - self.looked_for_better < RETURN_EVERY {
            return;
        }
        self.looked_for_better = now;
        let is_available = |server: &Arc<JobServer>| server.health.is_available(now);
        if !self.servers[..self.place].iter().any(is_available) {
            return;
        }
        let (servers, place) = (Arc::clone(self.servers), self.place);
        let limits = self.spool.lock().limits;
        let spool = Arc::clone(self.spool);
        let (give, found) = mpsc::sync_channel(1);
        // Without a thread it stays where it is.
        let started = thread::spawn("gman-probe", move || {
            // The sender may have left by now.
            let _ = give.send(probe(&servers[..place], &limits));
            spool.ring();
        });
        self.probe = started.ok().map(|_| found);
    }

    fn sleep(&self, limit: Duration) {
        let mut events = PollFlags::POLLIN;
        if self.written < self.chunk.len() {
            events |= PollFlags::POLLOUT;
        }
        let limit = match self.place {
            0 => limit,
            _ => limit.min(RETURN_EVERY),
        };
        let limit = self.gated_since.map_or(limit, |since| {
            let pause = since.elapsed() / GATE_PAUSE_FRACTION;
            limit.min(pause.clamp(GATE_PAUSE, LONGEST_GATE_PAUSE))
        });
        let socket = PollFd::new(self.lease.connection.as_fd(), events);
        self.spool.sleep(Some(socket), Some(limit));
    }

    fn give_up(mut self, error: Error) {
        let dropped = {
            let mut state = self.spool.lock();
            state.window.wrote(self.untold);
            let under_way = state.window.is_under_way();
            status::JOBS_RETRIED.add(state.window.broke());
            match under_way {
                true => self.suspect_front(&mut state, &error),
                false => None,
            }
        };
        if let Some(function) = dropped {
            status::JOBS_FAILED.add(1);
            self.spool.listener.tell(Event::SetAside {
                function: &function,
                attempts: MAX_FAILURES_AT_FRONT,
                error: &error,
            });
        }
        let stage = match self.attempt {
            Some(_) => self.lease.stage,
            None => Stage::Proven(self.silence.elapsed()),
        };
        let server = &self.servers[self.place];
        match server.judge(&mut self.attempt, stage, error) {
            // It is worth trying at once, and nobody need know.
            Verdict::Again(_) => {}
            verdict => note(self.spool, verdict),
        }
    }

    /// Counts a failure that the first request may have caused; drops the request once there are too
    /// many, and returns the name of its function.
    fn suspect_front(&self, state: &mut State, error: &Error) -> Option<String> {
        let proven_well = self.echoed || state.failures_at_front == 0;
        if !proven_well || !may_be_the_requests_fault(error) {
            return None;
        }
        state.failures_at_front += 1;
        if state.failures_at_front < MAX_FAILURES_AT_FRONT {
            return None;
        }
        let before = (state.window.waiting(), state.window.bytes());
        let function = state.window.drop_front();
        status::IN_FLIGHT.subtract(before.0 - state.window.waiting());
        status::WINDOW_BYTES_USED.subtract((before.1 - state.window.bytes()) as u64);
        self.spool.announce(state);
        function
    }
}

/// Whether a request can make a well server do this. A server that takes it and says nothing is
/// slow: that is no reason to lose a job.
fn may_be_the_requests_fault(error: &Error) -> bool {
    match error {
        Error::Network { phase, source, .. } => {
            error.is_hang_up() || (*phase == Phase::Send && source.kind() == ErrorKind::TimedOut)
        }
        Error::Protocol { .. } => true,
        _ => false,
    }
}

fn connect(server: &Arc<JobServer>, limits: &Limits, with_echo: bool) -> Result<Lease, Error> {
    let deadline = Deadline::after(limits.submit);
    let mut lease = Lease::of(server, &deadline, limits)?;
    if with_echo {
        protocol::echo(&mut lease.connection, &deadline)?;
    }
    Ok(lease)
}

/// A connection to the first of `servers` that answers.
fn probe(servers: &[Arc<JobServer>], limits: &Limits) -> Option<Lease> {
    servers.iter().find_map(|server| {
        let mut attempt = Some(server.health.attempt(Instant::now()).ok()?);
        match connect(server, limits, true) {
            Ok(mut lease) => {
                lease.release_permit();
                attempt.take()?.succeeded(Instant::now());
                Some(lease)
            }
            Err(error) => {
                server.judge(&mut attempt, Stage::Fresh, error);
                None
            }
        }
    })
}
