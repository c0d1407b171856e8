//! What has been accepted and is not yet acknowledged: the state machine of pipelined delivery.
//!
//! Knows no sockets, threads or clocks. Requests are kept as bytes, in the order they were accepted
//! in, until the job server has answered them; it answers in the order they arrive in. When a
//! connection breaks, everything that is left is sent again, from the first request on.
//!
//! ```text
//!   answered | written, not answered | being accepted
//!    (gone)  | ^ front               ^ written        ^ back
//! ```

use std::collections::{TryReserveError, VecDeque};

use crate::gearman::delivery::byte_queue::ByteQueue;
use crate::gearman::wire::job::MAX_FUNCTION_BYTES;
use crate::gearman::wire::packet::HEADER_BYTES;

/// How many requests an empty window keeps room for.
const KEPT_REQUESTS: usize = 4096;

/// How many bytes may be written ahead of their answers; a longer request is written whole all the
/// same. It bounds what is sent twice after a break, and is far more than a job server answers
/// while a packet is under way.
const MAX_WRITTEN_BYTES: usize = 256 * 1024;

/// Requests that wait for their answers.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The requests, one after the other.
    bytes: ByteQueue,
    /// The length of each request.
    lengths: VecDeque<usize>,
    /// How many of `bytes` the connection has taken.
    written: usize,
    /// How many requests were accepted, ever.
    accepted: u64,
}

/// An answer came that no request was waiting for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unasked;

impl Window {
    /// Accepts a request, given in two parts. Refuses it if more than `limit` bytes would wait; an
    /// empty window accepts any.
    ///
    /// # Errors
    ///
    /// If there is not enough memory; the window is as it was then.
    pub(crate) fn accept(
        &mut self,
        head: &[u8],
        tail: &[u8],
        limit: usize,
    ) -> Result<bool, TryReserveError> {
        let length = head.len() + tail.len();
        if !self.is_empty() && self.bytes.len() + length > limit {
            return Ok(false);
        }
        self.lengths.try_reserve(1)?;
        self.bytes.push(head)?;
        let before = self.bytes.len() - head.len();
        self.bytes
            .push(tail)
            .inspect_err(|_| self.bytes.truncate(before))?;
        self.lengths.push_back(length);
        self.accepted += 1;
        Ok(true)
    }

    /// Copies up to `max` bytes to `out` that are to be written next.
    pub(crate) fn next(&self, out: &mut Vec<u8>, max: usize) {
        let front = self.lengths.front().copied().unwrap_or(0);
        // More than is allowed may be written: a request that was begun has been written whole.
        let allowed = MAX_WRITTEN_BYTES.max(front).max(self.written);
        let end = allowed.min(self.written + max);
        self.bytes.copy(self.written..end, out);
    }

    /// As [`Window::next`], without beginning another request: what is under way can be answered
    /// then, and the connection left.
    pub(crate) fn rest_of_request(&self, out: &mut Vec<u8>, max: usize) {
        let mut end = 0;
        for &length in &self.lengths {
            if end >= self.written {
                break;
            }
            end += length;
        }
        let end = end.min(self.written + max);
        self.bytes.copy(self.written..end, out);
    }

    /// The connection has taken `count` bytes more.
    pub(crate) fn wrote(&mut self, count: usize) {
        self.written = (self.written + count).min(self.bytes.len());
    }

    /// The job server has answered the first request, which is gone with that.
    pub(crate) fn answered(&mut self) -> Result<(), Unasked> {
        let front = *self.lengths.front().ok_or(Unasked)?;
        if front > self.written {
            return Err(Unasked);
        }
        self.lengths.pop_front();
        self.bytes.pop(front);
        self.written -= front;
        if self.is_empty() && self.lengths.capacity() > KEPT_REQUESTS {
            self.lengths = VecDeque::new();
        }
        Ok(())
    }

    /// Drops the first request, which nothing is written of; returns the name of its Gearman function.
    pub(crate) fn drop_front(&mut self) -> Option<String> {
        let function = self.functions().next()?;
        let front = self.lengths.pop_front()?;
        self.bytes.pop(front);
        Some(function)
    }

    /// The connection is gone: what was written and not answered has to be written again. Answers
    /// how many requests that is.
    pub(crate) fn broke(&mut self) -> u64 {
        let mut written = std::mem::take(&mut self.written);
        let mut again = 0;
        for &length in &self.lengths {
            if written == 0 {
                break;
            }
            written = written.saturating_sub(length);
            again += 1;
        }
        again
    }

    /// Whether nothing waits for an answer.
    pub(crate) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// How many requests wait for an answer.
    pub(crate) fn waiting(&self) -> u64 {
        self.lengths.len() as u64
    }

    /// How many bytes wait for an answer.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the connection has taken bytes that are not answered.
    pub(crate) fn is_under_way(&self) -> bool {
        self.written > 0
    }

