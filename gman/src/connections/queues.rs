//! How deep a job server's queues are: gearmand's admin command `status`.

use std::io;
use std::time::Duration;

use gearman_mysql_udf::gearman::servers::host_port::HostPort;
use gearman_mysql_udf::gearman::wire::deadline::Deadline;
use gearman_mysql_udf::gearman::wire::protection::Protection;
use serde::Serialize;

use super::gearmand::connect;

/// How many lines are read at most: somebody else may listen on the port.
const MAX_LINES: usize = 10_000;

/// The jobs of one Gearman function.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Queue {
    pub(crate) function: String,
    /// Those that are not finished.
    pub(crate) jobs: u64,
    pub(crate) running: u64,
    pub(crate) workers: u64,
}

/// Asks a job server, which has `timeout` to connect, and again to answer.
///
/// # Errors
///
/// Why its queues are not known.
pub(crate) fn queues(
    address: &HostPort,
    protection: &Protection,
    timeout: Duration,
) -> io::Result<Vec<Queue>> {
    let mut connection = connect(address, protection, timeout)?;
    let deadline = Deadline::after(timeout);
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
