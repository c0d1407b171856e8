//! What has been accepted and is not yet acknowledged: the state machine of pipelined delivery.
//!
//! Knows no sockets, threads or clocks. Requests are kept as bytes, in the order they were accepted
//! in, until the job server has answered them; it answers in the order they arrive in. When a
//! connection breaks, everything that is left is sent again, from the first request on; what the server may
//! have by then gets another unique id.
//!
//! ```text
//!   answered | written, not answered | may be written | behind a gate | being accepted
//!    (gone)  | ^ front               ^ written                        ^ back
//! ```

use std::collections::{TryReserveError, VecDeque};
use std::fmt;
use std::sync::Arc;

use crate::gearman::delivery::byte_queue::ByteQueue;
use crate::gearman::delivery::room::Pooled;
use crate::gearman::wire::job::{self, MAX_FUNCTION_BYTES, MAX_HEAD_BYTES};
use crate::gearman::wire::packet::{self, HEADER_BYTES};

/// How many bytes may be written ahead of their answers; a longer request is written whole all the
/// same. It bounds what is sent twice after a break, and is far more than a job server answers
/// while a packet is under way.
const MAX_WRITTEN_BYTES: usize = 256 * 1024;

/// Requests that wait for their answers.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The requests, one after the other.
    bytes: ByteQueue,
    /// How many of `bytes` the connection has taken.
    written: usize,
    /// The end of the last request of which the connection has taken any.
    begun: usize,
    /// How many requests lie before that end.
    begun_requests: u64,
    /// How many requests were accepted, ever.
    accepted: u64,
    /// How many were answered.
    answered: u64,
    /// How many bytes were accepted, ever.
    accepted_bytes: u64,
    /// Requests that may not be written yet, in their order.
    gated: VecDeque<Gated>,
    /// Requests that are not to count against the limit.
    large: VecDeque<Large>,
    /// How many bytes these are.
    large_bytes: usize,
}

/// Tells when requests may leave that wait for somebody else's work.
pub(crate) trait Gate: Send + Sync + fmt::Debug {
    /// Whether the work of this number is done.
    fn is_open(&self, number: u64) -> bool;
}

#[derive(Debug)]
struct Gated {
    /// Where the requests begin, counted in bytes that were accepted, ever.
    begin: u64,
    gate: Arc<dyn Gate>,
    number: u64,
}

#[derive(Debug)]
struct Large {
    /// Where the requests end, counted as [`Gated::begin`].
    end: u64,
    bytes: Pooled,
}

/// Requests that were collected elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pub(crate) bytes: ByteQueue,
    pub(crate) count: u64,
    /// How many of the bytes are not to count against the window's limit.
    pub(crate) large: Pooled,
}

/// An answer came that no request was waiting for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unasked;

impl Window {
    /// Accepts a request, given in two parts.
    pub(crate) fn accept(&mut self, head: &[u8], tail: &[u8]) -> Result<(), TryReserveError> {
        let before = self.bytes.len();
        self.bytes.push(head)?;
        if let Err(error) = self.bytes.push(tail) {
            self.bytes.truncate(before);
            return Err(error);
        }
        self.accepted += 1;
        self.accepted_bytes += (head.len() + tail.len()) as u64;
        Ok(())
    }

    /// Makes sure that [`Window::take_over`] allocates nothing, for so many calls and segments.
    pub(crate) fn reserve(&mut self, calls: usize, segments: usize) -> Result<(), TryReserveError> {
        self.bytes.reserve_segments(segments)?;
        self.gated.try_reserve(calls)?;
        self.large.try_reserve(calls)
    }

    /// Accepts requests in one step and leaves none behind. None of them is written before `gate` is
    /// open for `number`, nor is any that is accepted after them.
    pub(crate) fn take_over(&mut self, requests: &mut Requests, gate: Arc<dyn Gate>, number: u64) {
        self.gated.push_back(Gated {
            begin: self.accepted_bytes,
            gate,
            number,
        });
        self.accepted += std::mem::take(&mut requests.count);
        self.accepted_bytes += requests.bytes.len() as u64;
        self.bytes.append(&mut requests.bytes);
        let bytes = std::mem::take(&mut requests.large);
        if bytes.bytes() > 0 {
            self.large_bytes += bytes.bytes();
            self.large.push_back(Large {
                end: self.accepted_bytes,
                bytes,
            });
        }
    }