    /// How many requests were accepted, ever.
    pub(crate) fn accepted_so_far(&self) -> u64 {
        self.accepted
    }

    /// How many requests were answered, ever; they were the first ones that were accepted.
    pub(crate) fn answered_so_far(&self) -> u64 {
        self.accepted - self.waiting()
    }

    /// The names of the Gearman functions of the requests that wait, in their order.
    pub(crate) fn functions(&self) -> impl Iterator<Item = String> + '_ {
        let mut start = 0;
        self.lengths.iter().map(move |length| {
            let mut name = Vec::new();
            let name_at = start + HEADER_BYTES;
            let end = start + length;
            self.bytes
                .copy(name_at..end.min(name_at + MAX_FUNCTION_BYTES), &mut name);
            start = end;
            let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
            String::from_utf8_lossy(name).into_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1000;

    /// A request as the tests' job server reads it: its length, its number, and something to fill it.
    fn request(number: u64, filling: usize) -> Vec<u8> {
        let length = 4 + 8 + filling;
        let mut bytes = (length as u32).to_be_bytes().to_vec();
        bytes.extend(number.to_be_bytes());
        bytes.resize(length, b'x');
        bytes
    }

    /// A job server that reads requests and answers them when it is told to, in order.
    #[derive(Default)]
    struct Server {
        /// Bytes of the connection that make no whole request yet.
        partial: Vec<u8>,
        /// Requests of the connection that were read and not answered.
        unanswered: VecDeque<u64>,
        /// Every request that was ever read, on any connection.
        read: Vec<u64>,
    }

    impl Server {
        fn receive(&mut self, bytes: &[u8]) {
            self.partial.extend(bytes);
            while let Some(length) = self.partial.first_chunk::<4>() {
                let length = u32::from_be_bytes(*length) as usize;
                if self.partial.len() < length {
                    break;
                }
                let request: Vec<u8> = self.partial.drain(..length).collect();
                let number = u64::from_be_bytes(request[4..12].try_into().unwrap());
                self.unanswered.push_back(number);
                self.read.push(number);
            }
        }

        fn broke(&mut self) {
            self.partial.clear();
            self.unanswered.clear();
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Accept {
            filling: usize,
        },
        /// The connection takes some of what it is offered, and the server reads it.
        Write {
            offered: usize,
            taken: usize,
        },
        /// As `Write`, of the request that was begun alone: the connection is to be left.
        Finish {
            offered: usize,
            taken: usize,
        },
        Answer,
        Break,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..300_usize).prop_map(|filling| Step::Accept { filling }),
            4 => (1..400_usize, 0..400_usize)
                .prop_map(|(offered, taken)| Step::Write { offered, taken }),
            2 => (1..400_usize, 0..400_usize)
                .prop_map(|(offered, taken)| Step::Finish { offered, taken }),
            4 => Just(Step::Answer),
            1 => Just(Step::Break),
        ]
    }

    /// The window and its server, and what has become of every request.
    #[derive(Default)]
    struct Run {
        window: Window,
        server: Server,
        accepted: u64,
        answered: Vec<u64>,
    }

    impl Run {
        fn step(&mut self, step: &Step) {
            match *step {
                Step::Accept { filling } => {
                    let request = request(self.accepted + 1, filling);
                    let (head, tail) = request.split_at(12);
                    let fits =
                        self.window.is_empty() || self.window.bytes() + request.len() <= LIMIT;
                    let accepted = self.window.accept(head, tail, LIMIT).unwrap();
                    assert_eq!(accepted, fits);
                    self.accepted += u64::from(fits);
                }
                Step::Write { offered, taken } => {
                    let mut chunk = Vec::new();
                    self.window.next(&mut chunk, offered);
                    self.write(chunk, offered, taken);
                }
                Step::Finish { offered, taken } => {
                    let mut chunk = Vec::new();
                    self.window.rest_of_request(&mut chunk, offered);
                    let begun = !self.server.partial.is_empty();
                    assert_eq!(!chunk.is_empty(), begun, "it begins no other request");
                    self.write(chunk, offered, taken);
                }
                Step::Answer => match self.server.unanswered.pop_front() {
                    Some(number) => {
                        assert_eq!(self.window.answered(), Ok(()));
                        assert_eq!(self.window.answered_so_far(), number);
                        self.answered.push(number);
                    }
                    // What is not wholly written cannot have been answered.
                    None => assert_eq!(self.window.answered(), Err(Unasked)),
                },
                Step::Break => {
                    self.server.broke();
                    self.window.broke();
                }
            }
            assert_eq!(self.window.accepted_so_far(), self.accepted);
            assert_eq!(
                self.window.waiting(),
                self.accepted - self.answered.len() as u64
            );
        }

        fn write(&mut self, mut chunk: Vec<u8>, offered: usize, taken: usize) {
            assert!(chunk.len() <= offered);
            chunk.truncate(taken);
            self.server.receive(&chunk);
            self.window.wrote(chunk.len());
        }

        fn drain(&mut self) {
            while !self.window.is_empty() {
                self.step(&Step::Write {
                    offered: LIMIT,
                    taken: LIMIT,
                });
                self.step(&Step::Answer);
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_out_of_order_or_answered_twice(steps in vec(step(), 0..200)) {
            let mut run = Run::default();
            for step in &steps {
                run.step(step);
            }
            run.drain();
            let all: Vec<u64> = (1..=run.accepted).collect();
            prop_assert_eq!(&run.answered, &all);
            // A break repeats requests; the first time each is read keeps the order.
            let mut newest = 0;
            for &number in &run.server.read {
                prop_assert!(number <= newest + 1, "{number} after {newest}");
                newest = newest.max(number);
            }
            prop_assert_eq!(newest, run.accepted);
        }
    }

    #[test]
    fn a_request_larger_than_the_window_goes_alone() {
        let mut window = Window::default();
        assert!(window.accept(b"", &[0; 2 * LIMIT], LIMIT).unwrap());
        assert!(!window.accept(b"", b"x", LIMIT).unwrap());
        window.wrote(2 * LIMIT);
        window.answered().unwrap();
        assert!(window.accept(b"", b"x", LIMIT).unwrap());
    }

    #[test]
    fn a_request_larger_than_what_is_written_ahead_is_written_whole() {
        let length = 3 * MAX_WRITTEN_BYTES;
        let mut window = Window::default();
        assert!(window.accept(b"", &vec![0; length], usize::MAX).unwrap());
        assert!(window.accept(b"", b"x", usize::MAX).unwrap());
        let mut chunk = Vec::new();
        window.next(&mut chunk, usize::MAX);
        assert_eq!(chunk.len(), length);
        window.wrote(length);
        window.answered().unwrap();
        chunk.clear();
        window.next(&mut chunk, usize::MAX);
        assert_eq!(chunk, b"x");
    }

    #[test]
    fn a_request_that_was_begun_can_be_finished_without_beginning_another() {
        let mut window = Window::default();
        let mut chunk = Vec::new();
        assert!(window.accept(b"head", b"tail", LIMIT).unwrap());
        assert!(window.accept(b"next", b"", LIMIT).unwrap());
        window.rest_of_request(&mut chunk, LIMIT);
        assert_eq!(chunk, b"");
        window.wrote(3);
        window.rest_of_request(&mut chunk, LIMIT);
        assert_eq!(chunk, b"dtail");
        window.wrote(5);
        chunk.clear();
        window.rest_of_request(&mut chunk, LIMIT);
        assert_eq!(chunk, b"");
    }

    #[test]
    fn a_large_request_that_was_finished_does_not_keep_a_small_one_from_being_written() {
        let mut window = Window::default();
        let mut chunk = Vec::new();
        assert!(window.accept(b"", b"small", usize::MAX).unwrap());
        let large = vec![0; 2 * MAX_WRITTEN_BYTES];
        assert!(window.accept(b"", &large, usize::MAX).unwrap());
        assert!(window.accept(b"", b"x", usize::MAX).unwrap());
        window.wrote(6);
        window.rest_of_request(&mut chunk, 4 * MAX_WRITTEN_BYTES);
        assert_eq!(chunk.len(), large.len() - 1);
        window.wrote(chunk.len());
        chunk.clear();
        window.next(&mut chunk, 4 * MAX_WRITTEN_BYTES);
        assert_eq!(chunk, b"");
        window.answered().unwrap();
        window.answered().unwrap();
        window.next(&mut chunk, 4 * MAX_WRITTEN_BYTES);
        assert_eq!(chunk, b"x");
    }

    #[test]
    fn the_first_request_can_be_dropped() {
        let mut window = Window::default();
        for function in ["one", "two"] {
            let head = [&[0; HEADER_BYTES], function.as_bytes(), b"\0u\0"].concat();
            assert!(window.accept(&head, b"workload", LIMIT).unwrap());
        }
        window.wrote(3);
        window.broke();
        assert_eq!(window.drop_front().as_deref(), Some("one"));
        assert_eq!((window.waiting(), window.answered_so_far()), (1, 1));
        assert_eq!(window.functions().collect::<Vec<_>>(), ["two"]);
    }

    #[test]
    fn the_functions_of_what_waits_are_told() {
        let mut window = Window::default();
        for function in ["one", "two"] {
            let head = [&[0; HEADER_BYTES], function.as_bytes(), b"\0u\0"].concat();
            assert!(window.accept(&head, b"workload", LIMIT).unwrap());
        }
        assert_eq!(window.functions().collect::<Vec<_>>(), ["one", "two"]);
    }
}
