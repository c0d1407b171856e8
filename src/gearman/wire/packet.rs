//! The wire format, as gearmand's `PROTOCOL` document has it. Does no I/O.
//!
//! A packet is a header of [`HEADER_BYTES`] bytes (magic, command, length of the body; the numbers
//! big-endian) and a body of arguments that are separated by NUL. The last argument takes the rest
//! and may itself hold NUL.

use std::fmt;
use std::ops::Range;

/// Length of a header: `GEARMAN_PACKET_HEADER_SIZE` of libgearman's `limits.h`.
pub const HEADER_BYTES: usize = 12;

/// Longest job handle: `GEARMAN_JOB_HANDLE_SIZE` of libgearman's `limits.h`.
pub const MAX_HANDLE_BYTES: usize = 64;

/// Longest text of an `ERROR` packet, code and text together: `GEARMAN_MAX_ERROR_SIZE` of
/// libgearman's `limits.h`.
pub const MAX_ERROR_BYTES: usize = 2048;

/// Longest body with a name in it. Longer than any name that gearmand takes
/// (`GEARMAN_FUNCTION_MAX_SIZE` is 512), short enough to be harmless.
pub const MAX_NAME_BYTES: usize = 1024;

/// Longest workload or result. No longer value can reach us or be handed on: it is the largest
/// `max_allowed_packet` of MySQL and of MariaDB.
pub const MAX_DATA_BYTES: usize = 1 << 30;

/// Longest body: the data and the names before it.
pub(crate) const MAX_BODY_BYTES: usize = MAX_DATA_BYTES + 2 * MAX_NAME_BYTES;

/// The direction of a packet, written in its first four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Magic {
    /// From a client or worker to the job server.
    Request,
    /// From the job server.
    Response,
}

impl Magic {
    /// The four bytes on the wire.
    pub const fn bytes(self) -> [u8; 4] {
        match self {
            Self::Request => *b"\0REQ",
            Self::Response => *b"\0RES",
        }
    }
}

macro_rules! commands {
    ($($command:ident = $code:literal, $name:literal, $arguments:literal, $max_body:expr;)*) => {
        /// A packet's type.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Command {
            $(
                #[doc = concat!("`", $name, "`, arguments: ", $arguments)]
                $command = $code,
            )*
        }

        impl Command {
            /// Every command, in the order of their codes.
            pub const ALL: &[Self] = &[$(Self::$command),*];

            /// The command with this number on the wire.
            pub const fn from_code(code: u32) -> Option<Self> {
                match code {
                    $($code => Some(Self::$command),)*
                    _ => None,
                }
            }

            /// The name in the `PROTOCOL` document.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$command => $name,)*
                }
            }

            /// How many arguments the body has.
            pub const fn arguments(self) -> usize {
                match self {
                    $(Self::$command => $arguments,)*
                }
            }

            /// The longest body, in bytes, that is read.
            pub const fn max_body(self) -> usize {
                match self {
                    $(Self::$command => $max_body,)*
                }
            }
        }
    };
}

