//! The bytes that have arrived on a connection.

use crate::error::Error;
use crate::memory;

/// How much is read at once at least. The usual answer, a job handle, is 32 bytes.
const MIN_ROOM_BYTES: usize = 4 * 1024;

/// How much room is made at once at most, however much a header announces: memory grows with what
/// has arrived.
const MAX_ROOM_BYTES: usize = 256 * 1024;

/// A buffer that grew beyond this is given back after the call.
const KEPT_BYTES: usize = 64 * 1024;

/// Bytes in the order of their arrival: those that were taken, and those that were not.
#[derive(Debug, Default)]
pub(crate) struct ReceiveBuffer {
    /// Room as well as content, so that a read finds its room written already.
    bytes: Vec<u8>,
    /// Where the content ends.
    filled: usize,
    /// Where what was taken last begins and ends.
    last: usize,
    taken: usize,
}

impl ReceiveBuffer {
    /// What has not been taken.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.bytes[self.taken..self.filled]
    }

    /// Takes the first `count` bytes of what is unread.
    pub(crate) fn take(&mut self, count: usize) {
        self.last = self.taken;
        self.taken += count;
    }

    /// What was taken last; empty once [`ReceiveBuffer::room`] was asked for.
    pub(crate) fn last(&self) -> &[u8] {
        &self.bytes[self.last..self.taken]
    }

    /// Room for about `wanted` more bytes.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub(crate) fn room(&mut self, wanted: usize) -> Result<&mut [u8], Error> {
        if self.taken > 0 {
            self.bytes.copy_within(self.taken..self.filled, 0);
            self.filled -= self.taken;
            self.taken = 0;
            self.last = 0;
        }
        let end = self.filled + wanted.clamp(MIN_ROOM_BYTES, MAX_ROOM_BYTES);
        memory::lengthen(&mut self.bytes, end)?;
        Ok(&mut self.bytes[self.filled..end])
    }

    /// Takes note that the first `count` bytes of the room have been filled.
    pub(crate) fn filled(&mut self, count: usize) {
        self.filled += count;
    }

    /// Gives back what a big packet needed.
    pub(crate) fn trim(&mut self) {
        if self.bytes.len() > KEPT_BYTES && self.unread().is_empty() {
            *self = Self::default();
        }
    }

    /// How many bytes of memory it takes.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(buffer: &mut ReceiveBuffer, bytes: &[u8]) {
        buffer.room(bytes.len()).unwrap()[..bytes.len()].copy_from_slice(bytes);
        buffer.filled(bytes.len());
    }

    #[test]
    fn bytes_are_taken_in_the_order_of_their_arrival() {
        let mut buffer = ReceiveBuffer::default();
        arrive(&mut buffer, b"onetw");
        buffer.take(3);
        assert_eq!((buffer.last(), buffer.unread()), (&b"one"[..], &b"tw"[..]));
        arrive(&mut buffer, b"o");
        assert_eq!((buffer.last(), buffer.unread()), (&b""[..], &b"two"[..]));
        buffer.take(3);
        assert_eq!((buffer.last(), buffer.unread()), (&b"two"[..], &b""[..]));
    }

    #[test]
    fn room_is_bounded_whatever_is_wanted() {
        let mut buffer = ReceiveBuffer::default();
        assert_eq!(buffer.room(usize::MAX).unwrap().len(), MAX_ROOM_BYTES);
        assert_eq!(buffer.room(0).unwrap().len(), MIN_ROOM_BYTES);
        assert!(buffer.memory() <= 2 * MAX_ROOM_BYTES);
    }

    #[test]
    fn a_big_packet_leaves_no_big_buffer_behind() {
        let mut buffer = ReceiveBuffer::default();
        arrive(&mut buffer, &[b'x'; KEPT_BYTES + 1]);
        buffer.take(KEPT_BYTES);
        buffer.trim();
        assert_eq!(buffer.unread(), b"x");
        buffer.take(1);
        buffer.trim();
        assert_eq!(buffer.memory(), 0);
    }
}
