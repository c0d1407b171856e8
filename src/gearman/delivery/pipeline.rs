//! Deferred acknowledgement: a call leaves its job in a window and goes on; a thread sends what the
//! window holds and takes the answers.
//!
//! The thread writes whenever the window has something to write and no answer is under way, or an
//! answer has come. So a single job leaves at once, and under load jobs leave in batches as large as
//! the job server is slow, without a call ever waking the thread while it is busy.
//!
//! What was not answered when a connection breaks is written again on the next one, in order and
//! under the same unique ids. A call waits only while the window is full, and once one has waited in
//! vain the others fail at once until an answer comes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::AsFd;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use once_cell::sync::OnceCell;

use crate::error::Error;
use crate::gearman::delivery::lists::List;
use crate::gearman::delivery::room::{POOL, Room};
use crate::gearman::delivery::sender;
use crate::gearman::delivery::window::{Gate, Requests, Window};
use crate::gearman::limits::Limits;
use crate::gearman::thread;
use crate::gearman::wire::deadline::Deadline;
use crate::gearman::wire::job::Job;
use crate::status;

thread_local! {
    /// The header and the names of the request that the thread is about to leave in a window; kept,
    /// so that a call allocates nothing for them.
    static HEAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How long a sender waits that has panicked, before it goes on.
const AFTER_PANIC: Duration = Duration::from_millis(100);

/// What a sender has to say, as nobody waits for its answers.
#[derive(Debug)]
pub enum Trouble<'a> {
    /// The job server refused a job of this Gearman function; the job is lost.
    Refused {
        /// The Gearman function.
        function: &'a str,
        /// The job server's words.
        error: &'a Error,
    },
    /// A job server failed; its jobs wait for it or go to the next one.
    Server(&'a Error),
}

/// Hears of a sender's troubles, on the sender's thread.
#[derive(Clone)]
pub(crate) struct Listener(Arc<dyn Fn(Trouble<'_>) + Send + Sync>);

impl Listener {
    pub(crate) fn new(listener: impl Fn(Trouble<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    pub(crate) fn tell(&self, trouble: Trouble<'_>) {
        (self.0)(trouble);
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

/// The window of one list of servers, and the thread that empties it.
#[derive(Debug)]
pub(crate) struct Pipeline {
    shared: Arc<Shared>,
}

/// What calls and the sender share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Answers have come.
    progress: Condvar,
    /// Answers have made room for a good many jobs.
    room: Condvar,
    /// Wakes the sender; there as long as the sender is.
    alarm: OnceCell<EventFd>,
    pub(crate) listener: Listener,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) window: Window,
    /// `None` where the list has been taken away.
    pub(crate) servers: Option<List>,
    /// Grows whenever `servers` changes.
    pub(crate) generation: u64,
    /// [`Limits::connect`] of the last call.
    pub(crate) connect: Duration,
    /// [`Limits::submit`] of the last call: how long a server may say nothing.
    pub(crate) silence: Duration,
    pub(crate) sender: Sender,
    /// Why nothing moves.
    pub(crate) trouble: Option<Arc<Error>>,
    /// A call waited in vain for room, and no answer has come since.
    stuck: bool,
    /// How many bytes of the window transactions have taken for what they hold back.
    held: usize,
    /// How many transactions hold something back, and in how many segments.
    promised_calls: usize,
    promised_segments: usize,
    /// [`Limits::window_bytes`] of the last call.
    limit: usize,
}

/// The thread, as its callers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sender {
    /// Nobody has needed it yet.
    #[default]
    Absent,
    /// It will look at the window by itself.
    Busy,
    /// It has to be woken.
    Asleep,
    /// It has to end.
    Dismissed,
}

impl Pipeline {
    pub(crate) fn new(listener: &Listener) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                progress: Condvar::new(),
                room: Condvar::new(),
                alarm: OnceCell::new(),
                listener: listener.clone(),
            }),
        }
    }

    /// Changes where jobs go. Those under way stay with the server that has them, unless it fails.
    pub(crate) fn set_servers(&self, servers: Option<List>) {
        let mut state = self.shared.lock();
        state.servers = servers;
        state.generation += 1;
        state.stuck = false;
        self.shared.ring();
    }

    /// Leaves a background job in the window.
    ///
    /// # Errors
    ///
    /// [`Error::WindowFull`] when there was no room within [`Limits::submit`], and at once while
    /// another call has waited in vain; [`Error::System`] when there is no thread to be had.
    pub(crate) fn accept(&self, job: &Job<'_>, limits: &Limits) -> Result<(), Error> {
        HEAD.with_borrow_mut(|head| {
            head.clear();
            job.encode_head(head);
            self.accept_request(head, job.workload(), limits)
        })
    }

    fn accept_request(&self, head: &[u8], tail: &[u8], limits: &Limits) -> Result<(), Error> {
        let bytes = head.len() + tail.len();
        let deadline = Deadline::after(limits.submit);
        let mut state = self.with_room(bytes, limits, &deadline)?;
        state
            .window
            .accept(head, tail)
            .map_err(|_| Error::no_memory())?;
        status::IN_FLIGHT.add(1);
        status::WINDOW_BYTES_USED.add(bytes as u64);
        self.wake(&mut state);
        Ok(())
    }

    /// Waits until the window has room for `bytes`; the sender runs then.
    fn with_room(
        &self,
        bytes: usize,
        limits: &Limits,
        deadline: &Deadline<'_>,
    ) -> Result<MutexGuard<'_, State>, Error> {
        let mut state = self.shared.lock();
        state.connect = limits.connect;
        state.silence = limits.submit;
        state.limit = limits.window_bytes;
        if state.sender == Sender::Absent {
            self.start(&mut state)?;
        }
        let mut before = None;
        while !state.has_room(bytes) {
            let answered = state.window.answered_so_far();
            let before = *before.get_or_insert(answered);
            let Some(slice) = deadline.slice().ok().filter(|_| !state.stuck) else {
                state.stuck |= answered == before;
                return Err(state.full());
            };
            state = self.shared.wait(&self.shared.room, state, slice);
        }
        Ok(state)
    }

    fn wake(&self, state: &mut State) {
        if state.sender == Sender::Asleep {
            state.sender = Sender::Busy;
            self.shared.ring();
        }
    }

    /// Takes room for `missing` bytes that a transaction will hold back, and for up to `ahead` so that
    /// the next jobs need not ask.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::accept`]. The room is then as it was.
    pub(crate) fn take_room(
        &self,
        room: &mut Room,
        missing: usize,
        ahead: usize,
        limits: &Limits,
        deadline: &Deadline<'_>,
    ) -> Result<(), Error> {
        let share_left = room.share_left(limits.window_bytes);
        let bytes = missing.max(ahead);
        if missing <= share_left {
            let bytes = bytes.min(share_left);
            self.with_room(bytes, limits, deadline)?.held += bytes;
            room.counted += bytes;
        } else {
            POOL.take(bytes, limits.transaction_bytes, deadline)
                .map_err(|_| self.shared.lock().full())?;
            room.pooled += bytes;
        }
        Ok(())
    }

    /// Makes sure that as many segments as a transaction holds, and one call of
    /// [`Pipeline::take_over`], will need no memory of the window's own.
    pub(crate) fn take_segments(&self, room: &mut Room, segments: usize) -> Result<(), Error> {
        if segments <= room.segments {
            return Ok(());
        }
        // Some ahead, so that a large transaction need not ask for each.
        let wanted = segments.next_power_of_two();
        let mut state = self.shared.lock();
        let promised_segments = state.promised_segments + wanted - room.segments;
        let promised_calls = state.promised_calls + usize::from(room.segments == 0);
        state
            .window
            .reserve(promised_calls, promised_segments)
            .map_err(|_| Error::no_memory())?;
        (state.promised_calls, state.promised_segments) = (promised_calls, promised_segments);
        room.segments = wanted;
        Ok(())
    }

    /// Leaves the requests of a transaction in the window, for which it has taken `room`; they go once
    /// `gate` is open for `number`. Allocates nothing and waits for nobody.
    pub(crate) fn take_over(
        &self,
        requests: &mut Requests,
        room: &mut Room,
        gate: &Arc<dyn Gate>,
        number: u64,
    ) {
        if requests.count == 0 {
            return;
        }
        let bytes = requests.bytes.len();
        requests.large_bytes = bytes.saturating_sub(room.counted);
        // What was taken ahead of need.
        POOL.give_back(room.pooled - requests.large_bytes);
        room.pooled = 0;
        status::IN_FLIGHT.add(requests.count);
        status::WINDOW_BYTES_USED.add(bytes as u64);
        let mut state = self.shared.lock();
        state.window.take_over(requests, Arc::clone(gate), number);
        state.forget(room);
        self.wake(&mut state);
    }

    /// A transaction gives back what it has taken.
    pub(crate) fn give_back(&self, room: &mut Room) {
        POOL.give_back(std::mem::take(&mut room.pooled));
        if room.counted > 0 || room.segments > 0 {
            let mut state = self.shared.lock();
            state.forget(room);
            self.shared.announce_room(&state);
        }
    }

    /// Waits until every job that was accepted before this call is answered; answers how many of
    /// them are not.
    pub(crate) fn flush(&self, deadline: &Deadline<'_>) -> u64 {
        let mut state = self.shared.lock();
        let last = state.window.accepted_so_far();
        while state.window.answered_so_far() < last {
            let Ok(slice) = deadline.slice() else {
                break;
            };
            state = self.shared.wait(&self.shared.progress, state, slice);
        }
        last.saturating_sub(state.window.answered_so_far())
    }

    /// The error of a call that would overtake jobs that wait.
    pub(crate) fn overtaken(&self) -> Error {
        self.shared.lock().full()
    }

    /// How many jobs wait for an answer, by Gearman function.
    pub(crate) fn waiting(&self) -> BTreeMap<String, u64> {
        let mut count = BTreeMap::new();
        for function in self.shared.lock().window.functions() {
            *count.entry(function).or_insert(0) += 1;
        }
        count
    }

    fn start(&self, state: &mut State) -> Result<(), Error> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        self.shared
            .alarm
            .get_or_try_init(|| EventFd::from_flags(flags))
            .map_err(|errno| Error::no("file descriptor", errno.into()))?;
        let shared = Arc::clone(&self.shared);
        thread::spawn("gman-sender", move || {
            while panic::catch_unwind(AssertUnwindSafe(|| sender::run(&shared))).is_err() {
                shared.lock().window.broke();
                std::thread::sleep(AFTER_PANIC);
            }
        })
        .map_err(|source| Error::no("thread", source))?;
        state.sender = Sender::Busy;
        Ok(())
    }
}

