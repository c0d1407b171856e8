//! One address in front of several servers, as a proxy or a floating address is.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

/// Forwards to one server at a time until the test process ends.
#[derive(Debug)]
pub(crate) struct Switch {
    address: SocketAddr,
    backend_port: Arc<AtomicU16>,
}

impl Switch {
    pub(crate) fn start(backend_port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let backend_port = Arc::new(AtomicU16::new(backend_port));
        let port = Arc::clone(&backend_port);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let port = port.load(Ordering::Relaxed);
                thread::spawn(move || connect(&client, port));
            }
        });
        Self {
            address,
            backend_port,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Leads new connections to another server; those that are open stay where they are.
    pub(crate) fn lead_to(&self, backend_port: u16) {
        self.backend_port.store(backend_port, Ordering::Relaxed);
    }
}

fn connect(client: &TcpStream, port: u16) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    thread::scope(|scope| {
        scope.spawn(|| forward(&server, client));
        forward(client, &server);
    });
    Ok(())
}

/// Copies until one side ends, and then ends the other.
fn forward(mut from: &TcpStream, mut to: &TcpStream) {
    // Whichever of the two is gone, the connection is.
    let _ = io::copy(&mut from, &mut to);
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
