//! What has come from a job server: whole packets, and of a job that is too large only its name.

use std::io::{self, ErrorKind};

use gearman_mysql_udf::gearman::wire::packet::{
    self, Command, Decoded, HEADER_BYTES, MAX_ERROR_BYTES, MAX_HANDLE_BYTES, MAX_NAME_BYTES, Magic,
    Packet,
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

/// Whether a packet is to be read.
enum Size {
    /// More of it must come before that is known.
    Unknown,
    Fine,
    /// A job of which only the names are; and the length of its packet.
    TooLarge(TooLarge, usize),
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
    ///
    /// # Errors
    ///
    /// For bytes that cannot become one, or only one that is longer than a worker is sent: what waits here is
    /// bounded, whatever a job server says.
    pub(super) fn next(&mut self) -> io::Result<Option<Item<'_>>> {
        let skipped = self.skipping.min(self.bytes.len() - self.taken);
        self.skipping -= skipped;
        self.taken += skipped;
        match self.size()? {
            Size::Unknown => return Ok(None),
            Size::TooLarge(job, length) => {
                let here = length.min(self.bytes.len() - self.taken);
                self.taken += here;
                self.skipping = length - here;
                return Ok(Some(Item::TooLarge(job)));
            }
            Size::Fine => {}
        }
        let rest = &self.bytes[self.taken..];
        match packet::decode(Magic::Response, rest) {
            Ok(Decoded::Packet(packet)) => {
                self.taken += packet.bytes();
                Ok(Some(Item::Packet(packet)))
            }
            Ok(Decoded::Incomplete { .. }) => Ok(None),
            Err(error) => Err(invalid(error.to_string())),
        }
    }

    /// The size of the packet that has begun to come, as soon as the names of a job have.
    fn size(&self) -> io::Result<Size> {
        let Some(((command, length), body)) = self.begun() else {
            return Ok(Size::Fine);
        };
        if command != Command::JobAssign {
            return match length > MAX_ERROR_BYTES {
                true => Err(invalid(format!("unexpected {command} packet"))),
                false => Ok(Size::Fine),
            };
        }
        let names = &body[..body.len().min(length).min(NAMES_BYTES)];
        let mut names = names.split(|&byte| byte == 0);
        let (Some(handle), Some(function), Some(_)) = (names.next(), names.next(), names.next())
        else {
            return match body.len() {
                whole if whole >= length => Ok(Size::Fine),
                some if some < NAMES_BYTES => Ok(Size::Unknown),
                _ => Err(invalid(format!("a {command} packet without names"))),
            };
        };
        let workload = length - handle.len() - function.len() - 2;
        if workload <= self.max_workload {
            return Ok(Size::Fine);
        }
        let job = TooLarge {
            handle: handle.to_vec(),
            function: function.to_vec(),
            bytes: workload,
        };
        Ok(Size::TooLarge(job, HEADER_BYTES + length))
    }

    /// What the header of the packet says that has begun to come, and what has come behind it.
    fn begun(&self) -> Option<((Command, usize), &[u8])> {
        let (header, body) = self.bytes[self.taken..].split_at_checked(HEADER_BYTES)?;
        let number = |at: usize| Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?));
        let is_response = header.starts_with(&Magic::Response.bytes());
        let command = Command::from_code(number(4)?).filter(|_| is_response)?;
        Some(((command, number(8)? as usize), body))
    }
}

fn invalid(problem: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, problem)
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

    #[test]
    fn a_job_that_no_packet_may_hold_is_too_large_however_it_comes() {
        let header = [Command::JobAssign as u32, u32::MAX].map(u32::to_be_bytes);
        let bytes = [&b"\0RES"[..], header.as_flattened(), b"H:1\0f\0workload"].concat();
        for chunk in [1, bytes.len()] {
            let mut inbox = Inbox::new(10);
            let mut seen = 0;
            for part in bytes.chunks(chunk) {
                inbox.bytes().extend_from_slice(part);
                while let Some(item) = inbox.next().expect("a job") {
                    assert!(matches!(item, Item::TooLarge(job) if job.bytes == 4_294_967_289));
                    seen += 1;
                }
            }
            assert_eq!(seen, 1, "{chunk}");
        }
    }

    #[test]
    fn what_no_job_server_sends_is_refused_before_it_has_come() {
        let header = |command: Command, length: u32| {
            let words = [command as u32, length].map(u32::to_be_bytes);
            [&b"\0RES"[..], words.as_flattened()].concat()
        };
        let endless_names = [header(Command::JobAssign, 1 << 30), vec![b'x'; NAMES_BYTES]].concat();
        for (bytes, problem) in [
            (
                header(Command::WorkComplete, 1 << 30),
                "unexpected WORK_COMPLETE packet",
            ),
            (endless_names, "a JOB_ASSIGN packet without names"),
        ] {
            let mut inbox = Inbox::new(1 << 20);
            inbox.bytes().extend_from_slice(&bytes);
            let refused = inbox.next().err().map(|error| error.to_string());
            assert_eq!(refused.as_deref(), Some(problem));
        }
    }
}