impl Drop for Pipeline {
    /// What no job server has answered by now is lost: flush before.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.sender = Sender::Dismissed;
        status::IN_FLIGHT.subtract(state.window.waiting());
        status::WINDOW_BYTES_USED.subtract(state.window.bytes() as u64);
        state.window = Window::default();
        self.shared.ring();
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // The window changes in single steps, none of which panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who wait that answers have come. Calls that wait for room are woken for a quarter
    /// of the window: waking them for each job costs more than the job.
    pub(crate) fn announce(&self, state: &mut State) {
        state.stuck = false;
        self.progress.notify_all();
        self.announce_room(state);
    }

    fn announce_room(&self, state: &State) {
        if state.used() <= state.limit - state.limit / 4 {
            self.room.notify_all();
        }
    }

    /// The sender's sleep: until it is woken, until `socket` is ready for one of `events`, or for
    /// `limit`.
    pub(crate) fn sleep(&self, socket: Option<PollFd<'_>>, limit: Option<Duration>) {
        let Some(alarm) = self.alarm.get() else {
            return;
        };
        let mut ready = vec![PollFd::new(alarm.as_fd(), PollFlags::POLLIN)];
        ready.extend(socket);
        // An error is as good as a short sleep: the sender looks for itself.
        let _ = ppoll(&mut ready, limit.map(TimeSpec::from_duration), None);
        let _ = alarm.read();
    }

