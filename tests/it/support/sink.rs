//! A job server that takes every job and keeps none.
//!
//! It answers sooner than gearmand does and forgets at once, for tests that make millions of calls.

use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// `\0RES`, `JOB_CREATED` (8), and the length of the handle: gearmand's PROTOCOL document.
const JOB_CREATED: &[u8] = b"\0RES\0\0\0\x08\0\0\0\x03H:1";

/// Listens until the test process ends.
#[derive(Debug)]
pub(crate) struct Sink {
    address: SocketAddr,
    jobs: Arc<AtomicU64>,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap_or_else(|error| panic!("cannot listen: {error}"));
        let address = listener
            .local_addr()
            .unwrap_or_else(|error| panic!("a listener without an address: {error}"));
        let jobs = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&jobs);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counter = Arc::clone(&counter);
                thread::spawn(move || swallow(&stream, &counter));
            }
        });
        Self { address, jobs }
    }

    /// `127.0.0.1:port`, as `gman_servers_set` takes it.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// How many jobs it has taken.
    pub(crate) fn jobs(&self) -> u64 {
        self.jobs.load(Ordering::SeqCst)
    }
}

/// Takes jobs from one connection until the other end closes it.
fn swallow(mut stream: &TcpStream, jobs: &AtomicU64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = BufReader::new(stream);
    loop {
        let mut header = [0; 12];
        requests.read_exact(&mut header)?;
        let [.., a, b, c, d] = header;
        let length = u64::from(u32::from_be_bytes([a, b, c, d]));
        io::copy(&mut requests.by_ref().take(length), &mut io::sink())?;
        // Counted before it is answered, so that the count is there when the caller goes on.
        jobs.fetch_add(1, Ordering::SeqCst);
        stream.write_all(JOB_CREATED)?;
    }
}
