//! What the calls of pipelined delivery and their sender share: the window, and how each tells the
//! other that it has changed.

use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use once_cell::sync::OnceCell;

use crate::error::Error;
use crate::gearman::delivery::events::Listener;
use crate::gearman::delivery::room::Room;
use crate::gearman::delivery::window::Window;
use crate::gearman::limits::Limits;
use crate::gearman::servers::job_server::ServerList;

/// Jobs that wait to be sent, and their sender.
#[derive(Debug)]
pub(crate) struct Spool {
    state: Mutex<State>,
    /// Answers have come, or none can be expected.
    pub(crate) progress: Condvar,
    /// Answers have made room for a good many jobs.
    pub(crate) room: Condvar,
    /// Wakes the sender; there from its first start on.
    alarm: OnceCell<EventFd>,
    pub(crate) listener: Listener,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) window: Window,
    /// `None` if the list has been removed.
    pub(crate) servers: Option<ServerList>,
    /// Grows whenever `servers` changes.
    pub(crate) generation: u64,
    /// Those of the last call; `submit` is how long a server may say nothing.
    pub(crate) limits: Limits,
    pub(crate) sender: Sender,
    /// Why nothing moves.
    pub(crate) last_failure: Option<Arc<Error>>,
    /// Every server of the list is being left alone.
    pub(crate) servers_rest: bool,
    /// A call has waited in vain, and no answer has come since.
    pub(crate) stuck: bool,
    /// How often in a row a connection failed with the first request under way.
    pub(crate) failures_at_front: u32,
    /// How many bytes of the window transactions have taken for what they hold back.
    pub(crate) held: usize,
    /// How many transactions the window will take over, and in how many segments.
    pub(crate) promised_calls: usize,
    pub(crate) promised_segments: usize,
    /// How often a list changed from this pipeline to another.
    pub(crate) departures: u64,
    /// The last request, counted from the first ever, of transactions that had begun before the last of
    /// these departures and committed after it.
    pub(crate) last_latecomer: u64,
}

/// The thread, as its callers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sender {
    /// Nobody has needed it for a while.
    #[default]
    Absent,
    /// It will look at the window by itself.
    Busy,
    /// It has to be woken.
    Asleep,
    /// It has to end.
    Dismissed,
}

impl Spool {
    pub(crate) fn new(listener: &Listener) -> Self {
        Self {
            state: Mutex::default(),
            progress: Condvar::new(),
            room: Condvar::new(),
            alarm: OnceCell::new(),
            listener: listener.clone(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // The window changes in single steps, none of which panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `event`, for `limit` at most.
    pub(crate) fn wait<'s>(
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

    /// Tells those who wait that answers have come. Calls that wait for room are woken for a quarter
    /// of the window: waking them for each job costs more than the job.
    pub(crate) fn announce(&self, state: &mut State) {
        state.stuck = false;
        state.servers_rest = false;
        state.last_failure = None;
        state.failures_at_front = 0;
        self.progress.notify_all();
        self.announce_room(state);
    }

    /// Tells those who wait that a transaction has given room back.
    pub(crate) fn announce_room(&self, state: &State) {
        let limit = state.limits.window_bytes;
        if state.used() <= limit - limit / 4 {
            self.room.notify_all();
        }
    }

    /// Makes the alarm that wakes the sender.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        self.alarm
            .get_or_try_init(|| EventFd::from_flags(flags))
            .map(drop)
            .map_err(|errno| Error::no("file descriptor", errno.into()))
    }

    /// Wakes the sender.
    pub(crate) fn ring(&self) {
        if let Some(alarm) = self.alarm.get() {
            // Full is rung enough.
            let _ = alarm.write(1);
        }
    }

    /// The sender's sleep: until it is woken, until `socket` is ready for one of its events, or for
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
}

impl State {
    /// Whether waiting for answers is pointless now.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.stuck || self.servers_rest
    }

    /// How many bytes of the window are taken.
    fn used(&self) -> usize {
        self.window.counted_bytes() + self.held
    }

    /// Whether `bytes` more fit; an empty window has room for any request.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let used = self.used();
        used == 0 || used + bytes <= self.limits.window_bytes
    }

    /// A transaction needs its room no more.
    pub(crate) fn forget(&mut self, room: &mut Room) {
        let room = std::mem::take(room);
        self.held -= room.counted;
        self.promised_segments -= room.segments;
        self.promised_calls -= usize::from(room.segments > 0);
    }

    /// The error of a job that finds no room.
    pub(crate) fn full(&self) -> Error {
        Error::WindowFull {
            jobs: self.window.waiting(),
            bytes: self.window.bytes(),
            held: self.held,
            cause: self.last_failure.clone(),
        }
    }

    /// The error of a job that would overtake those that wait.
    pub(crate) fn behind(&self) -> Error {
        Error::Behind {
            jobs: self.window.waiting(),
            cause: self.last_failure.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(held: usize) -> State {
        State {
            limits: Limits {
                window_bytes: 100,
                ..Limits::default()
            },
            held,
            ..State::default()
        }
    }

    #[test]
    fn a_window_is_full_to_the_last_byte_with_what_transactions_hold() {
        assert!(state(40).has_room(60));
        assert!(!state(40).has_room(61));
        assert!(state(0).has_room(101));
        let mut both = state(40);
        both.window.accept(&[b'x'; 40], &[]).expect("memory");
        assert!(both.has_room(20) && !both.has_room(21));
    }

    #[test]
    fn a_transaction_gives_back_what_it_has_taken_and_no_more() {
        let mut state = state(70);
        (state.promised_calls, state.promised_segments) = (2, 5);
        let mut room = Room {
            counted: 30,
            segments: 3,
            ..Room::default()
        };
        state.forget(&mut room);
        assert_eq!((state.held, room.bytes(), room.segments), (40, 0, 0));
        assert_eq!((state.promised_calls, state.promised_segments), (1, 2));
        // One that has taken nothing was promised nothing.
        state.forget(&mut Room::default());
        assert_eq!((state.promised_calls, state.promised_segments), (1, 2));
    }

    #[test]
    fn waiting_is_pointless_once_somebody_has_in_vain_or_all_servers_rest() {
        let mut state = state(0);
        assert!(!state.is_hopeless());
        state.stuck = true;
        assert!(state.is_hopeless());
        (state.stuck, state.servers_rest) = (false, true);
        assert!(state.is_hopeless());
    }
}
