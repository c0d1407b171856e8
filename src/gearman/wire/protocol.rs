//! What is said on a connection, and what may be answered.
//!
//! A connection is marked as answered only after the expected answer; otherwise it is of no further use.

use std::sync::Arc;

use crate::error::Error;
use crate::gearman::wire::connection::Connection;
use crate::gearman::wire::deadline::Deadline;
use crate::gearman::wire::job::{Job, Mode};
use crate::gearman::wire::packet::{self, Command, MAX_DATA_BYTES, Magic};
use crate::memory;

/// The option that makes the job server hand on `WORK_EXCEPTION`, for as long as the connection lasts.
const EXCEPTIONS: &[u8] = b"exceptions";

/// What `WORK_FAIL` means; it says no more than that.
pub(crate) const WORKER_FAILED: &str = "the worker failed (WORK_FAIL)";

/// What an echo carries.
const ECHO: &[u8] = b"gman";

/// The longest answer that is waited for where no worker's result can come.
const LONGEST_WORD: usize = packet::MAX_ERROR_BYTES;

/// The longest answer that is waited for where one can.
const LONGEST_RESULT: usize = packet::MAX_BODY_BYTES;

/// How much of an answer goes into a message, in bytes.
const SHOWN_BYTES: usize = 300;

/// What a job server says about a foreground job, on behalf of its worker.
pub(crate) enum Reply<'a> {
    /// The job has been queued.
    Created,
    /// The job is under way.
    Progress,
    /// A part of the result of the job with this handle.
    Data(&'a [u8], &'a [u8]),
    /// The last part.
    Complete(&'a [u8], &'a [u8]),
    /// The worker gave up on the job with this handle.
    Failed(&'a [u8]),
}

/// Sends `job`, and does not wait.
pub(crate) fn send(
    connection: &mut Connection,
    job: &Job<'_>,
    deadline: &Deadline<'_>,
) -> Result<(), Error> {
    connection.send(|head| job.encode_head(head), job.workload(), deadline)
}

/// Submits `job`; returns its handle. After a foreground job its result is an open question.
pub(crate) fn submit(
    connection: &mut Connection,
    job: &Job<'_>,
    deadline: &Deadline<'_>,
) -> Result<Vec<u8>, Error> {
    send(connection, job, deadline)?;
    let packet = connection.receive(LONGEST_WORD, deadline)?;
    let handle = packet.argument(0).to_vec();
    if packet.command != Command::JobCreated || handle.is_empty() {
        return Err(surprise(connection, "JOB_CREATED with a handle", deadline));
    }
    match job.mode() {
        Mode::Foreground(_) => {}
        Mode::Background(_) | Mode::Epoch(_) => connection.mark_answered(),
    }
    Ok(handle)
}

/// What a job server said to a background job.
#[derive(Debug)]
pub(crate) enum Acknowledgement {
    /// It has the job.
    Created,
    /// It does not want the job.
    Refused(Error),
}

/// The next answer to a background job, if it has arrived.
pub(crate) fn next_acknowledgement(
    connection: &mut Connection,
    deadline: &Deadline<'_>,
) -> Result<Option<Acknowledgement>, Error> {
    match connection.receive_now(LONGEST_WORD, deadline)?.is_some() {
        true => understood(connection, deadline).map(Some),
        false => Ok(None),
    }
}

/// Waits for the next answer to a background job.
pub(crate) fn acknowledgement(
    connection: &mut Connection,
    deadline: &Deadline<'_>,
) -> Result<Acknowledgement, Error> {
    connection.receive(LONGEST_WORD, deadline)?;
    understood(connection, deadline)
}

/// What the packet that was received last says about a background job.
fn understood(connection: &Connection, deadline: &Deadline<'_>) -> Result<Acknowledgement, Error> {
    if connection.packet().command == Command::JobCreated {
        return Ok(Acknowledgement::Created);
    }
    match surprise(connection, "JOB_CREATED", deadline) {
        refused @ Error::Refused { .. } => Ok(Acknowledgement::Refused(refused)),
        error => Err(error),
    }
}

/// Asks once for the text of exceptions; without it they arrive as plain failures.
pub(crate) fn forward_exceptions(
    connection: &mut Connection,
    deadline: &Deadline<'_>,
) -> Result<(), Error> {
    if connection.forwards_exceptions {
        return Ok(());
    }
    let request = |out: &mut Vec<u8>| {
        packet::encode(out, Magic::Request, Command::OptionReq, &[EXCEPTIONS]);
    };
    connection.send(request, b"", deadline)?;
    if connection.receive(LONGEST_WORD, deadline)?.command != Command::OptionRes {
        return Err(surprise(connection, "OPTION_RES", deadline));
    }
    connection.forwards_exceptions = true;
    connection.mark_answered();
    Ok(())
}

