//! What has come from a job server: whole packets, and of a job that is too large only its name.

use std::io::{self, ErrorKind};

use gearman_mysql_udf::gearman::wire::packet::{
    self, Command, Decoded, HEADER_BYTES, MAX_HANDLE_BYTES, MAX_NAME_BYTES, Magic, Packet,
};

/// What may stand before a workload: handle and function, each with a NUL.
const NAMES_BYTES: usize = MAX_HANDLE_BYTES + MAX_NAME_BYTES;

/// How much room is kept while nothing waits.
const KEPT_BYTES: usize = 1 << 20;

/// Bytes that have come and were not read.
pub(super) struct Inbox {
    bytes: Vec<u8>,
    taken: usize,
    max_workload: usize,
    /// How much is still to come of a job that is too large.
    skipping: usize,
}

/// What was read.
pub(super) enum Item<'a> {
    Packet(Packet<'a>),
    /// A job whose workload is not read.
    TooLarge(TooLarge),
}

/// A job whose workload is longer than it may be.
pub(super) struct TooLarge {
    pub(super) handle: Vec<u8>,
    pub(super) function: Vec<u8>,
    /// About so many bytes.
    pub(super) bytes: usize,
}

impl Inbox {
    pub(super) fn new(max_workload: usize) -> Self {
        Self {
            bytes: Vec::new(),
            taken: 0,
            max_workload,
            skipping: 0,
        }
    }

    /// Where further bytes go.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        if self.bytes.is_empty() {
            // One large job is no reason to keep its room.
            self.bytes.shrink_to(KEPT_BYTES);
        }
        &mut self.bytes
    }

    /// The next packet, if it has come.
    pub(super) fn next(&mut self) -> io::Result<Option<Item<'_>>> {
        let skipped = self.skipping.min(self.bytes.len() - self.taken);
        self.skipping -= skipped;
        self.taken += skipped;
        if let Some((job, length)) = self.too_large() {
            let here = length.min(self.bytes.len() - self.taken);
            self.taken += here;
            self.skipping = length - here;
            return Ok(Some(Item::TooLarge(job)));
        }
        let rest = &self.bytes[self.taken..];
        match packet::decode(Magic::Response, rest) {
            Ok(Decoded::Packet(packet)) => {
                self.taken += packet.bytes();
                Ok(Some(Item::Packet(packet)))
            }
            Ok(Decoded::Incomplete { .. }) => Ok(None),
            Err(error) => Err(io::Error::new(ErrorKind::InvalidData, error)),
        }
    }

    /// A job that is too large, as soon as its names have come; and the length of its packet.
    fn too_large(&self) -> Option<(TooLarge, usize)> {
        let (header, body) = self.bytes[self.taken..].split_at_checked(HEADER_BYTES)?;
        let number = |at: usize| Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?));
        let (command, length) = (number(4)?, number(8)? as usize);
        if !header.starts_with(&Magic::Response.bytes())
            || Command::from_code(command) != Some(Command::JobAssign)
        {
            return None;
        }
        let mut names = body[..body.len().min(NAMES_BYTES)].split(|&byte| byte == 0);
        let (handle, function, _) = (names.next()?, names.next()?, names.next()?);
        let workload = length.saturating_sub(handle.len() + function.len() + 2);
        (workload > self.max_workload).then(|| {
            let job = TooLarge {
                handle: handle.to_vec(),
                function: function.to_vec(),
                bytes: workload,
            };
            (job, HEADER_BYTES + length)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(workload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let arguments: [&[u8]; 3] = [b"H:1", b"f", workload];
        packet::encode(&mut bytes, Magic::Response, Command::JobAssign, &arguments);
        bytes
    }

    #[test]
    fn a_job_that_is_too_large_is_named_once_and_skipped_however_it_comes() {
        let bytes = [job(&[b'a'; 10]), job(&[0; 11]), job(b"b")].concat();
        for chunk in [1, 7, bytes.len()] {
            let mut inbox = Inbox::new(10);
            let mut seen = Vec::new();
            for part in bytes.chunks(chunk) {
                inbox.bytes().extend_from_slice(part);
                while let Some(item) = inbox.next().expect("packets") {
                    seen.push(match item {
                        Item::Packet(packet) => {
                            String::from_utf8_lossy(packet.argument(2)).into_owned()
                        }
                        Item::TooLarge(job) => format!("{} of {}", job.bytes, job.handle.len()),
                    });
                }
            }
            assert_eq!(seen, ["aaaaaaaaaa", "11 of 3", "b"], "{chunk}");
        }
    }
}