// Command, code, name, number of arguments, longest body.
commands! {
    CanDo = 1, "CAN_DO", 1, MAX_NAME_BYTES;
    CantDo = 2, "CANT_DO", 1, MAX_NAME_BYTES;
    ResetAbilities = 3, "RESET_ABILITIES", 0, 0;
    PreSleep = 4, "PRE_SLEEP", 0, 0;
    Noop = 6, "NOOP", 0, 0;
    SubmitJob = 7, "SUBMIT_JOB", 3, MAX_BODY_BYTES;
    JobCreated = 8, "JOB_CREATED", 1, MAX_HANDLE_BYTES;
    GrabJob = 9, "GRAB_JOB", 0, 0;
    NoJob = 10, "NO_JOB", 0, 0;
    JobAssign = 11, "JOB_ASSIGN", 3, MAX_BODY_BYTES;
    WorkStatus = 12, "WORK_STATUS", 3, MAX_NAME_BYTES;
    WorkComplete = 13, "WORK_COMPLETE", 2, MAX_BODY_BYTES;
    WorkFail = 14, "WORK_FAIL", 1, MAX_HANDLE_BYTES;
    GetStatus = 15, "GET_STATUS", 1, MAX_HANDLE_BYTES;
    EchoReq = 16, "ECHO_REQ", 1, MAX_BODY_BYTES;
    EchoRes = 17, "ECHO_RES", 1, MAX_BODY_BYTES;
    SubmitJobBg = 18, "SUBMIT_JOB_BG", 3, MAX_BODY_BYTES;
    Error = 19, "ERROR", 2, MAX_ERROR_BYTES;
    StatusRes = 20, "STATUS_RES", 5, MAX_NAME_BYTES;
    SubmitJobHigh = 21, "SUBMIT_JOB_HIGH", 3, MAX_BODY_BYTES;
    SetClientId = 22, "SET_CLIENT_ID", 1, MAX_NAME_BYTES;
    CanDoTimeout = 23, "CAN_DO_TIMEOUT", 2, MAX_NAME_BYTES;
    AllYours = 24, "ALL_YOURS", 0, 0;
    WorkException = 25, "WORK_EXCEPTION", 2, MAX_BODY_BYTES;
    OptionReq = 26, "OPTION_REQ", 1, MAX_NAME_BYTES;
    OptionRes = 27, "OPTION_RES", 1, MAX_NAME_BYTES;
    WorkData = 28, "WORK_DATA", 2, MAX_BODY_BYTES;
    WorkWarning = 29, "WORK_WARNING", 2, MAX_BODY_BYTES;
    GrabJobUniq = 30, "GRAB_JOB_UNIQ", 0, 0;
    JobAssignUniq = 31, "JOB_ASSIGN_UNIQ", 4, MAX_BODY_BYTES;
    SubmitJobHighBg = 32, "SUBMIT_JOB_HIGH_BG", 3, MAX_BODY_BYTES;
    SubmitJobLow = 33, "SUBMIT_JOB_LOW", 3, MAX_BODY_BYTES;
    SubmitJobLowBg = 34, "SUBMIT_JOB_LOW_BG", 3, MAX_BODY_BYTES;
    SubmitJobSched = 35, "SUBMIT_JOB_SCHED", 8, MAX_BODY_BYTES;
    SubmitJobEpoch = 36, "SUBMIT_JOB_EPOCH", 4, MAX_BODY_BYTES;
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Appends a packet to `out`, all but its last `tail_bytes` bytes: those are the caller's to send
/// right after, so that a big workload is never copied.
///
/// `arguments` are those before the tail; a separator follows each of them. Without arguments the
/// whole body is the tail.
///
/// # Panics
///
/// When the body is longer than a header can say; [`MAX_DATA_BYTES`] keeps callers away from that.
pub fn encode_head(
    out: &mut Vec<u8>,
    magic: Magic,
    command: Command,
    arguments: &[&[u8]],
    tail_bytes: usize,
) {
    let names: usize = arguments.iter().map(|argument| argument.len() + 1).sum();
    let length = u32::try_from(names + tail_bytes).expect("a body below 4 GiB");
    out.extend_from_slice(&magic.bytes());
    out.extend_from_slice(&(command as u32).to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    for argument in arguments {
        out.extend_from_slice(argument);
        out.push(0);
    }
}

/// Appends a whole packet to `out`.
///
/// # Panics
///
/// As [`encode_head`].
pub fn encode(out: &mut Vec<u8>, magic: Magic, command: Command, arguments: &[&[u8]]) {
    let (tail, names) = match arguments.split_last() {
        Some((tail, names)) => (*tail, names),
        None => (b"".as_slice(), arguments),
    };
    encode_head(out, magic, command, names, tail.len());
    out.extend_from_slice(tail);
}

/// What the first bytes of a stream are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A whole packet.
    Packet(Packet<'a>),
    /// The beginning of a packet; nothing is wrong with it so far.
    Incomplete {
        /// How long the input must be, in bytes, before it is worth asking again.
        needed: usize,
    },
}

/// A whole packet, borrowed from the bytes it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What the packet says.
    pub command: Command,
    body: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The packet that [`decode`] has found in `bytes` before.
    pub(crate) fn from_parts(command: Command, bytes: &'a [u8]) -> Self {
        Self {
            command,
            body: bytes.get(HEADER_BYTES..).unwrap_or_default(),
        }
    }

    /// How many bytes of the input the packet took.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }

    /// The arguments, as many as [`Command::arguments`] says.
    pub fn arguments(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.body
            .splitn(self.command.arguments(), |&byte| byte == 0)
    }

    /// Argument `index`, counted from 0; empty if the command has none.
    pub fn argument(&self, index: usize) -> &'a [u8] {
        self.arguments().nth(index).unwrap_or_default()
    }
}

