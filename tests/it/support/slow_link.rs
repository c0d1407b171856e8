//! A link of little bandwidth between the library and a job server.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

/// How much passes at a time.
const CHUNK_BYTES: usize = 16 * 1024;

/// A proxy on a free port; it forwards to one job server until the test process ends, requests at a
/// bounded rate.
#[derive(Debug)]
pub(crate) struct SlowLink {
    address: SocketAddr,
}

impl SlowLink {
    pub(crate) fn start(backend_port: u16, bytes_per_second: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        // What a real link has no room for must not disappear into this end's buffer.
        setsockopt(&listener, sockopt::RcvBuf, &CHUNK_BYTES).expect("a small buffer");
        let address = listener.local_addr().expect("a bound socket");
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                thread::spawn(move || connect(client, backend_port, bytes_per_second));
            }
        });
        Self { address }
    }

    /// `127.0.0.1:port`, as `gman_servers_set` takes it.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }
}

fn connect(client: TcpStream, backend_port: u16, bytes_per_second: usize) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, backend_port))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let answers = {
        let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
        thread::spawn(move || io::copy(&mut from, &mut to))
    };
    let outcome = forward(&client, &server, bytes_per_second);
    // The other direction ends with this one; it may have ended before.
    let _ = server.shutdown(Shutdown::Both);
    let _ = client.shutdown(Shutdown::Both);
    let _ = answers.join();
    outcome
}

fn forward(mut from: &TcpStream, mut to: &TcpStream, bytes_per_second: usize) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut free = Instant::now();
    loop {
        let count = from.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        // The link is busy for as long as these bytes take.
        free = free.max(Instant::now())
            + Duration::from_secs_f64(count as f64 / bytes_per_second as f64);
        thread::sleep(free.saturating_duration_since(Instant::now()));
        to.write_all(&chunk[..count])?;
    }
}
