//! Pipelined delivery: a call leaves its job in a window and goes on; a thread sends what the window
//! holds and reads the answers.
//!
//! The thread writes whenever the window has something to write and no answer is under way, or an
//! answer has come. So a single job leaves at once, and under load jobs leave in batches as large as
//! the job server is slow, without a call ever waking the thread while it is busy.
//!
//! What was not answered when a connection breaks is written again on the next one, in order, under new
//! unique ids unless callers chose them. A call waits only while the window is full, and once one has waited in
//! vain the others fail at once until an answer comes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use crate::error::Error;
use crate::gearman::delivery::events::Listener;
use crate::gearman::delivery::room::{Pooled, Room};
use crate::gearman::delivery::sender;
use crate::gearman::delivery::spool::{Sender, Spool, State};
use crate::gearman::delivery::window::{Gate, Requests, Window};
use crate::gearman::limits::Limits;
use crate::gearman::servers::job_server::ServerList;
use crate::gearman::thread;
use crate::gearman::wire::deadline::{Deadline, Spent};
use crate::gearman::wire::job::Job;
use crate::status;

thread_local! {
    /// The header and the names of the request that the thread is about to leave in a window; kept,
    /// so that a call allocates nothing for them.
    static HEAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How long a sender waits that has panicked, before it goes on.
const AFTER_PANIC: Duration = Duration::from_millis(100);

/// A list's change to another pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Departure {
    /// Counts the departures of the pipeline.
    number: u64,
    /// How many jobs the pipeline had accepted by then, ever.
    last: u64,
}

impl Departure {
    /// Whether a transaction that has taken `room` began before.
    pub(crate) fn came_after(&self, room: &Room) -> bool {
        room.segments > 0 && room.departures < self.number
    }
}

/// The window of one list of servers, and the thread that empties it.
#[derive(Debug)]
pub(crate) struct Pipeline {
    spool: Arc<Spool>,
}

impl Pipeline {
    /// An empty one. `listener` hears of what goes wrong while nobody waits.
    pub(crate) fn new(listener: &Listener) -> Self {
        Self {
            spool: Arc::new(Spool::new(listener)),
        }
    }

    /// Changes where jobs go. Those under way stay with the server that has them, unless it fails.
    pub(crate) fn set_servers(&self, servers: Option<ServerList>) {
        let mut state = self.spool.lock();
        state.servers = servers;
        state.generation += 1;
        state.stuck = false;
        state.servers_rest = false;
        self.spool.ring();
    }

    /// Has the sender leave its connection for a new one.
    pub(crate) fn reconnect(&self) {
        let mut state = self.spool.lock();
        state.generation += 1;
        state.servers_rest = false;
        self.spool.ring();
    }

