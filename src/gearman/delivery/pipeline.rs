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

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use once_cell::sync::OnceCell;

use crate::error::Error;
use crate::gearman::delivery::lists::List;
use crate::gearman::delivery::sender;
use crate::gearman::delivery::window::Window;
use crate::gearman::limits::Limits;
use crate::gearman::thread;
use crate::gearman::wire::connection::in_milliseconds;
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
        let mut state = self.shared.lock();
        state.connect = limits.connect;
        state.silence = limits.submit;
        state.limit = limits.window_bytes;
        if state.sender == Sender::Absent {
            self.start(&mut state)?;
        }
        let mut waiting: Option<(Deadline<'_>, u64)> = None;
        while !state.window.accept(head, tail, limits.window_bytes) {
            let answered = state.window.answered_so_far();
            let (deadline, before) =
                waiting.get_or_insert_with(|| (Deadline::after(limits.submit), answered));
            if state.stuck || deadline.left().is_zero() {
                state.stuck |= answered == *before;
                return Err(state.full());
            }
            state = self.shared.wait(&self.shared.room, state, deadline.left());
        }
        status::IN_FLIGHT.add(1);
        status::WINDOW_BYTES_USED.add((head.len() + tail.len()) as u64);
        if state.sender == Sender::Asleep {
            state.sender = Sender::Busy;
            self.shared.ring();
        }
        Ok(())
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
        if state.window.bytes() <= state.limit - state.limit / 4 {
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
        let limit = limit.map_or(PollTimeout::NONE, in_milliseconds);
        // An error is as good as a short sleep: the sender looks for itself.
        let _ = poll(&mut ready, limit);
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
    fn full(&self) -> Error {
        Error::WindowFull {
            jobs: self.window.waiting(),
            bytes: self.window.bytes(),
            cause: self.trouble.clone(),
        }
    }
}
