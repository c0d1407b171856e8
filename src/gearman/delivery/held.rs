//! Jobs that a transaction holds back until it commits.

use std::sync::Arc;

use crate::error::Error;
use crate::gearman::delivery::pipeline::{Departure, Pipeline};
use crate::gearman::delivery::room::Room;
use crate::gearman::delivery::row_list::RowList;
use crate::gearman::delivery::window::{Gate, Requests};
use crate::gearman::limits::Limits;
use crate::gearman::wire::deadline::Deadline;
use crate::gearman::wire::job::Job;
use crate::status;

/// How many bytes of room are taken at once: asking for each job would cost as much as the job.
const ROOM_BYTES: usize = 16 * 1024;

/// Jobs in the order in which they were submitted.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// The requests, for each window they will go to.
    parts: Vec<Part>,
    /// The jobs of all parts, so that the last ones can be dropped.
    jobs: Vec<HeldJob>,
    /// Where the jobs went that were released last; has room for all parts.
    released: Vec<Released>,
    /// The bytes of all requests.
    bytes: usize,
    /// The head of the request that is being held; kept for its memory.
    head: Vec<u8>,
    /// What the next row may join: the last job.
    list: Option<RowList>,
}

#[derive(Debug)]
struct Part {
    pipeline: Arc<Pipeline>,
    requests: Requests,
    room: Room,
}

/// Jobs that left their transaction for one window.
#[derive(Debug)]
pub(crate) struct Released {
    pipeline: Arc<Pipeline>,
    /// How many jobs the window had accepted with them, ever.
    last: u64,
}

impl Released {
    /// Waits until a job server has answered all of them.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::wait_for_first`].
    pub(crate) fn wait(&self, deadline: &Deadline<'_>) -> Result<(), Error> {
        self.pipeline.wait_for_first(self.last, deadline)
    }
}

/// What became of a job that is held.
#[derive(Debug)]
pub(crate) enum Holding {
    Alone,
    /// It is a row of an earlier one, which has this unique id.
    Joined(Vec<u8>),
}

#[derive(Debug, Clone, Copy)]
struct HeldJob {
    part: u32,
    bytes: u32,
}

