//! What a worker or a relay serves at its `--metrics`: one GET of HTTP/1.0, after which it closes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// The numbers of a worker have some kilobytes; somebody else may listen on the port.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// As HTTP has it; `None` from who does not speak it.
    pub(crate) status: Option<u16>,
    pub(crate) body: String,
}

/// Asks for `path`; connecting and the whole answer have as long as `timeout` each.
///
/// # Errors
///
/// If nobody answers.
pub(crate) fn get(server: impl ToSocketAddrs, path: &str, timeout: Duration) -> io::Result<Answer> {
    let mut stream = connect(server, timeout)?;
    stream.set_write_timeout(Some(timeout))?;
    // In one write: a peer that answers at its first bytes and closes would fail a second one.
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let until = Until {
        stream,
        deadline: Instant::now() + timeout,
    };
    until.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok(Answer {
        status: head
            .strip_prefix("HTTP/")
            .and_then(|head| head.split(' ').nth(1)?.parse().ok()),
        body: body.to_owned(),
    })
}

fn connect(server: impl ToSocketAddrs, timeout: Duration) -> io::Result<TcpStream> {
    let mut problem = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in server.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

/// A stream that is read until a deadline, however little comes at a time.
struct Until {
    stream: TcpStream,
    deadline: Instant,
}

impl Read for Until {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(
                ErrorKind::TimedOut,
                "it did not answer in time",
            ));
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(room).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => {
                io::Error::new(ErrorKind::TimedOut, "it did not answer in time")
            }
            _ => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use super::*;

    #[test]
    fn one_that_answers_before_it_read_everything_is_heard() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.expect("a client");
                let _ = client.read(&mut [0; 1024]);
                let _ = client.write_all(b"HTTP/1.0 404 Not Found\r\n\r\n");
            }
        });
        for _ in 0..200 {
            let answer = get(address, "/healthz", Duration::from_secs(10)).expect("an answer");
            assert_eq!(answer.status, Some(404));
        }
    }

    #[test]
    fn one_that_trickles_is_not_waited_for() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("a client");
            while client.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        });
        let error = get(address, "/", Duration::from_millis(200)).expect_err("no answer");
        assert_eq!(error.to_string(), "it did not answer in time");
    }
}