    /// Looks which gates are open; returns how many that are now.
    pub(crate) fn open_gates(&mut self) -> usize {
        let before = self.gated.len();
        while let Some(first) = self.gated.front()
            && first.gate.is_open(first.number)
        {
            self.gated.pop_front();
        }
        before - self.gated.len()
    }

    /// Whether requests wait behind a gate.
    pub(crate) fn has_gates(&self) -> bool {
        !self.gated.is_empty()
    }

    /// How many bytes may be written, of those that wait for an answer.
    fn open_bytes(&self) -> usize {
        let gone = self.accepted_bytes - self.bytes.len() as u64;
        self.gated.front().map_or(self.bytes.len(), |first| {
            usize::try_from(first.begin.saturating_sub(gone)).unwrap_or(usize::MAX)
        })
    }

    /// Copies up to `max` bytes to `out` that are to be written next.
    pub(crate) fn next(&self, out: &mut Vec<u8>, max: usize) {
        let front = self.request_at(0).unwrap_or(0);
        // More than is allowed may be written: a request that was begun has been written whole.
        let allowed = MAX_WRITTEN_BYTES.max(front).max(self.written);
        let allowed = allowed.min(self.open_bytes());
        let end = allowed.min(self.written + max);
        self.bytes.copy(self.written..end, out);
    }

    /// As [`Window::next`], without beginning another request: what is under way can be answered
    /// then, and the connection left.
    pub(crate) fn rest_of_request(&self, out: &mut Vec<u8>, max: usize) {
        let end = self.begun.min(self.written + max);
        self.bytes.copy(self.written..end, out);
    }

    /// The connection has taken `count` bytes more.
    pub(crate) fn wrote(&mut self, count: usize) {
        self.written = (self.written + count).min(self.bytes.len());
        while self.begun < self.written {
            let Some(length) = self.request_at(self.begun) else {
                break;
            };
            self.begun += length;
            self.begun_requests += 1;
        }
    }

    /// The job server has answered the first request, which is gone with that.
    pub(crate) fn answered(&mut self) -> Result<(), Unasked> {
        let front = self.request_at(0).ok_or(Unasked)?;
        if front > self.written {
            return Err(Unasked);
        }
        self.written -= front;
        self.begun -= front;
        self.begun_requests -= 1;
        self.remove_front(front);
        Ok(())
    }

    /// Drops the first request, which nothing is written of; returns the name of its Gearman function.
    pub(crate) fn drop_front(&mut self) -> Option<String> {
        let function = self.functions().next()?;
        self.remove_front(self.request_at(0)?);
        Some(function)
    }

    fn remove_front(&mut self, length: usize) {
        self.bytes.pop(length);
        self.answered += 1;
        let gone = self.accepted_bytes - self.bytes.len() as u64;
        while let Some(first) = self.large.front()
            && first.end <= gone
        {
            self.large_bytes -= first.bytes.bytes();
            self.large.pop_front();
        }
    }

    /// The connection is gone: what was written and not answered has to be written again, under other
    /// unique ids. Returns how many requests that is.
    pub(crate) fn broke(&mut self) -> u64 {
        self.renew_uniques();
        (self.written, self.begun) = (0, 0);
        std::mem::take(&mut self.begun_requests)
    }

    fn renew_uniques(&mut self) {
        let mut position = 0;
        while position < self.begun
            && let Some(length) = self.request_at(position)
        {
            let mut head = [0; MAX_HEAD_BYTES];
            let filled = self.bytes.at(position).read(&mut head);
            let head = &mut head[..filled.min(length)];
            if let Some(changed) = job::renew_unique(head) {
                let place = position + changed.start;
                self.bytes.overwrite(place, &head[changed]);
            }
            position += length;
        }
    }

    /// Whether nothing waits for an answer.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether everything that waits for an answer is behind a gate.
    pub(crate) fn is_gated(&self) -> bool {
        self.open_bytes() == 0 && !self.is_empty()
    }

    /// How many requests wait for an answer.
    pub(crate) fn waiting(&self) -> u64 {
        self.accepted - self.answered
    }

    /// How many bytes wait for an answer.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes wait for an answer and count against the limit.
    pub(crate) fn counted_bytes(&self) -> usize {
        self.bytes.len().saturating_sub(self.large_bytes)
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
        self.answered
    }