impl Held {
    /// Holds a job that will go to `pipeline`. If `rows_per_job` is more than 1, its workload is a JSON object
    /// that may become one of so many in the workload of an earlier job.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionFull`] above [`Limits::transaction_bytes`]; [`Error::WindowFull`] or
    /// [`Error::PoolFull`] when there was no room within [`Limits::submit`]; [`Error::Stopped`]; [`Error::System`] without memory. Nothing is held then.
    pub(crate) fn hold(
        &mut self,
        job: &Job<'_>,
        rows_per_job: usize,
        pipeline: &Arc<Pipeline>,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Holding, Error> {
        if rows_per_job > 1
            && let Some(unique) = self.join(job, rows_per_job, pipeline, limits, should_stop)?
        {
            return Ok(Holding::Joined(unique));
        }
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        job.encode_head(&mut head);
        let held = self.hold_request(job, rows_per_job, &mut head, pipeline, limits, should_stop);
        self.head = head;
        held?;
        Ok(Holding::Alone)
    }

    /// Adds a row to the last job, if it may; returns the job's unique id.
    fn join(
        &mut self,
        job: &Job<'_>,
        rows_per_job: usize,
        pipeline: &Arc<Pipeline>,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<u8>>, Error> {
        let jobs = self.jobs.len();
        let (Some(mut list), Some(last)) = (self.list.take(), self.jobs.last_mut()) else {
            return Ok(None);
        };
        let part = &mut self.parts[last.part as usize];
        let more = list.room_for(job, rows_per_job, &part.requests.bytes);
        let Some(more) = more.filter(|_| Arc::ptr_eq(&part.pipeline, pipeline)) else {
            return Ok(None);
        };
        check_room(jobs, self.bytes + more, limits)?;
        let joined = part.join(&mut list, job.workload(), more, limits, should_stop);
        let unique = list.unique().to_vec();
        self.list = Some(list);
        joined?;
        last.bytes += more as u32;
        self.bytes += more;
        status::HELD_BYTES.add(more as u64);
        Ok(Some(unique))
    }

    fn hold_request(
        &mut self,
        job: &Job<'_>,
        rows_per_job: usize,
        head: &mut Vec<u8>,
        pipeline: &Arc<Pipeline>,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        self.jobs.try_reserve(1).map_err(|_| Error::no_memory())?;
        let place = self.part_of(pipeline)?;
        self.released.clear();
        let room = self.released.try_reserve(self.parts.len());
        room.map_err(|_| Error::no_memory())?;
        let begin = self.parts[place].requests.bytes.len();
        let list = (rows_per_job > 1).then(|| RowList::of(job, begin, head));
        let list = list.transpose().map_err(|_| Error::no_memory())?;
        let bytes = head.len() + job.workload().len();
        check_room(self.jobs.len(), self.bytes + bytes, limits)?;
        self.parts[place].hold(head, job.workload(), limits, should_stop)?;
        self.list = list;
        self.jobs.push(HeldJob {
            part: place as u32,
            bytes: bytes as u32,
        });
        self.bytes += bytes;
        status::HELD_BYTES.add(bytes as u64);
        Ok(())
    }

    fn part_of(&mut self, pipeline: &Arc<Pipeline>) -> Result<usize, Error> {
        let known = self.parts.iter();
        if let Some(place) = known
            .rev()
            .position(|part| Arc::ptr_eq(&part.pipeline, pipeline))
        {
            return Ok(self.parts.len() - 1 - place);
        }
        self.parts.try_reserve(1).map_err(|_| Error::no_memory())?;
        self.parts.push(Part {
            pipeline: Arc::clone(pipeline),
            requests: Requests::default(),
            room: Room::default(),
        });
        Ok(self.parts.len() - 1)
    }

    /// Whether jobs are held for `pipeline` since before `departure`.
    pub(crate) fn began_before(&self, pipeline: &Arc<Pipeline>, departure: &Departure) -> bool {
        self.parts.iter().any(|part| {
            Arc::ptr_eq(&part.pipeline, pipeline)
                && part.requests.count > 0
                && departure.came_after(&part.room)
        })
    }

    /// How many jobs are held.
    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// As [`Held::len`], for who may go back to it: none of these jobs takes another row.
    pub(crate) fn mark(&mut self) -> usize {
        self.list = None;
        self.jobs.len()
    }

    /// Drops all but the first `jobs`; returns how many that were.
    pub(crate) fn truncate(&mut self, jobs: usize) -> usize {
        self.list = None;
        let dropped = self.jobs.len().saturating_sub(jobs);
        let before = self.bytes;
        for job in self.jobs.drain(self.jobs.len() - dropped..).rev() {
            self.bytes -= job.bytes as usize;
            let requests = &mut self.parts[job.part as usize].requests;
            requests.count -= 1;
            let left = requests.bytes.len() - job.bytes as usize;
            requests.bytes.truncate(left);
        }
        status::HELD_BYTES.subtract((before - self.bytes) as u64);
        if self.jobs.is_empty() {
            self.forget_windows();
        }
        dropped
    }

    /// Leaves all jobs in their windows, from which they go once `gate` is open for `number`. Allocates
    /// nothing and waits for nobody.
    pub(crate) fn release(&mut self, gate: &Arc<dyn Gate>, number: u64) {
        self.list = None;
        for part in &mut self.parts {
            let last = part
                .pipeline
                .take_over(&mut part.requests, &mut part.room, gate, number);
            if last > 0 {
                self.released.push(Released {
                    pipeline: Arc::clone(&part.pipeline),
                    last,
                });
            }
        }
        self.jobs.clear();
        status::HELD_BYTES.subtract(std::mem::take(&mut self.bytes) as u64);
        self.forget_windows();
    }

    /// Where the jobs went that were released last, once.
    pub(crate) fn take_released(&mut self) -> Vec<Released> {
        std::mem::take(&mut self.released)
    }

    /// Gives all room back. A session keeps the memory of one small transaction for its next one.
    fn forget_windows(&mut self) {
        for part in &mut self.parts {
            part.pipeline.give_back(&mut part.room);
        }
        self.parts.truncate(1);
        self.jobs.shrink_to(ROOM_BYTES / size_of::<HeldJob>());
        self.head.shrink_to(ROOM_BYTES);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.truncate(0);
    }
}

impl Part {
    fn hold(
        &mut self,
        head: &[u8],
        tail: &[u8],
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let before = self.requests.bytes.len();
        self.take_room(head.len() + tail.len(), limits, should_stop)?;
        let bytes = &mut self.requests.bytes;
        let pushed = bytes.push(head).and_then(|()| bytes.push(tail));
        let held = pushed
            .map_err(|_| Error::no_memory())
            .and_then(|()| self.take_segments());
        match held {
            Ok(()) => self.requests.count += 1,
            Err(_) => self.requests.bytes.truncate(before),
        }
        held
    }

    fn join(
        &mut self,
        list: &mut RowList,
        row: &[u8],
        more: usize,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let before = self.requests.bytes.len();
        self.take_room(more, limits, should_stop)?;
        let joined = list.join(row, &mut self.requests.bytes);
        joined.map_err(|_| Error::no_memory())?;
        let taken = self.take_segments();
        if taken.is_err() {
            list.undo(before, &mut self.requests.bytes);
        }
        taken
    }

    /// Makes sure that there is room for so many bytes more.
    fn take_room(
        &mut self,
        more: usize,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let wanted = self.requests.bytes.len() + more;
        match wanted.saturating_sub(self.room.bytes()) {
            0 => Ok(()),
            missing => {
                self.pipeline
                    .take_room(&mut self.room, missing, ROOM_BYTES, limits, should_stop)
            }
        }
    }

    fn take_segments(&mut self) -> Result<(), Error> {
        let segments = self.requests.bytes.segments();
        self.pipeline.take_segments(&mut self.room, segments)
    }
}

/// Whether one transaction may hold so many bytes, with those of its next job.
fn check_room(jobs: usize, bytes: usize, limits: &Limits) -> Result<(), Error> {
    match bytes <= limits.transaction_bytes {
        true => Ok(()),
        false => Err(Error::TransactionFull {
            jobs,
            bytes,
            limit: limits.transaction_bytes,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::gearman::delivery::events::Listener;
    use crate::gearman::wire::job::{Mode, Priority};

    const LIMITS: Limits = Limits {
        connect: Duration::ZERO,
        submit: Duration::from_millis(100),
        run: Duration::ZERO,
        connections: 1,
        window_bytes: 1 << 20,
        transaction_bytes: 1 << 20,
    };

    #[derive(Debug)]
    struct Closed;

    impl Gate for Closed {
        fn is_open(&self, _: u64) -> bool {
            false
        }
    }

    fn pipeline() -> Arc<Pipeline> {
        Arc::new(Pipeline::new(&Listener::new(|_| {})))
    }

    fn hold_in(
        held: &mut Held,
        pipeline: &Arc<Pipeline>,
        function: &str,
        bytes: usize,
        rows_per_job: usize,
        limits: &Limits,
    ) -> Result<Holding, Error> {
        let workload = vec![b'x'; bytes];
        let mode = Mode::Background(Priority::Normal);
        let job = Job::new(mode, function.as_bytes(), &workload, None).expect("a job");
        held.hold(&job, rows_per_job, pipeline, limits, &|| false)
    }

    fn hold(held: &mut Held, pipeline: &Arc<Pipeline>, function: &str) {
        hold_in(held, pipeline, function, 10, 1, &LIMITS).expect("room");
    }

    fn release(held: &mut Held) {
        let gate: Arc<dyn Gate> = Arc::new(Closed);
        held.release(&gate, 1);
    }

    fn waiting(pipeline: &Pipeline) -> Vec<(String, u64)> {
        let waiting: BTreeMap<String, u64> = pipeline.waiting();
        waiting.into_iter().collect()
    }

    fn one_each(functions: &[&str]) -> Vec<(String, u64)> {
        let one = |function: &&str| ((*function).to_owned(), 1);
        functions.iter().map(one).collect()
    }

    #[test]
    fn what_is_rolled_back_is_dropped_and_the_rest_goes_to_its_windows() {
        let (one, two) = (pipeline(), pipeline());
        let mut held = Held::default();
        hold(&mut held, &one, "a");
        hold(&mut held, &two, "b");
        let savepoint = held.mark();
        for (pipeline, function) in [(&one, "c"), (&two, "d"), (&one, "e")] {
            hold(&mut held, pipeline, function);
        }
        assert_eq!((savepoint, held.len()), (2, 5));
        assert_eq!(held.truncate(savepoint), 3);
        assert_eq!(held.truncate(savepoint), 0);
        hold(&mut held, &two, "f");
        assert!(one.waiting().is_empty() && two.waiting().is_empty());
        release(&mut held);
        assert_eq!(held.len(), 0);
        assert_eq!(waiting(&one), one_each(&["a"]));
        assert_eq!(waiting(&two), one_each(&["b", "f"]));
        let released = held.take_released();
        let last: Vec<u64> = released.iter().map(|released| released.last).collect();
        assert_eq!(last, [1, 2]);
        assert_eq!(held.take_released().len(), 0);
    }

    #[test]
    fn a_transaction_that_drops_its_jobs_leaves_no_trace() {
        let pipeline = pipeline();
        let mut held = Held::default();
        hold(&mut held, &pipeline, "f");
        assert!(pipeline.is_needed());
        held.truncate(0);
        assert!(!pipeline.is_needed());
        hold(&mut held, &pipeline, "f");
        drop(held);
        assert!(!pipeline.is_needed());
    }

    #[test]
    fn a_transaction_holds_exactly_as_much_as_it_may() {
        let pipeline = pipeline();
        let mut held = Held::default();
        let bytes_of_one = {
            hold(&mut held, &pipeline, "f");
            std::mem::take(&mut held).bytes
        };
        let limits = Limits {
            transaction_bytes: 3 * bytes_of_one,
            ..LIMITS
        };
        let mut next = || hold_in(&mut held, &pipeline, "f", 10, 1, &limits);
        for _ in 0..3 {
            next().expect("room");
        }
        match next() {
            Err(Error::TransactionFull { jobs, bytes, limit }) => {
                assert_eq!((jobs, bytes), (3, 4 * bytes_of_one));
                assert_eq!(limit, limits.transaction_bytes);
            }
            other => panic!("{other:?}"),
        }
        release(&mut held);
        assert_eq!(waiting(&pipeline), [("f".to_owned(), 3)]);
    }

    #[test]
    fn what_found_no_room_is_not_held_and_what_did_gives_its_room_back() {
        let pipeline = pipeline();
        let limits = Limits {
            window_bytes: 64 << 10,
            ..LIMITS
        };
        let mut others: Vec<Held> = (0..4).map(|_| Held::default()).collect();
        for held in &mut others {
            hold_in(held, &pipeline, "f", 16_000, 1, &limits).expect("a quarter each");
        }
        let mut held = Held::default();
        match hold_in(&mut held, &pipeline, "g", 1000, 1, &limits) {
            Err(Error::WindowFull { jobs: 0, held, .. }) => assert_eq!(held, 64 << 10),
            other => panic!("{other:?}"),
        }
        assert_eq!(held.len(), 0);
        others.clear();
        hold_in(&mut held, &pipeline, "g", 1000, 1, &limits).expect("room");
    }

    #[test]
    fn rows_share_a_job_until_it_is_full_or_a_savepoint_is_between_them() {
        let pipeline = pipeline();
        let mut held = Held::default();
        let mut joins = |function| match hold_in(&mut held, &pipeline, function, 10, 3, &LIMITS) {
            Ok(Holding::Joined(_)) => true,
            Ok(Holding::Alone) => false,
            Err(error) => panic!("{error}"),
        };
        let joined = ["f", "f", "f", "f", "g", "g"].map(&mut joins);
        assert_eq!(joined, [false, true, true, false, false, true]);
        assert_eq!(held.mark(), 3);
        let last = hold_in(&mut held, &pipeline, "g", 10, 3, &LIMITS);
        assert!(matches!(last, Ok(Holding::Alone)), "{last:?}");
        // Whoever goes back drops whole jobs, with all of their rows.
        assert_eq!(held.truncate(2), 2);
        release(&mut held);
        assert_eq!(waiting(&pipeline), [("f".to_owned(), 2)]);
        assert_eq!(held.bytes, 0);
    }

    #[test]
    fn only_jobs_from_before_a_departure_have_to_be_waited_for() {
        let (one, other) = (pipeline(), pipeline());
        let (mut before, mut after) = (Held::default(), Held::default());
        hold(&mut before, &one, "f");
        let departure = one
            .depart(|_| false)
            .expect("a transaction with jobs for it");
        assert!(before.began_before(&one, &departure));
        assert!(!before.began_before(&other, &departure));
        hold(&mut after, &one, "f");
        assert!(!after.began_before(&one, &departure));
        before.truncate(0);
        assert!(!before.began_before(&one, &departure));
    }
}
