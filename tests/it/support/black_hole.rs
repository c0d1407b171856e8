//! A place that swallows whoever wants to connect.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use nix::sys::socket::{Backlog, listen};

/// More connections than the kernel lets wait in a backlog of one.
const PLENTY: usize = 100;

/// A socket that listens with a backlog that is full: the kernel drops what asks to connect, as a
/// firewall does.
#[derive(Debug)]
pub(crate) struct BlackHole {
    listener: TcpListener,
    _backlog: Vec<TcpStream>,
}

impl BlackHole {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        // std asks for a long backlog; listening again shortens it.
        let shortest = Backlog::new(1).expect("a backlog of one");
        listen(&listener, shortest).expect("a socket that listens already");
        let mut hole = Self {
            listener,
            _backlog: Vec::new(),
        };
        let patience = Duration::from_millis(200);
        while let Ok(stream) = TcpStream::connect_timeout(&hole.address(), patience) {
            hole._backlog.push(stream);
            assert!(hole._backlog.len() < PLENTY, "the backlog does not fill");
        }
        hole
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound socket")
    }
}
