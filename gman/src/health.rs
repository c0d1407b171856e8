//! `gman health`: whether a worker or a relay is well, for whoever starts and stops it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use clap::Args;

use crate::error::{Error, Result};

/// What a healthy process answers is a line; a problem is a line each.
const MAX_ANSWER_BYTES: u64 = 16 * 1024;

/// Ask a worker or a relay whether it is well
///
/// Asks for /healthz at the address of its --metrics. A container's health check can run it: the image
/// needs no shell and no other program.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The address that --metrics was given
    #[arg(default_value = "127.0.0.1:9470")]
    address: SocketAddr,

    /// How long to wait for the answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: u64,
}

/// Succeeds if the process says that it is well.
pub(crate) fn run(options: &Options) -> Result {
    let Options {
        address,
        timeout_ms,
    } = options;
    let answer = ask(*address, Duration::from_millis(*timeout_ms)).map_err(|error| {
        Error::failed(format!(
            "{address} does not answer: {error}; is it the address of --metrics?"
        ))
    })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split_whitespace().nth(1) {
        Some("200") => Ok(()),
        Some("503") => Err(Error::failed(format!("not well: {}", body.trim_end()))),
        _ => Err(Error::failed(format!(
            "{address} is no worker or relay of gman: it has no /healthz"
        ))),
    }
}

/// The answer to a GET of HTTP/1.0, after which the server closes the connection.
fn ask(address: SocketAddr, timeout: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    write!(stream, "GET /healthz HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