    fn ring(&self) {
        if let Some(alarm) = self.alarm.get() {
            // Full is rung enough.
            let _ = alarm.write(1);
        }
    }

    fn wait<'s>(
        &'s self,
        event: &Condvar,
        state: MutexGuard<'s, State>,
        limit: Duration,
    ) -> MutexGuard<'s, State> {
        let (state, _) = event
            .wait_timeout(state, limit)
            .unwrap_or_else(PoisonError::into_inner);
        state
    }
}

impl State {
    /// How many bytes of the window are taken.
    fn used(&self) -> usize {
        self.window.counted_bytes() + self.held
    }

    /// Whether `bytes` more fit; an empty window has room for any request.
    fn has_room(&self, bytes: usize) -> bool {
        let used = self.used();
        used == 0 || used + bytes <= self.limit
    }

    fn forget(&mut self, room: &mut Room) {
        let Room {
            counted, segments, ..
        } = std::mem::take(room);
        self.held -= counted;
        self.promised_segments -= segments;
        self.promised_calls -= usize::from(segments > 0);
    }

    fn full(&self) -> Error {
        Error::WindowFull {
            jobs: self.window.waiting(),
            bytes: self.window.bytes(),
            held: self.held,
            cause: self.trouble.clone(),
        }
    }
}
