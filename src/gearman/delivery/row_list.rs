//! One job for several rows: its workload is a JSON list that grows while a statement submits.
//!
//! The request is whole at any time: a commit has nothing left to do. Of one row it is the row behind a
//! space; with the second one, the space becomes the bracket that opens the list.

use std::collections::TryReserveError;

use crate::gearman::delivery::byte_queue::ByteQueue;
use crate::gearman::wire::job::{Job, Mode};
use crate::gearman::wire::packet;

/// How long the workload of a job with several rows may become, in bytes: that of `gman load`.
const MAX_BYTES: usize = 256 * 1024;

/// What stands before the first row while it is alone.
const NO_LIST: &[u8] = b" ";

/// A job that further rows may join: the last one in its queue.
#[derive(Debug)]
pub(super) struct RowList {
    mode: Mode,
    function: Vec<u8>,
    unique: Vec<u8>,
    /// Where its request begins in the queue, and how long the part before the workload is.
    begin: usize,
    head_bytes: usize,
    rows: usize,
}

impl RowList {
    /// A list of one row, whose request will stand at `begin`. Its head, which is `head`, becomes that of such a
    /// list.
    pub(super) fn of(
        job: &Job<'_>,
        begin: usize,
        head: &mut Vec<u8>,
    ) -> Result<Self, TryReserveError> {
        let head_bytes = head.len();
        head.try_reserve(NO_LIST.len())?;
        head.extend_from_slice(NO_LIST);
        let length = packet::length_of_body(head_bytes + NO_LIST.len() + job.workload().len());
        head[packet::LENGTH].copy_from_slice(&length);
        Ok(Self {
            mode: job.mode(),
            function: copy(job.function())?,
            unique: copy(job.unique())?,
            begin,
            head_bytes,
            rows: 1,
        })
    }

    /// The unique id of the job that all its rows share.
    pub(super) fn unique(&self) -> &[u8] {
        &self.unique
    }

    /// How many bytes a row adds, if it may join: at most `rows` are in a list.
    pub(super) fn room_for(&self, job: &Job<'_>, rows: usize, queue: &ByteQueue) -> Option<usize> {
        let more = job.workload().len() + if self.rows == 1 { 2 } else { 1 };
        let bytes = queue.len() - self.begin - self.head_bytes;
        let fits = self.rows < rows && bytes + more <= MAX_BYTES;
        let is_alike = self.mode == job.mode() && self.function == job.function();
        (fits && is_alike).then_some(more)
    }

    /// Appends a row, or changes nothing if there is no memory for it.
    pub(super) fn join(
        &mut self,
        row: &[u8],
        queue: &mut ByteQueue,
    ) -> Result<(), TryReserveError> {
        let before = queue.len();
        let pushed = match self.rows {
            1 => queue.push(b","),
            _ => {
                queue.overwrite(before - 1, b",");
                Ok(())
            }
        };
        let pushed = pushed
            .and_then(|()| queue.push(row))
            .and_then(|()| queue.push(b"]"));
        if let Err(error) = pushed {
            self.leave(before, queue);
            return Err(error);
        }
        self.rows += 1;
        queue.overwrite(self.begin + self.head_bytes, b"[");
        self.tell_length(queue);
        Ok(())
    }

    /// Takes the last row out that has joined: the queue had `before` bytes then.
    pub(super) fn undo(&mut self, before: usize, queue: &mut ByteQueue) {
        self.rows -= 1;
        self.leave(before, queue);
        if self.rows == 1 {
            queue.overwrite(self.begin + self.head_bytes, NO_LIST);
        }
        self.tell_length(queue);
    }

    fn leave(&self, before: usize, queue: &mut ByteQueue) {
        queue.truncate(before);
        if self.rows > 1 {
            queue.overwrite(before - 1, b"]");
        }
    }

    fn tell_length(&self, queue: &mut ByteQueue) {
        let length = packet::length_of_body(queue.len() - self.begin);
        queue.overwrite(self.begin + packet::LENGTH.start, &length);
    }
}

fn copy(bytes: &[u8]) -> Result<Vec<u8>, TryReserveError> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gearman::wire::job::Priority;
    use crate::gearman::wire::packet::{Command, Decoded, Magic};

    fn job(workload: &str) -> Job<'_> {
        let mode = Mode::Background(Priority::Normal);
        Job::new(mode, b"f", workload.as_bytes(), None).expect("a job")
    }

    /// A queue with something in it and behind that a list of one row.
    fn list(row: &str) -> (ByteQueue, RowList) {
        let mut queue = ByteQueue::default();
        queue.push(b"before").expect("memory");
        let (row, mut head) = (job(row), Vec::new());
        row.encode_head(&mut head);
        let list = RowList::of(&row, queue.len(), &mut head).expect("memory");
        queue.push(&head).expect("memory");
        queue.push(row.workload()).expect("memory");
        (queue, list)
    }

    /// The workload of the list, which is one whole packet behind what was there.
    fn workload(queue: &ByteQueue, list: &RowList) -> String {
        let mut bytes = Vec::new();
        queue.copy(0..queue.len(), &mut bytes);
        let request = bytes.strip_prefix(b"before").expect("what was there");
        let decoded = packet::decode(Magic::Request, request).expect("a packet");
        let Decoded::Packet(packet) = decoded else {
            panic!("{decoded:?}");
        };
        assert_eq!(packet.bytes(), request.len());
        assert_eq!(packet.command, Command::SubmitJobBg);
        assert_eq!(packet.argument(1), list.unique());
        String::from_utf8_lossy(packet.argument(2)).into_owned()
    }

    #[test]
    fn a_list_is_whole_with_each_row_that_joins_or_is_taken_out() {
        let (mut queue, mut list) = list("{1}");
        let mut join = |row: &str, expected: &str| {
            let (before, more) = (queue.len(), list.room_for(&job(row), 9, &queue));
            list.join(row.as_bytes(), &mut queue).expect("memory");
            assert_eq!(more, Some(queue.len() - before));
            assert_eq!(workload(&queue, &list), expected);
            let whole = queue.len();
            list.undo(before, &mut queue);
            assert!(workload(&queue, &list).len() < expected.len());
            list.join(row.as_bytes(), &mut queue).expect("memory");
            assert_eq!(queue.len(), whole);
            assert_eq!(workload(&queue, &list), expected);
        };
        join("{2}", "[{1},{2}]");
        join("{3}", "[{1},{2},{3}]");
    }

    #[test]
    fn a_row_alone_is_behind_a_space() {
        let (queue, list) = list("{1}");
        assert_eq!(workload(&queue, &list), " {1}");
    }

    #[test]
    fn a_list_takes_rows_of_its_own_kind_and_not_too_many() {
        let (queue, list) = list("{1}");
        assert_eq!(list.room_for(&job("{2}"), 2, &queue), Some(5));
        assert_eq!(list.room_for(&job("{2}"), 1, &queue), None);
        let large = format!("{{{}}}", "x".repeat(MAX_BYTES));
        assert_eq!(list.room_for(&job(&large), 2, &queue), None);
        let other = Job::new(Mode::Background(Priority::Low), b"f", b"{2}", None);
        assert_eq!(list.room_for(&other.expect("a job"), 2, &queue), None);
        let other = Job::new(Mode::Background(Priority::Normal), b"g", b"{2}", None);
        assert_eq!(list.room_for(&other.expect("a job"), 2, &queue), None);
    }
}