/// Waits for the result of the foreground job `handle`, which may come in parts.
pub(crate) fn result(
    connection: &mut Connection,
    handle: &[u8],
    deadline: &Deadline<'_>,
) -> Result<Vec<u8>, Error> {
    let mut result = Vec::new();
    loop {
        match reply(connection, deadline)? {
            Reply::Progress => {}
            Reply::Data(of, data) if of == handle && fits(result.len(), data) => {
                memory::append(&mut result, data)?;
            }
            Reply::Complete(of, data) if of == handle && fits(result.len(), data) => {
                memory::append(&mut result, data)?;
                connection.mark_answered();
                return Ok(result);
            }
            Reply::Failed(of) if of == handle => {
                connection.mark_answered();
                return Err(failed(connection, WORKER_FAILED.to_owned(), deadline));
            }
            Reply::Created | Reply::Data(..) | Reply::Complete(..) | Reply::Failed(_) => {
                return Err(unexpected_result(connection, deadline));
            }
        }
    }
}

/// The error of a result that is larger than any can be, or of another job.
pub(crate) fn unexpected_result(connection: &Connection, deadline: &Deadline<'_>) -> Error {
    let expected = "a result of at most 1 GiB of a job that was submitted";
    surprise(connection, expected, deadline)
}

/// Whether results that have so many bytes already may have one more part.
pub(crate) fn fits(bytes: usize, part: &[u8]) -> bool {
    bytes + part.len() <= MAX_DATA_BYTES
}

/// What has arrived about one of many foreground jobs whose results are of no interest.
#[derive(Debug)]
pub(crate) enum Word {
    /// The answer to the next submission: the job's handle.
    Created(Vec<u8>),
    /// The answer to the next submission: the job server does not want the job.
    Refused(Error),
    /// A worker has done the job with this handle.
    Done(Vec<u8>),
    /// A worker gave up on the job with this handle, and said why if it threw an exception.
    Failed(Vec<u8>, String),
    /// Something that settles nothing.
    Other,
}

/// The next word about the foreground jobs of this connection, if it has arrived.
pub(crate) fn next_word(
    connection: &mut Connection,
    deadline: &Deadline<'_>,
) -> Result<Option<Word>, Error> {
    let Some(packet) = connection.receive_now(LONGEST_RESULT, deadline)? else {
        return Ok(None);
    };
    let handle = packet.argument(0).to_vec();
    Ok(Some(match packet.command {
        Command::JobCreated => Word::Created(handle),
        Command::WorkComplete => Word::Done(handle),
        Command::WorkFail => Word::Failed(handle, WORKER_FAILED.to_owned()),
        Command::WorkException => Word::Failed(handle, thrown(packet.argument(1))),
        Command::WorkData | Command::WorkStatus | Command::WorkWarning | Command::EchoRes => {
            Word::Other
        }
        _ => match surprise(connection, "WORK_COMPLETE", deadline) {
            refused @ Error::Refused { .. } => Word::Refused(refused),
            error => return Err(error),
        },
    }))
}

/// What a worker said with an exception.
fn thrown(text: &[u8]) -> String {
    format!("the worker threw an exception: {}", shown(text))
}

/// Waits for the next word about any foreground job of this connection.
///
/// An exception is an error, and leaves the connection unanswered: `WORK_FAIL` follows it or not,
/// which is the worker's library's to decide.
pub(crate) fn reply<'c>(
    connection: &'c mut Connection,
    deadline: &Deadline<'_>,
) -> Result<Reply<'c>, Error> {
    // Asked for its command first and lent afterwards: what is lent cannot be given up.
    match connection.receive(LONGEST_RESULT, deadline)?.command {
        Command::JobCreated => Ok(Reply::Created),
        Command::WorkStatus | Command::WorkWarning => Ok(Reply::Progress),
        Command::WorkData => {
            let packet = connection.packet();
            Ok(Reply::Data(packet.argument(0), packet.argument(1)))
        }
        Command::WorkComplete => {
            let packet = connection.packet();
            Ok(Reply::Complete(packet.argument(0), packet.argument(1)))
        }
        Command::WorkFail => Ok(Reply::Failed(connection.packet().argument(0))),
        Command::WorkException => {
            let problem = thrown(connection.packet().argument(1));
            Err(failed(connection, problem, deadline))
        }
        _ => Err(surprise(connection, "WORK_COMPLETE", deadline)),
    }
}

/// Asks for an answer that has nothing to do with a job.
pub(crate) fn ask_for_echo(
    connection: &mut Connection,
    deadline: &Deadline<'_>,
) -> Result<(), Error> {
    let request =
        |out: &mut Vec<u8>| packet::encode(out, Magic::Request, Command::EchoReq, &[ECHO]);
    connection.send(request, b"", deadline)
}

