//! One TCP socket: how it is connected, and what it does without waiting.

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use libc::linger;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, connect, recv, sendmsg,
    setsockopt, socket, sockopt,
};
use nix::{setsockopt_impl, sockopt_impl};

/// How long a read waits by itself, which saves the `poll` before it: one of four system calls for
/// each job. Shorter than the slices in which a call that can be stopped waits, because the kernel
/// rounds up by some milliseconds.
pub(crate) const READ_PATIENCE: Duration = Duration::from_millis(40);

/// How much a socket takes that the network has not asked for yet. With the kernel's default, which
/// is megabytes, a large request is taken long before it has left, and nothing tells whether it moves.
const UNSENT_BYTES: u32 = 64 * 1024;

sockopt_impl!(
    /// `TCP_NOTSENT_LOWAT` of tcp(7).
    UnsentBytes,
    SetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_NOTSENT_LOWAT,
    u32
);

/// Whether a read may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// For [`READ_PATIENCE`].
    Some,
    /// Not at all.
    None,
}

/// A socket.
#[derive(Debug)]
pub(crate) struct Socket(TcpStream);

impl Socket {
    /// One that is being connected: ready for writing once it is.
    pub(crate) fn begin_connect(address: SocketAddr) -> io::Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::Inet,
            SocketAddr::V6(_) => AddressFamily::Inet6,
        };
        let socket = socket(
            family,
            SockType::Stream,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        setsockopt(&socket, sockopt::TcpNoDelay, &true)?;
        setsockopt(&socket, UnsentBytes, &UNSENT_BYTES)?;
        match connect(socket.as_raw_fd(), &SockaddrStorage::from(address)) {
            Ok(()) | Err(Errno::EINPROGRESS | Errno::EINTR) => Ok(Self(TcpStream::from(socket))),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether the connection that `poll` reports as ready has come about.
    pub(crate) fn finish_connect(&self) -> io::Result<()> {
        if let Some(error) = self.0.take_error()? {
            return Err(error);
        }
        // A port that the system hands out as our own end can be the very port we connect to, when
        // nobody listens there: then TCP connects the socket to itself.
        if self.0.local_addr()? == self.0.peer_addr()? {
            return Err(io::Error::from_raw_os_error(Errno::ECONNREFUSED as i32));
        }
        self.0.set_nonblocking(false)?;
        self.0.set_read_timeout(Some(READ_PATIENCE))
    }

    /// Reads what is there; 0 is the end.
    pub(crate) fn read(&self, room: &mut [u8], patience: Patience) -> io::Result<usize> {
        let flags = match patience {
            Patience::Some => MsgFlags::empty(),
            Patience::None => MsgFlags::MSG_DONTWAIT,
        };
        Ok(recv(self.0.as_raw_fd(), room, flags)?)
    }

    /// Writes as much as the socket takes, all parts in one system call; without `MSG_NOSIGNAL` a server
    /// that hung up would be a SIGPIPE for the process we live in.
    pub(crate) fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(sendmsg::<SockaddrStorage>(
            self.0.as_raw_fd(),
            parts,
            &[],
            MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT,
            None,
        )?)
    }

    /// Nothing has arrived, not even the end.
    pub(crate) fn is_quiet(&self) -> bool {
        let at_once = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(self.0.as_raw_fd(), &mut [0], at_once) == Err(Errno::EAGAIN)
    }

    /// Dropped from now on, it is reset instead of a farewell: that leaves no local port in TIME_WAIT, of
    /// which a server that keeps failing would collect thousands. If this fails, one is left.
    pub(crate) fn reset_when_dropped(&self) {
        let at_once = linger {
            l_onoff: 1,
            l_linger: 0,
        };
        let _ = setsockopt(&self.0, sockopt::Linger, &at_once);
    }

    /// The peer finds the end behind what was written. If this fails, the peer has gone.
    pub(crate) fn end_writing(&self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// Our end of the connection.
    #[cfg(test)]
    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