    /// The names of the Gearman functions of the requests that wait, in their order.
    pub(crate) fn functions(&self) -> impl Iterator<Item = String> + '_ {
        let mut place = self.bytes.at(0);
        std::iter::from_fn(move || {
            let mut head = [0; HEADER_BYTES + MAX_FUNCTION_BYTES];
            let filled = place.clone().read(&mut head);
            let (header, name) = head[..filled].split_first_chunk::<HEADER_BYTES>()?;
            place.skip(packet::total_bytes(header));
            let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
            Some(String::from_utf8_lossy(name).into_owned())
        })
    }

    /// The length of the request that begins at `position`.
    fn request_at(&self, position: usize) -> Option<usize> {
        let mut header = [0; HEADER_BYTES];
        let filled = self.bytes.at(position).read(&mut header);
        (filled == HEADER_BYTES).then(|| packet::total_bytes(&header))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::gearman::wire::deadline::Deadline;
    use crate::gearman::wire::packet::{Command, Magic};

    /// Miri takes seconds for a step.
    const STEPS: usize = if cfg!(miri) { 20 } else { 200 };

    /// A request as the tests' job server reads it: a header with the length, its number, and
    /// something to fill it.
    fn request(number: u64, filling: usize) -> Vec<u8> {
        let length = NUMBER_BYTES + filling;
        let mut bytes = vec![0; HEADER_BYTES - 4];
        bytes.extend((length as u32).to_be_bytes());
        bytes.extend(number.to_be_bytes());
        bytes.resize(HEADER_BYTES + length, b'x');
        bytes
    }

    const NUMBER_BYTES: usize = 8;

    /// A gate that is open for the numbers below its own.
    #[derive(Debug, Default)]
    struct Opened(AtomicU64);

    impl Gate for Opened {
        fn is_open(&self, number: u64) -> bool {
            number < self.0.load(Ordering::Relaxed)
        }
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
            while let Some(header) = self.partial.first_chunk() {
                let length = packet::total_bytes(header);
                if self.partial.len() < length {
                    break;
                }
                let request: Vec<u8> = self.partial.drain(..length).collect();
                let number = request[HEADER_BYTES..].first_chunk().unwrap();
                let number = u64::from_be_bytes(*number);
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
        /// Requests of a transaction, behind a gate.
        TakeOver {
            fillings: Vec<usize>,
        },
        /// The oldest gate opens that is closed.
        Open,
        /// The connection takes some of what it is offered, and the server reads it.
        Write {
            offered: usize,
            taken: usize,
            leaving: bool,
        },
        Answer,
        Break,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..300_usize).prop_map(|filling| Step::Accept { filling }),
            1 => Just(Step::Accept { filling: 2 * MAX_WRITTEN_BYTES }),
            2 => vec(0..300_usize, 1..4).prop_map(|fillings| Step::TakeOver { fillings }),
            2 => Just(Step::Open),
            4 => (1..400_usize, 0..400_usize, any::<bool>())
                .prop_map(|(offered, taken, leaving)| Step::Write { offered, taken, leaving }),
            2 => any::<bool>().prop_map(|leaving| Step::Write {
                offered: usize::MAX / 2,
                taken: usize::MAX,
                leaving,
            }),
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
        gate: Arc<Opened>,
        /// The last request before each gate, in their order.
        gates: Vec<u64>,
    }

    impl Run {
        fn step(&mut self, step: &Step) {
            match step {
                Step::Accept { filling } => {
                    let request = request(self.accepted + 1, *filling);
                    let (head, tail) = request.split_at(12);
                    self.window.accept(head, tail).unwrap();
                    self.accepted += 1;
                }
                Step::TakeOver { fillings } => {
                    let mut requests = Requests::default();
                    for &filling in fillings {
                        requests.count += 1;
                        let request = request(self.accepted + requests.count, filling);
                        requests.bytes.push(&request).unwrap();
                    }
                    let number = self.gates.len() as u64;
                    self.gates.push(self.accepted);
                    self.accepted += requests.count;
                    let segments = requests.bytes.segments();
                    self.window.reserve(1, segments).unwrap();
                    self.window
                        .take_over(&mut requests, self.gate.clone(), number);
                }
                Step::Open => {
                    let opened = self.gate.0.load(Ordering::Relaxed);
                    let opened = (opened + 1).min(self.gates.len() as u64);
                    self.gate.0.store(opened, Ordering::Relaxed);
                }
                Step::Write {
                    offered,
                    taken,
                    leaving,
                } => {
                    self.write(*offered, *taken, *leaving);
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

        fn write(&mut self, offered: usize, taken: usize, leaving: bool) {
            let mut chunk = Vec::new();
            self.window.open_gates();
            match leaving {
                true => self.window.rest_of_request(&mut chunk, offered),
                false => self.window.next(&mut chunk, offered),
            }
            assert!(chunk.len() <= offered);
            let begun = self.server.read.len() + usize::from(!self.server.partial.is_empty());
            chunk.truncate(taken);
            self.server.receive(&chunk);
            self.window.wrote(chunk.len());
            let now = self.server.read.len() + usize::from(!self.server.partial.is_empty());
            if leaving {
                assert_eq!(now, begun, "no other request is begun");
            }
            let opened = self.gate.0.load(Ordering::Relaxed) as usize;
            if let (Some(&last), Some(&newest)) =
                (self.gates.get(opened), self.server.read.iter().max())
            {
                assert!(newest <= last, "{newest} left before its gate was open");
            }
        }

        fn drain(&mut self) {
            self.gate.0.store(u64::MAX, Ordering::Relaxed);
            while !self.window.is_empty() {
                self.write(usize::MAX / 2, usize::MAX, false);
                self.step(&Step::Answer);
            }
            assert_eq!(self.window.bytes(), 0);
        }
    }

    proptest! {
        // Some requests are larger than what is written ahead, which makes a case slow.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn nothing_is_lost_or_out_of_order_or_answered_twice(steps in vec(step(), 0..STEPS)) {
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
    fn requests_that_are_large_together_do_not_count_until_all_are_answered() {
        let mut window = Window::default();
        let mut requests = Requests::default();
        for number in 1..=2 {
            requests.bytes.push(&request(number, 80)).unwrap();
            requests.count += 1;
        }
        let patience = Deadline::after(Duration::from_secs(60));
        requests.large.take(150, usize::MAX, &patience).unwrap();
        window.take_over(&mut requests, Arc::new(Opened(AtomicU64::new(1))), 0);
        assert_eq!(window.counted_bytes(), 50);
        window.wrote(200);
        window.answered().unwrap();
        assert_eq!(window.counted_bytes(), 0);
        window.accept(&request(3, 80), b"").unwrap();
        window.answered().unwrap();
        assert_eq!(window.counted_bytes(), 100);
    }

    #[test]
    fn a_request_larger_than_what_is_written_ahead_is_written_whole() {
        let large = request(1, 3 * MAX_WRITTEN_BYTES);
        let small = request(2, 0);
        let mut window = Window::default();
        window.accept(&large, b"").unwrap();
        window.accept(&small, b"").unwrap();
        let mut chunk = Vec::new();
        window.next(&mut chunk, usize::MAX / 2);
        assert_eq!(chunk, large);
        window.wrote(large.len());
        window.answered().unwrap();
        chunk.clear();
        window.next(&mut chunk, usize::MAX / 2);
        assert_eq!(chunk, small);
    }

    #[test]
    fn a_request_that_was_begun_can_be_finished_without_beginning_another() {
        let (first, second) = (request(1, 5), request(2, 5));
        let mut window = Window::default();
        let mut chunk = Vec::new();
        window.accept(&first[..12], &first[12..]).unwrap();
        window.accept(&second, b"").unwrap();
        window.rest_of_request(&mut chunk, 1000);
        assert_eq!(chunk, b"");
        window.wrote(3);
        window.rest_of_request(&mut chunk, 1000);
        assert_eq!(chunk, first[3..]);
        window.wrote(first.len() - 3);
        chunk.clear();
        window.rest_of_request(&mut chunk, 1000);
        assert_eq!(chunk, b"");
    }

    #[test]
    fn the_functions_of_what_waits_are_told() {
        let mut window = Window::default();
        for function in [b"one", b"two"] {
            let mut head = Vec::new();
            let arguments: [&[u8]; 2] = [function, b"unique"];
            packet::encode_head(
                &mut head,
                Magic::Request,
                Command::SubmitJobBg,
                &arguments,
                8,
            );
            window.accept(&head, b"workload").unwrap();
        }
        assert_eq!(window.functions().collect::<Vec<_>>(), ["one", "two"]);
    }
}
