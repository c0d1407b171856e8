//! What a connection reads from and writes to: a socket, or a TLS session over one.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};

use crate::gearman::wire::failure::Failure;
use crate::gearman::wire::receive_buffer::ReceiveBuffer;
use crate::gearman::wire::socket::{Patience, Socket};
use crate::gearman::wire::tls::session::Session;

/// A stream of bytes to a job server and back. Nothing here waits, but for a read that may.
#[derive(Debug)]
pub(crate) enum Stream {
    /// As it is.
    Plain(Socket),
    /// Encrypted, with a peer that has shown who it is.
    Tls(Box<Session>),
}

impl Stream {
    /// Reads what is there into `received`, about `wanted` bytes.
    pub(crate) fn read(
        &mut self,
        received: &mut ReceiveBuffer,
        wanted: usize,
        patience: Patience,
    ) -> Result<(), Failure> {
        match self {
            Self::Plain(socket) => {
                let room = received.room(wanted).map_err(Failure::Own)?;
                let count = socket.read(room, patience)?;
                received.filled(count);
                match count {
                    0 => Err(Failure::closed()),
                    _ => Ok(()),
                }
            }
            Self::Tls(session) => session.read(received, patience),
        }
    }

    /// Writes as much of both parts as the network takes, and returns how much that is. What it did not
    /// take is to come first in the next call: TLS may have encrypted it already.
    pub(crate) fn write(&mut self, head: &[u8], tail: &[u8]) -> Result<usize, Failure> {
        let parts = [IoSlice::new(head), IoSlice::new(tail)];
        match self {
            Self::Plain(socket) => Ok(socket.write(&parts)?),
            Self::Tls(session) => session.write(&parts),
        }
    }

    /// Whether nothing has arrived for us, not even the end. What has goes to `received`, if TLS had to
    /// look into it: a server hands out session tickets when it likes.
    pub(crate) fn is_quiet(&mut self, received: &mut ReceiveBuffer) -> bool {
        match self {
            Self::Plain(socket) => socket.is_quiet(),
            Self::Tls(session) => session.is_quiet(received),
        }
    }

    /// The socket itself.
    pub(crate) fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(session) => session.socket(),
        }
    }

    /// Tells the peer that this end was meant.
    pub(crate) fn say_goodbye(&mut self) {
        match self {
            Self::Plain(_) => {}
            Self::Tls(session) => session.say_goodbye(),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}