/// Why bytes cannot be a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The stream does not begin as a packet of this direction does.
    Magic {
        /// What came; fewer than four bytes are followed by zeros.
        found: [u8; 4],
        /// What was expected.
        expected: Magic,
    },
    /// No command has this number.
    Command(u32),
    /// The body is longer than this command's may be.
    Length {
        /// What the packet says.
        command: Command,
        /// The body's length in bytes, from the header.
        length: u32,
    },
    /// The body has too few arguments.
    Arguments(Command),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic { found, expected } => write!(
                f,
                "expected a packet that begins with \"{}\", found \"{}\"; is this a Gearman job server?",
                expected.bytes().escape_ascii(),
                found.escape_ascii()
            ),
            Self::Command(code) => write!(f, "expected a known packet type, found number {code}"),
            Self::Length { command, length } => write!(
                f,
                "expected at most {} bytes in a {command} packet, found {length}",
                command.max_body()
            ),
            Self::Arguments(command) => write!(
                f,
                "expected {} arguments in a {command} packet, found fewer",
                command.arguments()
            ),
        }
    }
}

impl std::error::Error for Malformed {}

/// Reads the packet that `input` begins with.
///
/// # Errors
///
/// As soon as the bytes cannot become a packet, however few there are: a length is judged before
/// anything of it has arrived.
pub fn decode(expected: Magic, input: &[u8]) -> Result<Decoded<'_>, Malformed> {
    check_magic(expected, input)?;
    let Some((header, rest)) = input.split_at_checked(HEADER_BYTES) else {
        return Ok(Decoded::Incomplete {
            needed: HEADER_BYTES,
        });
    };
    let code = big_endian(&header[4..8]);
    let length = big_endian(&header[8..12]);
    let command = Command::from_code(code).ok_or(Malformed::Command(code))?;
    let body_bytes = usize::try_from(length).unwrap_or(usize::MAX);
    if body_bytes > command.max_body() {
        return Err(Malformed::Length { command, length });
    }
    let Some(body) = rest.get(..body_bytes) else {
        return Ok(Decoded::Incomplete {
            needed: HEADER_BYTES + body_bytes,
        });
    };
    let packet = Packet { command, body };
    if packet.arguments().count() < command.arguments() {
        return Err(Malformed::Arguments(command));
    }
    Ok(Decoded::Packet(packet))
}

/// Where a header says how long the body is.
pub(crate) const LENGTH: Range<usize> = 8..HEADER_BYTES;

/// What stands there in a packet of so many bytes, which are below 4 GiB.
pub(crate) fn length_of_body(packet_bytes: usize) -> [u8; 4] {
    let body = packet_bytes.saturating_sub(HEADER_BYTES);
    u32::try_from(body).unwrap_or(u32::MAX).to_be_bytes()
}

/// The length of the packet that begins with `header`, which one of the encoders has written.
pub(crate) fn total_bytes(header: &[u8; HEADER_BYTES]) -> usize {
    HEADER_BYTES.saturating_add(usize::try_from(big_endian(&header[LENGTH])).unwrap_or(usize::MAX))
}

/// Refuses a stream from its first wrong byte on: a server of another kind may never send twelve.
fn check_magic(expected: Magic, input: &[u8]) -> Result<(), Malformed> {
    let start = &input[..input.len().min(4)];
    if expected.bytes().starts_with(start) {
        return Ok(());
    }
    let mut found = [0; 4];
    found[..start.len()].copy_from_slice(start);
    Err(Malformed::Magic { found, expected })
}

