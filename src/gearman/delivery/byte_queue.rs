//! Bytes that come in at one end and go out at the other.
//!
//! They are kept in segments, as a single growing buffer would leave its outgrown predecessors in the
//! allocator's hands: as much again as the queue itself. A queue can also take over the segments of
//! another one, without copying and without allocating anything.

use std::collections::{TryReserveError, VecDeque};
use std::ops::Range;

/// The largest segment: small beside a window, large beside a request.
const SEGMENT_BYTES: usize = 64 * 1024;

/// The smallest one: a usual request.
const SMALLEST_SEGMENT_BYTES: usize = 512;

/// A queue of bytes.
#[derive(Debug, Default)]
pub(crate) struct ByteQueue {
    segments: VecDeque<Vec<u8>>,
    /// How many bytes of the first segment have gone out.
    gone: usize,
    length: usize,
}

impl ByteQueue {
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends `bytes`, or changes nothing if there is no memory for them.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), TryReserveError> {
        let before = self.length;
        let pushed = self.push_some(bytes);
        if pushed.is_err() {
            self.truncate(before);
        }
        pushed
    }

    fn push_some(&mut self, mut bytes: &[u8]) -> Result<(), TryReserveError> {
        while !bytes.is_empty() {
            let last = match self.segments.back_mut() {
                Some(last) if last.len() < SEGMENT_BYTES => last,
                _ => {
                    self.segments.try_reserve(1)?;
                    self.segments.push_back(Vec::new());
                    continue;
                }
            };
            let room = SEGMENT_BYTES - last.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            grow(last, now.len())?;
            last.extend_from_slice(now);
            self.length += now.len();
            bytes = later;
        }
        Ok(())
    }

    /// Makes sure that [`ByteQueue::append`] can take over `segments` more without allocating.
    pub(crate) fn reserve_segments(&mut self, segments: usize) -> Result<(), TryReserveError> {
        self.segments.try_reserve(segments)
    }

    /// How many segments [`ByteQueue::append`] would take over from this queue.
    pub(crate) fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Appends all of `other`, of which nothing has gone out, and leaves it empty.
    pub(crate) fn append(&mut self, other: &mut Self) {
        let fits = self.segments.back_mut().is_some_and(|last| {
            last.len() + other.length <= SEGMENT_BYTES && grow(last, other.length).is_ok()
        });
        match self.segments.back_mut() {
            // Many small segments would cost more than the copy, and `other` keeps its own.
            Some(last) if fits => {
                other
                    .segments
                    .iter()
                    .for_each(|segment| last.extend_from_slice(segment));
                self.length += other.length;
                other.truncate(0);
            }
            _ => {
                self.length += std::mem::take(&mut other.length);
                self.segments.append(&mut other.segments);
            }
        }
    }

    /// Drops the first `count` bytes, or all if there are fewer.
    pub(crate) fn pop(&mut self, count: usize) {
        let count = count.min(self.length);
        self.length -= count;
        self.gone += count;
        if self.length == 0 {
            self.truncate(0);
            return;
        }
        while let Some(first) = self.segments.front()
            && self.gone >= first.len()
        {
            self.gone -= first.len();
            self.segments.pop_front();
        }
    }

    /// Drops all but the first `length` bytes.
    pub(crate) fn truncate(&mut self, length: usize) {
        if length == 0 {
            // The last segment is kept for what comes next.
            self.segments
                .rotate_right(usize::from(!self.segments.is_empty()));
            self.segments.truncate(1);
            self.segments.iter_mut().for_each(Vec::clear);
            (self.gone, self.length) = (0, 0);
            return;
        }
        while self.length > length
            && let Some(last) = self.segments.back_mut()
        {
            let surplus = (self.length - length).min(last.len());
            last.truncate(last.len() - surplus);
            self.length -= surplus;
            if last.is_empty() {
                self.segments.pop_back();
            }
        }
    }

    /// Appends the bytes at `range`, as far as there are any, to `out`.
    pub(crate) fn copy(&self, range: Range<usize>, out: &mut Vec<u8>) {
        let mut at = self.at(range.start);
        let mut left = range.end.min(self.length).saturating_sub(range.start);
        while left > 0
            && let Some(piece) = at.piece(left)
        {
            out.extend_from_slice(piece);
            left -= piece.len();
        }
    }

    /// Writes `bytes` over what is at `position`, as far as there is any. Looks for it from the end.
    pub(crate) fn overwrite(&mut self, position: usize, mut bytes: &[u8]) {
        let position = self.gone + position;
        let (mut first, mut begin) = (self.segments.len(), self.gone + self.length);
        while begin > position && first > 0 {
            first -= 1;
            begin -= self.segments[first].len();
        }
        let mut offset = position - begin.min(position);
        for segment in self.segments.range_mut(first..) {
            if let Some(place) = segment.get_mut(offset..) {
                let (now, later) = bytes.split_at(place.len().min(bytes.len()));
                place[..now.len()].copy_from_slice(now);
                bytes = later;
            }
            offset = offset.saturating_sub(segment.len());
            if bytes.is_empty() {
                return;
            }
        }
    }

    /// A place in the queue, to read on from.
    pub(crate) fn at(&self, position: usize) -> Position<'_> {
        let mut place = Position {
            queue: self,
            segment: 0,
            offset: self.gone,
        };
        place.skip(position);
        place
    }
}

