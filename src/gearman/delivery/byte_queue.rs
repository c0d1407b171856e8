//! Bytes that come in at one end and go out at the other.
//!
//! They are kept in segments of one size, as a single growing buffer would leave its outgrown
//! predecessors in the allocator's hands: as much again as the queue itself.

use std::collections::{TryReserveError, VecDeque};
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
    ///
    /// # Errors
    ///
    /// If there is not enough memory; nothing is appended then.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), TryReserveError> {
        let before = self.length;
        self.append(bytes).inspect_err(|_| self.truncate(before))
    }

    fn append(&mut self, mut bytes: &[u8]) -> Result<(), TryReserveError> {
        while !bytes.is_empty() {
            let last = match self.segments.back_mut() {
                Some(last) if last.len() < SEGMENT_BYTES => last,
                _ => {
                    let mut segment = Vec::new();
                    segment.try_reserve_exact(SEGMENT_BYTES)?;
                    self.segments.try_reserve(1)?;
                    self.segments.push_back(segment);
                    continue;
                }
            };
            let room = SEGMENT_BYTES - last.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            last.extend_from_slice(now);
            self.length += now.len();
            bytes = later;
        }
        Ok(())
    }

    /// Drops what is behind the first `length` bytes.
    pub(crate) fn truncate(&mut self, length: usize) {
        while self.length > length {
            let surplus = self.length - length;
            let Some(last) = self.segments.back_mut() else {
                return;
            };
            let kept = last.len().saturating_sub(surplus);
            self.length -= last.len() - kept;
            last.truncate(kept);
            if kept == 0 {
                self.segments.pop_back();
            }
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
        Truncate(usize),
        Copy(usize, usize),
    }

    /// Miri takes seconds for a step.
    const STEPS: usize = if cfg!(miri) { 5 } else { 40 };

    fn step() -> impl Strategy<Value = Step> {
        let large = 0..2 * SEGMENT_BYTES;
        prop_oneof![
            large.clone().prop_map(Step::Push),
            large.clone().prop_map(Step::Pop),
            large.clone().prop_map(Step::Truncate),
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
                        queue.push(&bytes).unwrap();
                        model.extend(&bytes);
                    }
                    Step::Pop(count) => {
                        queue.pop(count);
                        model.drain(..count.min(model.len()));
                    }
                    Step::Truncate(length) => {
                        queue.truncate(length);
                        model.truncate(length);
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
        queue.push(&vec![0; 100 * SEGMENT_BYTES]).unwrap();
        queue.pop(99 * SEGMENT_BYTES);
        assert_eq!(queue.segments.len(), 1);
        queue.pop(SEGMENT_BYTES);
        queue.push(b"x").unwrap();
        assert_eq!(queue.segments.len(), 1);
    }
}
