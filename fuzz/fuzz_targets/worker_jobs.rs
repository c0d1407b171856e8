//! What a job server may send to `gman worker`, any bytes, and what workloads may ask it to do, any bytes:
//! nothing depends on how the bytes were cut into pieces, little waits in memory, and Redis gets nothing but
//! whole commands for keys of the worker's.

#![no_main]

use gearman_mysql_udf::gearman::wire::packet::{HEADER_BYTES, MAX_HANDLE_BYTES, MAX_NAME_BYTES};
use gman::fuzzing::worker::{Found, MAX_WORKLOAD, PREFIX, Reading, commands, read};
use libfuzzer_sys::fuzz_target;

/// What may wait of one packet: an `ERROR`, or a job whose workload is not too large.
const MAX_WAITING: usize = HEADER_BYTES + MAX_HANDLE_BYTES + MAX_NAME_BYTES + MAX_WORKLOAD + 2048;

/// What a worker asks Redis to do.
const COMMANDS: [&[u8]; 8] = [
    b"SET", b"DEL", b"HSET", b"HDEL", b"TYPE", b"EVAL", b"EVALSHA", b"PUBLISH",
];

/// What it puts around several commands that take effect at once.
const BRACKETS: [&[u8]; 2] = [b"MULTI", b"EXEC"];

fuzz_target!(|input: &[u8]| {
    let Some((&how, bytes)) = input.split_first() else {
        return;
    };
    stream(bytes);
    // The fuzzer should not have to find the first bytes of a job itself.
    stream(&[b"\0RES\0\0\0\x0b\0\0", bytes].concat());
    workload(
        bytes,
        Reading {
            is_keyed: how & 1 == 0,
            as_json: how & 2 == 0,
            has_version: how & 4 == 0,
            is_asking: how & 8 != 0,
        },
    );
});

fn stream(bytes: &[u8]) {
    let (whole, _) = read(bytes, bytes.len());
    for piece in [1, 13] {
        let (found, waiting) = read(bytes, piece);
        assert_eq!(found, whole);
        assert!(waiting <= MAX_WAITING + piece, "{waiting} bytes");
    }
    for found in whole {
        if let Found::Packet("JOB_ASSIGN", arguments) = found {
            assert!(arguments.len() == 3 && arguments[2].len() <= MAX_WORKLOAD);
        }
    }
}

fn workload(bytes: &[u8], reading: Reading) {
    for packed in commands(bytes, reading) {
        let packed = match packed {
            Ok(packed) => packed,
            Err(problem) => {
                assert!(!problem.is_empty());
                continue;
            }
        };
        let mut rest = packed.as_slice();
        while !rest.is_empty() {
            let (words, after) = command(rest).expect("a whole command");
            rest = after;
            if BRACKETS.contains(&words[0]) {
                assert_eq!(words.len(), 1);
                continue;
            }
            assert!(COMMANDS.contains(&words[0]), "{}", words[0].escape_ascii());
            let key = if words[0].starts_with(b"EVAL") { 3 } else { 1 };
            assert!(words[key].starts_with(PREFIX.as_bytes()));
            if words[0] == b"SET" && reading.as_json {
                is_what_was_sent(bytes, words[2]);
            }
        }
    }
}

/// The words of the command that `bytes` begin with, and what comes after it.
fn command(bytes: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let (count, mut rest) = number(bytes, b'*')?;
    let mut words = Vec::new();
    for _ in 0..count {
        let (length, after) = number(rest, b'$')?;
        words.push(after.get(..length)?);
        rest = after.get(length..)?.strip_prefix(b"\r\n")?;
    }
    (count > 0).then_some((words, rest))
}

fn number(bytes: &[u8], kind: u8) -> Option<(usize, &[u8])> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let digits = bytes[..end].strip_prefix(&[kind])?;
    Some((
        str::from_utf8(digits).ok()?.parse().ok()?,
        &bytes[end + 2..],
    ))
}

/// What Redis gets as JSON stands in the workload as it is. Names of rows, which lookups get, are none.
fn is_what_was_sent(workload: &[u8], sent: &[u8]) {
    let is_name = sent.starts_with(PREFIX.as_bytes());
    assert!(is_name || workload.windows(sent.len()).any(|part| part == sent));
}
