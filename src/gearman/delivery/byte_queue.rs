//! Bytes that come in at one end and go out at the other.
//!
//! They are kept in segments of one size, as a single growing buffer would leave its outgrown
//! predecessors in the allocator's hands: as much again as the queue itself.

use std::collections::VecDeque;
use std::ops::Range;

/// The size of a segment: small beside a window, large beside a request.
const SEGMENT_BYTES: usize = 64 * 1024;

/// A queue of bytes.
#[derive(Debug, Default)]
pub(crate) struct ByteQueue {
    /// All but the last are full.
    segments: VecDeque<Vec<u8>>,
    /// How many bytes of the first segment have gone out.
    gone: usize,
    length: usize,
}

impl ByteQueue {
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Appends `bytes`.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len();
        while !bytes.is_empty() {
            let last = match self.segments.back_mut() {
                Some(last) if last.len() < SEGMENT_BYTES => last,
                _ => {
                    self.segments.push_back(Vec::with_capacity(SEGMENT_BYTES));
                    continue;
                }
            };
            let room = SEGMENT_BYTES - last.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            last.extend_from_slice(now);
            bytes = later;
        }
    }

    /// Drops the first `count` bytes, or all where there are fewer.
    pub(crate) fn pop(&mut self, count: usize) {
        let count = count.min(self.length);
        self.length -= count;
        self.gone += count;
        while self.gone >= SEGMENT_BYTES {
            self.segments.pop_front();
            self.gone -= SEGMENT_BYTES;
        }
        if self.length == 0 {
            // The last segment is kept for what comes next.
            self.segments.truncate(1);
            self.segments.iter_mut().for_each(Vec::clear);
            self.gone = 0;
        }
    }

    /// Appends the bytes at `range`, as far as there are any, to `out`.
    pub(crate) fn copy(&self, range: Range<usize>, out: &mut Vec<u8>) {
        let mut at = self.gone + range.start;
        let end = self.gone + range.end.min(self.length);
        while at < end {
            let (segment, offset) = (at / SEGMENT_BYTES, at % SEGMENT_BYTES);
            let stop = (offset + end - at).min(SEGMENT_BYTES);
            out.extend_from_slice(&self.segments[segment][offset..stop]);
            at += stop - offset;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Pop(usize),
        Copy(usize, usize),
    }

    /// Miri takes seconds for a step.
    const STEPS: usize = if cfg!(miri) { 5 } else { 40 };

    fn step() -> impl Strategy<Value = Step> {
        let large = 0..2 * SEGMENT_BYTES;
        prop_oneof![
            large.clone().prop_map(Step::Push),
            large.clone().prop_map(Step::Pop),
            (large.clone(), large).prop_map(|(start, length)| Step::Copy(start, length)),
        ]
    }

    proptest! {
        #[test]
        fn it_behaves_like_one_long_buffer(steps in vec(step(), 0..STEPS)) {
            let mut queue = ByteQueue::default();
            let mut model: Vec<u8> = Vec::new();
            let mut next = 0_u8;
            for step in steps {
                match step {
                    Step::Push(length) => {
                        let bytes: Vec<u8> = (0..length)
                            .map(|_| { next = next.wrapping_mul(5).wrapping_add(7); next })
                            .collect();
                        queue.push(&bytes);
                        model.extend(&bytes);
                    }
                    Step::Pop(count) => {
                        queue.pop(count);
                        model.drain(..count.min(model.len()));
                    }
                    Step::Copy(start, length) => {
                        let mut copied = Vec::new();
                        queue.copy(start..start + length, &mut copied);
                        let end = (start + length).min(model.len());
                        prop_assert_eq!(&copied, &model[start.min(end)..end]);
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
            }
        }
    }

    #[test]
    fn what_has_gone_out_takes_no_memory() {
        let mut queue = ByteQueue::default();
        queue.push(&vec![0; 100 * SEGMENT_BYTES]);
        queue.pop(99 * SEGMENT_BYTES);
        assert_eq!(queue.segments.len(), 1);
        queue.pop(SEGMENT_BYTES);
        queue.push(b"x");
        assert_eq!(queue.segments.len(), 1);
    }
}
