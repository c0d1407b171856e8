//! What is said on a connection, and what may be answered.
//!
//! Anything else than the expected answer poisons the connection.

use std::sync::Arc;

use crate::error::Error;
use crate::gearman::connection::Connection;
use crate::gearman::deadline::Deadline;
use crate::gearman::job::Job;
use crate::gearman::packet::{self, Command, MAX_DATA_BYTES, Magic, Packet};

/// The option that makes the job server hand on `WORK_EXCEPTION`, for as long as the connection lasts.
const EXCEPTIONS: &[u8] = b"exceptions";

/// How much of an answer goes into a message, in bytes.
const SHOWN_BYTES: usize = 300;

/// Submits `job`; answers its handle.
pub(crate) fn submit(
    connection: &mut Connection,
    job: &Job<'_>,
    deadline: &Deadline<'_>,
) -> Result<Vec<u8>, Error> {
    connection.send(|head| job.encode_head(head), job.workload(), deadline)?;
    let packet = connection.receive(deadline)?;
    match (packet.command, packet.argument(0)) {
        (Command::JobCreated, handle) if !handle.is_empty() => Ok(handle.to_vec()),
        _ => {
            let surprise = surprise(&packet, "JOB_CREATED with a handle");
            Err(poisoned(connection, surprise, deadline))
        }
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
    let packet = connection.receive(deadline)?;
    if packet.command != Command::OptionRes {
        let surprise = surprise(&packet, "OPTION_RES");
        return Err(poisoned(connection, surprise, deadline));
    }
    connection.forwards_exceptions = true;
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
        let packet = connection.receive(deadline)?;
        let data = packet.argument(1);
        let answer = match packet.command {
            _ if packet.argument(0) != handle => {
                Answer::Surprise(surprise(&packet, "an answer to the job that was submitted"))
            }
            Command::WorkData | Command::WorkComplete
                if result.len() + data.len() > MAX_DATA_BYTES =>
            {
                Answer::Surprise(Surprise::Unexpected(format!(
                    "expected a result of at most {MAX_DATA_BYTES} bytes"
                )))
            }
            Command::WorkData => {
                result.extend_from_slice(data);
                continue;
            }
            Command::WorkComplete => {
                result.extend_from_slice(data);
                return Ok(result);
            }
            Command::WorkStatus | Command::WorkWarning => continue,
            Command::WorkFail => Answer::Failed("the worker failed (WORK_FAIL)".to_owned()),
            Command::WorkException => Answer::Threw(format!("the worker threw: {}", shown(data))),
            _ => Answer::Surprise(surprise(&packet, "WORK_DATA or WORK_COMPLETE")),
        };
        return Err(match answer {
            Answer::Failed(problem) => failed(connection, problem, deadline),
            Answer::Threw(problem) => {
                // WORK_FAIL may follow or not: nobody knows what the next call would read.
                connection.poison();
                failed(connection, problem, deadline)
            }
            Answer::Surprise(surprise) => poisoned(connection, surprise, deadline),
        });
    }
}

/// How a job can end without a result.
enum Answer {
    Failed(String),
    Threw(String),
    Surprise(Surprise),
}

/// A packet that is not the expected one.
enum Surprise {
    /// The server's own word for what is wrong.
    Refused(String),
    Unexpected(String),
}

fn surprise(packet: &Packet<'_>, expected: &str) -> Surprise {
    match packet.command {
        Command::Error => Surprise::Refused(format!(
            "{} {}",
            shown(packet.argument(0)),
            shown(packet.argument(1))
        )),
        other => Surprise::Unexpected(format!("expected {expected}, found {other}")),
    }
}

fn poisoned(connection: &mut Connection, surprise: Surprise, deadline: &Deadline<'_>) -> Error {
    connection.poison();
    let server = Arc::clone(connection.server());
    let elapsed = deadline.elapsed();
    match surprise {
        Surprise::Refused(answer) => Error::Refused {
            server,
            answer,
            elapsed,
        },
        Surprise::Unexpected(problem) => Error::Protocol {
            server,
            problem,
            elapsed,
        },
    }
}

fn failed(connection: &Connection, problem: String, deadline: &Deadline<'_>) -> Error {
    Error::Job {
        server: Arc::clone(connection.server()),
        problem,
        elapsed: deadline.elapsed(),
    }
}

/// What a peer said, for a message: not too long, and text where it is text.
pub(crate) fn shown(said: &[u8]) -> String {
    let cut = &said[..said.len().min(SHOWN_BYTES)];
    let more = if cut.len() < said.len() { "..." } else { "" };
    format!("{}{more}", String::from_utf8_lossy(cut).trim_end())
}
