//! What fuzzers reach of the worker: a job server's bytes as jobs, and jobs as commands for Redis.

use super::format::{Format, Mode, rows};
use super::inbox::{Inbox, Item};

/// The longest workload that [`read`] lets through.
pub const MAX_WORKLOAD: usize = 256;

/// The keys of [`commands`] begin so.
pub const PREFIX: &str = "p:";

/// What a worker found in the bytes of a job server.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A packet: its name and its arguments.
    Packet(&'static str, Vec<Vec<u8>>),
    /// A job whose workload is not read: its handle, its function, and how long its workload is.
    TooLarge(Vec<u8>, Vec<u8>, usize),
    /// The connection is given up.
    Refusal,
}

/// What a worker finds in `stream` if it comes in pieces of `piece` bytes; and how many bytes waited at most.
pub fn read(stream: &[u8], piece: usize) -> (Vec<Found>, usize) {
    let mut inbox = Inbox::new(MAX_WORKLOAD);
    let (mut found, mut most) = (Vec::new(), 0);
    for piece in stream.chunks(piece.max(1)) {
        let bytes = inbox.bytes();
        most = most.max(bytes.len());
        bytes.extend_from_slice(piece);
        loop {
            found.push(match inbox.next() {
                Ok(None) => break,
                Ok(Some(Item::Packet(packet))) => Found::Packet(
                    packet.command.name(),
                    packet.arguments().map(<[u8]>::to_vec).collect(),
                ),
                Ok(Some(Item::TooLarge(job))) => {
                    Found::TooLarge(job.handle, job.function, job.bytes)
                }
                Err(_) => {
                    found.push(Found::Refusal);
                    return (found, most);
                }
            });
        }
    }
    (found, most)
}

/// How a job is read.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Whether the job names its key.
    pub is_keyed: bool,
    /// `json` instead of `hash`.
    pub as_json: bool,
    /// Whether the member `v` is a version.
    pub has_version: bool,
    /// Whether a node of a cluster takes it by way of exception.
    pub is_asking: bool,
}

/// For each row of a workload, the commands that a worker sends to Redis; or what it says is wrong.
pub fn commands(workload: &[u8], reading: Reading) -> Vec<Result<Vec<u8>, String>> {
    let mode = if reading.as_json {
        Mode::Json
    } else {
        Mode::Hash
    };
    let mut format = Format::new(mode, PREFIX);
    format.version_field = reading.has_version.then(|| "v".into());
    let rows = match rows(workload) {
        Ok(rows) => rows,
        Err(problem) => return vec![Err(problem)],
    };
    let pack = |row: &[u8]| {
        let task = match reading.is_keyed {
            true => format.keyed_row(row),
            false => format.row(row),
        }?;
        let (asking, mut packed, mut is_known) = (reading.is_asking, Vec::new(), false);
        task.change.pack(&mut packed, asking, &mut is_known);
        for lookup in &task.lookups {
            lookup.pack(&mut packed, asking, &mut is_known);
        }
        Ok(packed)
    };
    rows.into_iter().map(pack).collect()
}
