//! Jobs that a transaction holds back until it commits.

use std::sync::Arc;

use crate::error::Error;
use crate::gearman::delivery::pipeline::{Departure, Pipeline};
use crate::gearman::delivery::room::Room;
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

#[derive(Debug, Clone, Copy)]
struct HeldJob {
    part: u32,
    bytes: u32,
}

impl Held {
    /// Holds a job that will go to `pipeline`.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionFull`] above [`Limits::transaction_bytes`]; [`Error::WindowFull`] when there
    /// was no room within [`Limits::submit`]; [`Error::Stopped`]; [`Error::System`] without memory. Nothing is held then.
    pub(crate) fn hold(
        &mut self,
        job: &Job<'_>,
        pipeline: &Arc<Pipeline>,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        job.encode_head(&mut head);
        let held = self.hold_request(&head, job.workload(), pipeline, limits, should_stop);
        self.head = head;
        held
    }

    fn hold_request(
        &mut self,
        head: &[u8],
        tail: &[u8],
        pipeline: &Arc<Pipeline>,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let bytes = head.len() + tail.len();
        if self.bytes + bytes > limits.transaction_bytes {
            return Err(Error::TransactionFull {
                jobs: self.jobs.len(),
                bytes: self.bytes + bytes,
                limit: limits.transaction_bytes,
            });
        }
        self.jobs.try_reserve(1).map_err(|_| Error::no_memory())?;
        let place = self.part_of(pipeline)?;
        self.released.clear();
        let room = self.released.try_reserve(self.parts.len());
        room.map_err(|_| Error::no_memory())?;
        self.parts[place].hold(head, tail, limits, should_stop)?;
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

    /// Drops all but the first `jobs`; returns how many that were.
    pub(crate) fn truncate(&mut self, jobs: usize) -> usize {
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
        let wanted = before + head.len() + tail.len();
        if wanted > self.room.bytes() {
            let missing = wanted - self.room.bytes();
            self.pipeline
                .take_room(&mut self.room, missing, ROOM_BYTES, limits, should_stop)?;
        }
        let pushed = self
            .requests
            .bytes
            .push(head)
            .and_then(|()| self.requests.bytes.push(tail));
        let held = pushed.map_err(|_| Error::no_memory()).and_then(|()| {
            self.pipeline
                .take_segments(&mut self.room, self.requests.bytes.segments())
        });
        match held {
            Ok(()) => self.requests.count += 1,
            Err(_) => self.requests.bytes.truncate(before),
        }
        held
    }
}