fn big_endian(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |number, &byte| number << 8 | u32::from(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(command: Command, arguments: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, Magic::Response, command, arguments);
        bytes
    }

    fn refusal(bytes: &[u8]) -> String {
        decode(Magic::Response, bytes)
            .expect_err("expected a refusal")
            .to_string()
    }

    #[test]
    fn bytes_are_as_the_protocol_document_has_them() {
        let mut bytes = Vec::new();
        let arguments = [b"reverse".as_slice(), b"", b"test"];
        encode(&mut bytes, Magic::Request, Command::SubmitJob, &arguments);
        assert_eq!(bytes, b"\0REQ\0\0\0\x07\0\0\0\x0dreverse\0\0test");
        assert_eq!(
            encoded(Command::JobCreated, &[b"H:lap:1"]),
            b"\0RES\0\0\0\x08\0\0\0\x07H:lap:1"
        );
        assert_eq!(encoded(Command::Noop, &[]), b"\0RES\0\0\0\x06\0\0\0\0");
    }

    #[test]
    fn commands_are_numbered_as_the_protocol_document_has_them() {
        for command in Command::ALL {
            assert_eq!(Command::from_code(*command as u32), Some(*command));
        }
        assert_eq!(Command::SubmitJobEpoch as u32, 36);
        for unknown in [0, 5, 37, 4711, u32::MAX] {
            assert_eq!(Command::from_code(unknown), None);
        }
    }

    #[test]
    fn the_last_argument_takes_the_rest_with_its_nuls() {
        let bytes = encoded(Command::WorkComplete, &[b"H:1", b"a\0b\0"]);
        let Ok(Decoded::Packet(packet)) = decode(Magic::Response, &bytes) else {
            panic!("expected a packet");
        };
        assert_eq!(
            packet.arguments().collect::<Vec<_>>(),
            [&b"H:1"[..], b"a\0b\0"]
        );
        assert_eq!(packet.argument(1), b"a\0b\0");
        assert_eq!(packet.argument(2), b"");
    }

    #[test]
    fn every_beginning_of_a_packet_is_incomplete_and_says_what_it_needs() {
        let bytes = encoded(Command::WorkComplete, &[b"H:1", b"result"]);
        for end in 0..bytes.len() {
            let needed = if end < HEADER_BYTES {
                HEADER_BYTES
            } else {
                bytes.len()
            };
            assert_eq!(
                decode(Magic::Response, &bytes[..end]),
                Ok(Decoded::Incomplete { needed }),
                "{end} bytes"
            );
        }
    }

    #[test]
    fn what_follows_a_packet_is_left_alone() {
        let bytes = [
            encoded(Command::JobCreated, &[b"H:1"]),
            encoded(Command::JobCreated, &[b"H:2"]),
        ]
        .concat();
        let Ok(Decoded::Packet(packet)) = decode(Magic::Response, &bytes) else {
            panic!("expected a packet");
        };
        assert_eq!((packet.argument(0), packet.bytes()), (&b"H:1"[..], 15));
    }

    #[test]
    fn a_stranger_is_refused_from_its_first_wrong_byte_on() {
        assert!(refusal(b"H").contains("found \"H\\x00\\x00\\x00\""));
        assert!(refusal(b"HTTP/1.1 400").contains("begins with \"\\x00RES\", found \"HTTP\""));
        assert!(refusal(b"\0REQ").contains("found \"\\x00REQ\""));
    }

    #[test]
    fn a_length_is_judged_before_anything_of_it_has_arrived() {
        let mut bytes = encoded(Command::JobCreated, &[]);
        bytes[8..12].copy_from_slice(&65u32.to_be_bytes());
        assert_eq!(
            refusal(&bytes),
            "expected at most 64 bytes in a JOB_CREATED packet, found 65"
        );
        let mut bytes = encoded(Command::WorkComplete, &[b"", b""]);
        bytes[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(refusal(&bytes).contains("in a WORK_COMPLETE packet, found 4294967295"));
    }

    #[test]
    fn a_packet_with_too_few_arguments_is_refused() {
        let mut bytes = encoded(Command::WorkFail, &[b"H:1"]);
        bytes[7] = Command::WorkComplete as u8;
        assert_eq!(
            refusal(&bytes),
            "expected 2 arguments in a WORK_COMPLETE packet, found fewer"
        );
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(
            place in 0..Command::ALL.len(),
            names in prop::collection::vec("[a-z]{0,8}", 8),
            data in prop::collection::vec(any::<u8>(), 0..40),
            more in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let command = Command::ALL[place];
            let count = command.arguments();
            let mut arguments: Vec<&[u8]> = names[..count].iter().map(|name| name.as_bytes()).collect();
            if let Some(last) = arguments.last_mut() {
                *last = &data;
            }
            let mut bytes = encoded(command, &arguments);
            bytes.extend_from_slice(&more);
            let Ok(Decoded::Packet(packet)) = decode(Magic::Response, &bytes) else {
                return Err(TestCaseError::fail("expected a packet"));
            };
            prop_assert_eq!(packet.command, command);
            prop_assert_eq!(packet.bytes() + more.len(), bytes.len());
            if count > 0 {
                prop_assert_eq!(packet.arguments().collect::<Vec<_>>(), arguments);
            }
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(Magic::Response, &bytes);
            let with_magic = [b"\0RES\0\0\0", &bytes[..]].concat();
            let _ = decode(Magic::Response, &with_magic);
        }
    }
}
