//! A wire between the library and a job server that understands nothing of what passes: it delays bytes, holds
//! them up, and breaks in the middle of them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// How often a stopped direction looks whether it may go on.
const LOOK: Duration = Duration::from_millis(5);

/// A wire on a free port; it forwards to one server until the test process ends.
#[derive(Debug)]
pub(crate) struct Wire {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// How the server's bytes pass. Those to the server always pass as fast as they can: stunnel takes a record
/// in many pieces for a mistake of its own, and gives the connection up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// At most so many at once.
    pub(crate) bytes: usize,
    /// With such a pause between them.
    pub(crate) pause: Duration,
}

impl Pace {
    const FASTEST: Self = Self {
        bytes: 64 * 1024,
        pause: Duration::ZERO,
    };
}

#[derive(Debug)]
struct Shared {
    backend: SocketAddr,
    pace: Pace,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    cut: bool,
    open: Vec<TcpStream>,
}

impl Wire {
    pub(crate) fn start(backend_port: u16) -> Self {
        Self::start_at(Pace::FASTEST, backend_port)
    }

    pub(crate) fn start_at(pace: Pace, backend_port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared {
            backend: (Ipv4Addr::LOCALHOST, backend_port).into(),
            pace,
            state: Mutex::default(),
        });
        let forwarding = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&forwarding);
                thread::spawn(move || shared.connect(&client));
            }
        });
        Self { address, shared }
    }

    /// `127.0.0.1:port`, as `gman_servers_set` takes it.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Nothing passes any more, and nobody is told: connections stay open.
    pub(crate) fn cut(&self) {
        self.shared.lock().cut = true;
    }

    /// Everything passes again.
    pub(crate) fn mend(&self) {
        self.shared.lock().cut = false;
    }

    /// Ends every connection, wherever the bytes are; returns how many there were.
    pub(crate) fn end_connections(&self) -> usize {
        let open = std::mem::take(&mut self.shared.lock().open);
        for connection in &open {
            // It may have ended by itself.
            let _ = connection.shutdown(Shutdown::Both);
        }
        open.len()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with it held")
    }

    fn connect(self: Arc<Self>, client: &TcpStream) -> io::Result<()> {
        self.pass();
        let server = TcpStream::connect(self.backend)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        self.lock().open.push(client.try_clone()?);
        let answers = {
            let (from, to, shared) = (server.try_clone()?, client.try_clone()?, Arc::clone(&self));
            thread::spawn(move || shared.forward(&from, &to, shared.pace))
        };
        self.forward(client, &server, Pace::FASTEST);
        let _ = answers.join();
        Ok(())
    }

    /// Until one end goes; then the other goes too.
    fn forward(&self, mut from: &TcpStream, mut to: &TcpStream, pace: Pace) {
        let mut piece = vec![0; pace.bytes];
        while let Ok(count @ 1..) = from.read(&mut piece) {
            self.pass();
            thread::sleep(pace.pause);
            if to.write_all(&piece[..count]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    /// Waits while the wire is cut.
    fn pass(&self) {
        while self.lock().cut {
            thread::sleep(LOOK);
        }
    }
}