    /// Leaves a background job in the window; waits while there is no room, for [`Limits::submit`] at
    /// most.
    ///
    /// # Errors
    ///
    /// [`Error::WindowFull`] if there was no room in time, and at once while another call has waited
    /// in vain; [`Error::System`] if there is no thread or no memory; [`Error::Stopped`].
    pub(crate) fn accept(
        &self,
        job: &Job<'_>,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        HEAD.with_borrow_mut(|head| {
            head.clear();
            job.encode_head(head);
            self.accept_request(head, job.workload(), limits, should_stop)
        })
    }

    fn accept_request(
        &self,
        head: &[u8],
        tail: &[u8],
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let bytes = head.len() + tail.len();
        let mut state = self.with_room(bytes, limits, should_stop)?;
        let accepted = state.window.accept(head, tail);
        accepted.map_err(|_| Error::no_memory())?;
        status::IN_FLIGHT.add(1);
        status::WINDOW_BYTES_USED.add(bytes as u64);
        self.wake(&mut state);
        Ok(())
    }

    /// Waits until there is room for `bytes`; the sender is there then.
    fn with_room(
        &self,
        bytes: usize,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<MutexGuard<'_, State>, Error> {
        let mut state = self.spool.lock();
        state.limits = *limits;
        if state.sender == Sender::Absent {
            self.start(&mut state)?;
        }
        let mut waiting: Option<(Deadline<'_>, u64)> = None;
        while !state.has_room(bytes) {
            let answered = state.window.answered_so_far();
            let (deadline, before) = waiting.get_or_insert_with(|| {
                let deadline = Deadline::unless_stopped(limits.submit, should_stop);
                (deadline, answered)
            });
            let slice = match deadline.slice() {
                Err(Spent::Stopped) => return Err(Error::Stopped),
                Ok(slice) if !state.stuck => slice,
                _ => {
                    state.stuck |= answered == *before && !state.window.is_empty();
                    return Err(state.full());
                }
            };
            state = self.spool.wait(&self.spool.room, state, slice);
        }
        Ok(state)
    }

    fn wake(&self, state: &mut State) {
        if state.sender == Sender::Asleep {
            state.sender = Sender::Busy;
            self.spool.ring();
        }
    }

    /// Takes room for `missing` bytes that a transaction will hold back, and for up to `ahead` so that
    /// the next jobs need not ask.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::accept`], and [`Error::PoolFull`]; the room is as it was then.
    pub(crate) fn take_room(
        &self,
        room: &mut Room,
        missing: usize,
        ahead: usize,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let share_left = room.share_left(limits.window_bytes);
        let bytes = missing.max(ahead);
        if missing <= share_left {
            let bytes = bytes.min(share_left);
            self.with_room(bytes, limits, should_stop)?.held += bytes;
            room.counted += bytes;
            return Ok(());
        }
        let deadline = Deadline::unless_stopped(limits.submit, should_stop);
        let taken = room.pooled.take(bytes, limits.transaction_bytes, &deadline);
        taken.map_err(|spent| match spent {
            Spent::Stopped => Error::Stopped,
            Spent::TimedOut => Error::PoolFull {
                taken: Pooled::taken_by_all(),
                limit: limits.transaction_bytes,
                cause: self.spool.lock().last_failure.clone(),
            },
        })
    }

    /// Makes sure that the window can take over as many segments as a transaction holds without
    /// allocating.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no memory.
    pub(crate) fn take_segments(&self, room: &mut Room, segments: usize) -> Result<(), Error> {
        if segments <= room.segments {
            return Ok(());
        }
        // Some ahead, so that a large transaction need not ask for each.
        let wanted = segments.next_power_of_two();
        let mut state = self.spool.lock();
        let promised_segments = state.promised_segments + wanted - room.segments;
        let promised_calls = state.promised_calls + usize::from(room.segments == 0);
        let reserved = state.window.reserve(promised_calls, promised_segments);
        reserved.map_err(|_| Error::no_memory())?;
        (state.promised_calls, state.promised_segments) = (promised_calls, promised_segments);
        if room.segments == 0 {
            room.departures = state.departures;
        }
        room.segments = wanted;
        Ok(())
    }

    /// Leaves the requests of a transaction in the window, for which it has taken `room`; they go once
    /// `gate` is open for `number`. Allocates nothing and waits for nobody. Returns how many jobs the
    /// window has accepted with that, ever.
    pub(crate) fn take_over(
        &self,
        requests: &mut Requests,
        room: &mut Room,
        gate: &Arc<dyn Gate>,
        number: u64,
    ) -> u64 {
        if requests.count == 0 {
            return 0;
        }
        let bytes = requests.bytes.len();
        // What was taken ahead of need goes back; the rest once a job server has the jobs.
        room.pooled.keep(bytes.saturating_sub(room.counted));
        requests.large = std::mem::take(&mut room.pooled);
        status::IN_FLIGHT.add(requests.count);
        status::WINDOW_BYTES_USED.add(bytes as u64);
        let mut state = self.spool.lock();
        state.window.take_over(requests, Arc::clone(gate), number);
        if room.departures < state.departures {
            state.last_latecomer = state.window.accepted_so_far();
        }
        state.forget(room);
        if state.sender == Sender::Absent {
            // Without a thread now, the next call starts one.
            let _ = self.start(&mut state);
        }
        self.wake(&mut state);
        state.window.accepted_so_far()
    }

    /// A transaction gives back what it has taken.
    pub(crate) fn give_back(&self, room: &mut Room) {
        room.pooled.keep(0);
        if room.counted > 0 || room.segments > 0 {
            let mut state = self.spool.lock();
            state.forget(room);
            self.spool.announce_room(&state);
        }
    }

    /// Waits until every job that was accepted before this call is answered; returns how many of
    /// them are not.
    pub(crate) fn flush(&self, deadline: &Deadline<'_>) -> u64 {
        let mut state = self.spool.lock();
        let last = state.window.accepted_so_far();
        while state.window.answered_so_far() < last {
            let Ok(slice) = deadline.slice() else {
                break;
            };
            state = self.spool.wait(&self.spool.progress, state, slice);
        }
        last.saturating_sub(state.window.answered_so_far())
    }

    /// As [`Pipeline::flush`], for a job that takes another route and must not overtake them: jobs keep
    /// their order when pipelined delivery is switched off.
    ///
    /// # Errors
    ///
    /// [`Error::Behind`] if they were not answered in time, at once while every server is being left
    /// alone or another call has waited in vain; [`Error::Stopped`].
    pub(crate) fn wait_for_earlier_jobs(&self, deadline: &Deadline<'_>) -> Result<(), Error> {
        let state = self.spool.lock();
        let last = state.window.accepted_so_far();
        self.wait_for_answers(state, last, deadline)
    }

    /// As [`Pipeline::wait_for_earlier_jobs`], for the jobs that took this route before a list
    /// changed.
    pub(crate) fn wait_for_jobs_before(
        &self,
        departure: &Departure,
        deadline: &Deadline<'_>,
    ) -> Result<(), Error> {
        let state = self.spool.lock();
        let last = departure.last.max(state.last_latecomer);
        self.wait_for_answers(state, last, deadline)
    }

    /// Waits until the first `last` jobs that the window ever accepted are answered; their gates are open.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::wait_for_earlier_jobs`].
    pub(crate) fn wait_for_first(&self, last: u64, deadline: &Deadline<'_>) -> Result<(), Error> {
        let state = self.spool.lock();
        // The sender may be in a pause before one of those gates.
        self.spool.ring();
        self.wait_for_answers(state, last, deadline)
    }

    fn wait_for_answers<'s>(
        &'s self,
        mut state: MutexGuard<'s, State>,
        last: u64,
        deadline: &Deadline<'_>,
    ) -> Result<(), Error> {
        let before = state.window.answered_so_far();
        while state.window.answered_so_far() < last {
            if state.is_hopeless() {
                return Err(state.behind());
            }
            match deadline.slice() {
                Ok(slice) => state = self.spool.wait(&self.spool.progress, state, slice),
                Err(Spent::Stopped) => return Err(Error::Stopped),
                Err(Spent::TimedOut) => {
                    state.stuck |= state.window.answered_so_far() == before;
                    return Err(state.behind());
                }
            }
        }
        Ok(())
    }

    /// A list that led here leads elsewhere from now on. Returns what its next jobs must not overtake,
    /// if there may be any: jobs whose function `is_meant`, and those of transactions that are still
    /// to commit.
    pub(crate) fn depart(&self, is_meant: impl Fn(&str) -> bool) -> Option<Departure> {
        let mut state = self.spool.lock();
        let waits = state.window.functions().any(|function| is_meant(&function));
        if !waits && state.promised_calls == 0 {
            return None;
        }
        state.departures += 1;
        Some(Departure {
            number: state.departures,
            last: state.window.accepted_so_far(),
        })
    }

    /// Whether jobs wait for an answer, or transactions that have jobs for this window for their commit.
    pub(crate) fn is_needed(&self) -> bool {
        let state = self.spool.lock();
        !state.window.is_empty() || state.promised_calls > 0
    }

    /// How many jobs wait for an answer, by Gearman function.
    pub(crate) fn waiting(&self) -> BTreeMap<String, u64> {
        let mut count = BTreeMap::new();
        for function in self.spool.lock().window.functions() {
            *count.entry(function).or_insert(0) += 1;
        }
        count
    }

    fn start(&self, state: &mut MutexGuard<'_, State>) -> Result<(), Error> {
        self.spool.prepare()?;
        let spool = Arc::clone(&self.spool);
        thread::spawn("gman-sender", move || {
            while panic::catch_unwind(AssertUnwindSafe(|| sender::run(&spool))).is_err() {
                spool.lock().window.broke();
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
        let mut state = self.spool.lock();
        state.sender = Sender::Dismissed;
        status::IN_FLIGHT.subtract(state.window.waiting());
        status::WINDOW_BYTES_USED.subtract(state.window.bytes() as u64);
        state.window = Window::default();
        self.spool.ring();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::gearman::wire::job::{Mode, Priority};

    const LIMITS: Limits = Limits {
        connect: Duration::ZERO,
        submit: Duration::from_millis(300),
        run: Duration::ZERO,
        connections: 1,
        window_bytes: 1000,
        transaction_bytes: 1000,
    };

    fn pipeline() -> Pipeline {
        Pipeline::new(&Listener::new(|_| {}))
    }

    fn accept(pipeline: &Pipeline, function: &str, bytes: usize) -> Result<(), Error> {
        let workload = vec![b'x'; bytes];
        let mode = Mode::Background(Priority::Normal);
        let job = Job::new(mode, function.as_bytes(), &workload, None).expect("a job");
        pipeline.accept(&job, &LIMITS, &|| false)
    }

    #[test]
    fn a_call_waits_for_room_and_others_do_not_once_it_has_waited_in_vain() {
        let pipeline = pipeline();
        accept(&pipeline, "f", 500).expect("room");
        let began = Instant::now();
        match accept(&pipeline, "f", 500) {
            Err(Error::WindowFull {
                jobs: 1, held: 0, ..
            }) => {}
            other => panic!("{other:?}"),
        }
        assert!(began.elapsed() >= LIMITS.submit);
        let began = Instant::now();
        accept(&pipeline, "f", 500).expect_err("no room");
        assert!(began.elapsed() < LIMITS.submit, "{:?}", began.elapsed());
        // What fits is taken all the same.
        accept(&pipeline, "f", 100).expect("room");
        assert_eq!(pipeline.waiting(), [("f".to_owned(), 2)].into());
    }

    #[test]
    fn an_empty_window_takes_a_job_of_any_size() {
        let pipeline = pipeline();
        accept(&pipeline, "f", 5000).expect("an empty window");
        accept(&pipeline, "f", 1).expect_err("no room");
    }

    #[test]
    fn whoever_waits_for_room_can_be_stopped() {
        let pipeline = pipeline();
        accept(&pipeline, "f", 900).expect("room");
        let workload = [b'x'; 900];
        let job = Job::new(Mode::Background(Priority::Normal), b"f", &workload, None);
        let stopped = pipeline.accept(&job.expect("a job"), &LIMITS, &|| true);
        assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
    }

    #[test]
    fn what_is_not_answered_is_counted_and_overtaken_by_nobody() {
        let pipeline = pipeline();
        let now = Deadline::after(Duration::ZERO);
        assert!(!pipeline.is_needed());
        assert_eq!(pipeline.flush(&now), 0);
        pipeline.wait_for_earlier_jobs(&now).expect("none");
        for function in ["f", "g", "f"] {
            accept(&pipeline, function, 10).expect("room");
        }
        assert!(pipeline.is_needed());
        assert_eq!(pipeline.flush(&now), 3);
        match pipeline.wait_for_earlier_jobs(&now) {
            Err(Error::Behind { jobs: 3, .. }) => {}
            other => panic!("{other:?}"),
        }
        let departure = pipeline.depart(|function| function == "g");
        let departure = departure.expect("a job of the function");
        let waited = pipeline.wait_for_jobs_before(&departure, &now);
        assert!(
            matches!(waited, Err(Error::Behind { jobs: 3, .. })),
            "{waited:?}"
        );
        pipeline.wait_for_first(0, &now).expect("none of them");
    }

    #[test]
    fn a_list_leaves_nothing_behind_where_no_job_of_its_functions_waits() {
        let pipeline = pipeline();
        assert!(pipeline.depart(|_| true).is_none());
        accept(&pipeline, "f", 10).expect("room");
        assert!(pipeline.depart(|function| function == "g").is_none());
    }
}