/// Sends a few bytes there and back.
pub(crate) fn echo(connection: &mut Connection, deadline: &Deadline<'_>) -> Result<(), Error> {
    ask_for_echo(connection, deadline)?;
    let packet = connection.receive(LONGEST_WORD, deadline)?;
    if (packet.command, packet.argument(0)) != (Command::EchoRes, ECHO) {
        return Err(surprise(
            connection,
            "ECHO_RES with what was sent",
            deadline,
        ));
    }
    connection.mark_answered();
    Ok(())
}

/// Asks for the version, with the admin command `version` of gearmand.
pub(crate) fn version(
    connection: &mut Connection,
    deadline: &Deadline<'_>,
) -> Result<String, Error> {
    connection.send(|_| {}, b"version\n", deadline)?;
    let line = connection.receive_line(deadline)?;
    Ok(shown(line.strip_prefix(b"OK ").unwrap_or(line)))
}

/// The jobs of one Gearman function that a job server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// The Gearman function.
    pub function: String,
    /// Jobs that are not finished, the running ones included.
    pub jobs: u64,
    /// Jobs that a worker has.
    pub running: u64,
    /// Workers that can do the function.
    pub workers: u64,
}

/// Asks for the queues, with the admin command `status` of gearmand; returns the `most` deepest that
/// have jobs, the deepest first. What is no line of that command is passed over.
pub(crate) fn queues(
    connection: &mut Connection,
    most: usize,
    deadline: &Deadline<'_>,
) -> Result<Vec<Queue>, Error> {
    connection.send(|_| {}, b"status\n", deadline)?;
    let mut queues: Vec<Queue> = Vec::new();
    loop {
        let line = connection.receive_line(deadline)?;
        if line == b"." {
            break;
        }
        if let Some(queue) = queue(line).filter(|queue| queue.jobs > 0) {
            memory::push(&mut queues, queue)?;
        }
        if queues.len() > 2 * most {
            keep_deepest(&mut queues, most);
        }
    }
    keep_deepest(&mut queues, most);
    Ok(queues)
}

fn keep_deepest(queues: &mut Vec<Queue>, most: usize) {
    queues.sort_by_key(|queue| std::cmp::Reverse(queue.jobs));
    queues.truncate(most);
}

/// A line of `status`: `function`, jobs, running and workers between tabs.
fn queue(line: &[u8]) -> Option<Queue> {
    let mut fields = line.rsplitn(4, |&byte| byte == b'\t');
    let mut number = || str::from_utf8(fields.next()?).ok()?.parse().ok();
    let (workers, running, jobs) = (number()?, number()?, number()?);
    Some(Queue {
        function: shown(fields.next()?),
        jobs,
        running,
        workers,
    })
}

/// The error of a packet that is not the expected one: the server's own word if it gave one.
fn surprise(connection: &Connection, expected: &str, deadline: &Deadline<'_>) -> Error {
    let packet = connection.packet();
    let server = Arc::clone(connection.server());
    let elapsed = deadline.elapsed();
    match packet.command {
        Command::Error => Error::Refused {
            server,
            answer: format!(
                "{} {}",
                shown(packet.argument(0)),
                shown(packet.argument(1))
            ),
            elapsed,
        },
        other => Error::Protocol {
            server,
            problem: format!("expected {expected}, found {other}"),
            elapsed,
        },
    }
}

/// The error of a job that ended without a usable result.
pub(crate) fn failed(connection: &Connection, problem: String, deadline: &Deadline<'_>) -> Error {
    Error::Job {
        server: Arc::clone(connection.server()),
        problem,
        elapsed: deadline.elapsed(),
    }
}

/// What a peer said, for a message: not too long, and text if it is text.
pub(crate) fn shown(said: &[u8]) -> String {
    let cut = &said[..said.len().min(SHOWN_BYTES)];
    let more = if cut.len() < said.len() { "..." } else { "" };
    format!("{}{more}", String::from_utf8_lossy(cut).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_status_is_a_queue_and_nothing_else_is() {
        let named = queue(b"a\tname\t12\t1\t2").unwrap();
        assert_eq!(named.function, "a\tname");
        assert_eq!((named.jobs, named.running, named.workers), (12, 1, 2));
        for line in [&b""[..], b"f", b"1\t2\t3", b"f\t-1\t0\t0", b"f\t1\t0\tmany"] {
            assert_eq!(queue(line), None, "{}", shown(line));
        }
    }

    #[test]
    fn only_the_deepest_queues_are_kept() {
        let mut queues: Vec<Queue> = (1..=5)
            .map(|jobs| Queue {
                function: String::new(),
                jobs,
                running: 0,
                workers: 0,
            })
            .collect();
        keep_deepest(&mut queues, 2);
        let jobs: Vec<u64> = queues.iter().map(|queue| queue.jobs).collect();
        assert_eq!(jobs, [5, 4]);
    }
}
