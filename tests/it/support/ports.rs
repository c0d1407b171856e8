//! Free TCP ports on 127.0.0.1.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// The lowest port that is handed out: those below belong to well-known services.
const LOWEST: u16 = 15_000;

/// Where the kernel's ephemeral ports begin when it does not say.
const EPHEMERAL: u16 = 32_768;

/// How many ports this process has asked for.
static STEPS: AtomicU32 = AtomicU32::new(0);

/// A port that nobody else gets for as long as this value lives, also while no server listens on
/// it: a server can be stopped and started again on its port.
///
/// It lies below the kernel's ephemeral ports, so that no outgoing connection takes it, and is
/// claimed against other tests and test runs by an abstract socket that vanishes with its process.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _claim: UnixListener,
}

impl Port {
    /// Claims a port that nobody listens on or did a minute ago.
    pub(crate) fn free() -> Self {
        let end = first_ephemeral();
        let span = end - LOWEST;
        // Runs that go on at the same time begin their search at different places. A port is not
        // handed out twice in a row: what its last user's connections left behind in the kernel
        // would count as the next one's.
        let offset = process::id() + STEPS.fetch_add(1, Ordering::Relaxed);
        let offset = u16::try_from(offset % u32::from(span)).unwrap_or(0);
        (0..span)
            .map(|step| LOWEST + (offset + step) % span)
            .find_map(Self::claim)
            .unwrap_or_else(|| panic!("expected a free port from {LOWEST} to {end}"))
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    fn claim(number: u16) -> Option<Self> {
        let name = SocketAddr::from_abstract_name(format!("gman-test-port-{number}")).ok()?;
        let claim = UnixListener::bind_addr(&name).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        if has_recent_sockets(number) {
            return None;
        }
        Some(Self {
            number,
            _claim: claim,
        })
    }
}

/// Whether a connection to the port was closed within the last minute: it would be counted as one
/// of the server that is about to be started there.
fn has_recent_sockets(number: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let port = format!(":{number:04X} ");
    table.lines().skip(1).any(|line| line.contains(&port))
}

/// The first port that the kernel may give to an outgoing connection.
fn first_ephemeral() -> u16 {
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .filter(|&first| first > LOWEST)
        .unwrap_or(EPHEMERAL)
}