/// A place in a queue.
#[derive(Debug, Clone)]
pub(crate) struct Position<'a> {
    queue: &'a ByteQueue,
    segment: usize,
    offset: usize,
}

impl<'a> Position<'a> {
    /// Up to `max` bytes that lie side by side, and goes on behind them; `None` at the end.
    fn piece(&mut self, max: usize) -> Option<&'a [u8]> {
        loop {
            let segment = self.queue.segments.get(self.segment)?;
            let rest = segment.get(self.offset..).unwrap_or_default();
            if rest.is_empty() {
                self.segment += 1;
                self.offset = 0;
                continue;
            }
            let piece = &rest[..rest.len().min(max)];
            self.offset += piece.len();
            return Some(piece);
        }
    }

    /// Goes `count` bytes on, or to the end.
    pub(crate) fn skip(&mut self, mut count: usize) {
        while count > 0
            && let Some(piece) = self.piece(count)
        {
            count -= piece.len();
        }
    }

    /// The next bytes, as many as `out` has room for; returns how many there were.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < out.len()
            && let Some(piece) = self.piece(out.len() - filled)
        {
            out[filled..filled + piece.len()].copy_from_slice(piece);
            filled += piece.len();
        }
        filled
    }
}

/// Makes room for `more` bytes in a segment, which grows to the largest one by doubling.
fn grow(segment: &mut Vec<u8>, more: usize) -> Result<(), TryReserveError> {
    let wanted = segment.len() + more;
    if wanted <= segment.capacity() {
        return Ok(());
    }
    let doubled = (2 * segment.capacity()).max(SMALLEST_SEGMENT_BYTES);
    let capacity = doubled.max(wanted).min(SEGMENT_BYTES.max(wanted));
    segment.try_reserve_exact(capacity - segment.len())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Append(Vec<usize>),
        Pop(usize),
        Truncate(usize),
        Overwrite(usize, usize),
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
            vec(0..SEGMENT_BYTES, 0..4).prop_map(Step::Append),
            (large.clone(), 0..100_usize).prop_map(|(at, length)| Step::Overwrite(at, length)),
            (large.clone(), large).prop_map(|(start, length)| Step::Copy(start, length)),
        ]
    }

    proptest! {
        #[test]
        fn it_behaves_like_one_long_buffer(steps in vec(step(), 0..STEPS)) {
            let mut queue = ByteQueue::default();
            let mut model: Vec<u8> = Vec::new();
            let mut next = 0_u8;
            let mut some = |length: usize| -> Vec<u8> {
                (0..length)
                    .map(|_| { next = next.wrapping_mul(5).wrapping_add(7); next })
                    .collect()
            };
            for step in steps {
                match step {
                    Step::Push(length) => {
                        let bytes = some(length);
                        queue.push(&bytes).unwrap();
                        model.extend(&bytes);
                    }
                    Step::Append(lengths) => {
                        let mut other = ByteQueue::default();
                        for length in lengths {
                            let bytes = some(length);
                            other.push(&bytes).unwrap();
                            model.extend(&bytes);
                        }
                        queue.append(&mut other);
                        prop_assert!(other.is_empty());
                        other.push(b"x").unwrap();
                        prop_assert_eq!(other.len(), 1);
                    }
                    Step::Truncate(length) => {
                        queue.truncate(length);
                        model.truncate(length);
                    }
                    Step::Pop(count) => {
                        queue.pop(count);
                        model.drain(..count.min(model.len()));
                    }
                    Step::Overwrite(at, length) => {
                        let bytes = some(length);
                        queue.overwrite(at, &bytes);
                        let places = model.iter_mut().skip(at);
                        places.zip(bytes).for_each(|(place, byte)| *place = byte);
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

    #[test]
    fn a_small_queue_takes_little_memory() {
        let mut queue = ByteQueue::default();
        queue.push(&[0; 100]).unwrap();
        assert!(queue.segments[0].capacity() <= SMALLEST_SEGMENT_BYTES);
    }

    #[test]
    fn what_is_taken_over_is_not_copied() {
        let mut queue = ByteQueue::default();
        let mut other = ByteQueue::default();
        other.push(&vec![7; 3 * SEGMENT_BYTES]).unwrap();
        let first = other.segments[0].as_ptr();
        queue.append(&mut other);
        assert_eq!(queue.segments[0].as_ptr(), first);
    }
}
