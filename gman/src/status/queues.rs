//! What waits in the job servers: gearmand's admin command `status`.

use std::io;
use std::time::Duration;

use gearman_mysql_udf::gearman::servers::host_port::{self, HostPort};
use gearman_mysql_udf::gearman::wire::deadline::Deadline;
use gearman_mysql_udf::gearman::wire::protection::Protection;
use serde::Serialize;

use super::database::Database;
use crate::connections::connect_to_job_server;

/// How long a job server may take to connect, and to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How many lines are read at most: somebody else may listen on the port.
const MAX_LINES: usize = 10_000;

/// A job server, as this machine sees it.
#[derive(Debug, Serialize)]
pub(super) struct JobServer {
    pub(super) address: String,
    pub(super) queues: Vec<Queue>,
    /// Why its queues are not known.
    pub(super) error: Option<String>,
}

/// The jobs of one Gearman function.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Queue {
    pub(super) function: String,
    /// Those that are not finished.
    pub(super) jobs: u64,
    pub(super) running: u64,
    pub(super) workers: u64,
}

/// Asks the job servers that the database server names, or else `others`.
pub(super) fn read(
    database: &Database,
    others: &[HostPort],
    protection: &Protection,
) -> Vec<JobServer> {
    let named = database
        .checks
        .iter()
        .filter_map(|check| check.server.as_deref());
    let named: Vec<HostPort> = named.flat_map(host_port::parse).flatten().collect();
    let servers = match named.is_empty() {
        true => others,
        false => &named,
    };
    servers
        .iter()
        .map(|address| {
            let (queues, error) = match ask(address, protection) {
                Ok(queues) => (queues, None),
                Err(error) => (Vec::new(), Some(error.to_string())),
            };
            JobServer {
                address: address.to_string(),
                queues,
                error,
            }
        })
        .collect()
}

fn ask(address: &HostPort, protection: &Protection) -> io::Result<Vec<Queue>> {
    let mut connection = connect_to_job_server(address, protection, TIMEOUT)?;
    let deadline = Deadline::after(TIMEOUT);
    connection
        .send(|_| {}, b"status\n", &deadline)
        .map_err(io::Error::other)?;
    let mut queues = Vec::new();
    for _ in 0..MAX_LINES {
        let line = connection
            .receive_line(&deadline)
            .map_err(io::Error::other)?;
        let line = String::from_utf8_lossy(line);
        if line == "." {
            connection.mark_answered();
            return Ok(queues);
        }
        queues.push(queue(&line).ok_or_else(|| {
            io::Error::other("it does not answer the admin command status; is this gearmand?")
        })?);
    }
    Err(io::Error::other("it names too many functions"))
}

/// `function <tab> jobs <tab> running <tab> workers`
fn queue(line: &str) -> Option<Queue> {
    let mut columns = line.rsplitn(4, '\t');
    let mut number = || columns.next()?.parse().ok();
    let (workers, running, jobs) = (number()?, number()?, number()?);
    Some(Queue {
        function: columns.next()?.to_owned(),
        jobs,
        running,
        workers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_gearmand_is_read() {
        let expected = Queue {
            function: "a\tb".to_owned(),
            jobs: 3,
            running: 2,
            workers: 1,
        };
        assert_eq!(queue("a\tb\t3\t2\t1"), Some(expected));
        for line in ["", "a\t1\t2", "a\tx\t2\t3", "HTTP/1.1 400"] {
            assert_eq!(queue(line), None, "{line}");
        }
    }
}
