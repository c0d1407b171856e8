//! Tells Prometheus how a process does, and whoever watches over it whether it can work.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::threads;

/// How long a client may take over its request, and over reading the answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The longest request, of which only the first line matters.
const MAX_REQUEST_BYTES: usize = 8 << 10;

/// The format of the text, as Prometheus calls it.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a process answers.
pub(crate) trait Watched: Send + 'static {
    /// Its numbers, as Prometheus reads them.
    fn numbers(&self) -> prometheus::Result<String>;

    /// A line for everything that is wrong.
    fn problems(&self) -> String;
}

/// Answers one client after the other, from now on.
///
/// # Errors
///
/// If nobody can listen there, or there is no thread for it.
pub(crate) fn serve_metrics(address: SocketAddr, watched: impl Watched) -> Result {
    let listener = TcpListener::bind(address).map_err(|error| {
        Error::failed(format!(
            "--metrics: cannot listen on {address}: {error}; choose another port"
        ))
    })?;
    threads::start(move || {
        for client in listener.incoming().flatten() {
            // Whoever has gone meanwhile does not need the answer.
            let _ = answer(client, &watched);
        }
    })?;
    Ok(())
}

fn answer(mut client: TcpStream, watched: &impl Watched) -> io::Result<()> {
    client.set_write_timeout(Some(TIMEOUT))?;
    let request = read(&mut client)?;
    let mut words = request.split(' ');
    let (method, path) = (words.next(), words.next().unwrap_or_default());
    let (status, text) = match (method, path.split('?').next()) {
        (Some("GET" | "HEAD"), Some("/metrics")) => match watched.numbers() {
            Ok(text) => ("200 OK", text),
            Err(error) => ("500 Internal Server Error", format!("{error}\n")),
        },
        (Some("GET" | "HEAD"), Some("/healthz")) => match watched.problems() {
            problems if problems.is_empty() => ("200 OK", "ok\n".to_owned()),
            problems => ("503 Service Unavailable", problems),
        },
        (Some("GET" | "HEAD"), _) => (
            "404 Not Found",
            "/metrics and /healthz are here\n".to_owned(),
        ),
        _ => ("405 Method Not Allowed", "GET is understood\n".to_owned()),
    };
    let body = if method == Some("HEAD") { "" } else { &text };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {TEXT}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        text.len()
    );
    client.write_all(answer.as_bytes())
}

/// The first line of a request; the rest is read too, as closing would otherwise reset the connection.
fn read(client: &mut TcpStream) -> io::Result<String> {
    let deadline = Instant::now() + TIMEOUT;
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") && request.len() < MAX_REQUEST_BYTES {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        client.set_read_timeout(Some(left))?;
        match client.read(&mut buffer)? {
            0 => break,
            count => request.extend_from_slice(&buffer[..count]),
        }
    }
    let request = String::from_utf8_lossy(&request);
    Ok(request.lines().next().unwrap_or_default().to_owned())
}
