//! A TLS session over a socket. Like the socket it waits for nothing, but for a read that may.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;

use nix::poll::PollFlags;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::gearman::wire::failure::{Failure, is_not_yet};
use crate::gearman::wire::receive_buffer::ReceiveBuffer;
use crate::gearman::wire::socket::{Patience, Socket};

/// A session. What has arrived is decrypted at once, so that nothing readable stays in here, where
/// `poll` does not see it.
#[derive(Debug)]
pub(crate) struct Session {
    socket: Socket,
    tls: ClientConnection,
    /// Bytes of the caller's that are encrypted, and not yet reported as written: the caller passes them
    /// again, until their last byte has left.
    unreported: usize,
    /// What a look at what has arrived failed with: the next read says it.
    failure: Option<rustls::Error>,
    /// The peer has said goodbye.
    ended: bool,
}

impl Session {
    /// A session with a server that is expected to show a certificate for `name`; to be shaken hands on.
    pub(crate) fn new(
        socket: Socket,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            socket,
            tls: ClientConnection::new(config, name).map_err(Failure::Tls)?,
            unreported: 0,
            failure: None,
            ended: false,
        })
    }

    /// Goes on with the handshake; returns what to wait for, or `None` once it is done.
    pub(crate) fn shake_hands(&mut self) -> Result<Option<PollFlags>, Failure> {
        loop {
            if let Err(error) = self.flush()
                && !is_not_yet(&error)
            {
                return Err(self.reason_of(error));
            }
            if self.tls.wants_write() {
                return Ok(Some(PollFlags::POLLOUT));
            }
            if !self.tls.is_handshaking() {
                return Ok(None);
            }
            match self.take_in(Patience::None) {
                Err(failure) if failure.is_not_yet() => return Ok(Some(PollFlags::POLLIN)),
                taken => taken?,
            };
        }
    }

    pub(crate) fn read(
        &mut self,
        received: &mut ReceiveBuffer,
        patience: Patience,
    ) -> Result<(), Failure> {
        if let Some(failure) = &self.failure {
            return Err(Failure::Tls(failure.clone()));
        }
        if self.ended {
            return Err(Failure::closed());
        }
        let count = self.take_in(patience)?;
        if count > 0 {
            let room = received.room(count).map_err(Failure::Own)?;
            self.tls.reader().read_exact(&mut room[..count])?;
            received.filled(count);
        }
        Ok(())
    }

    /// Reads once from the socket; returns how many bytes can be read now.
    fn take_in(&mut self, patience: Patience) -> Result<usize, Failure> {
        let mut wire = Wire {
            socket: &self.socket,
            patience,
        };
        if self.tls.read_tls(&mut wire)? == 0 {
            return Err(Failure::closed());
        }
        match self.tls.process_new_packets() {
            Ok(state) => {
                self.ended = state.peer_has_closed();
                Ok(state.plaintext_bytes_to_read())
            }
            Err(error) => {
                // The alert that tells the peer why; without it nothing is worse.
                let _ = self.flush();
                Err(Failure::Tls(error))
            }
        }
    }

    /// As [`Stream::write`](crate::gearman::wire::stream::Stream::write).
    pub(crate) fn write(&mut self, parts: &[IoSlice<'_>]) -> Result<usize, Failure> {
        if self.unreported == 0 {
            self.unreported = self.tls.writer().write_vectored(parts)?;
        }
        let left = match self.flush() {
            Ok(left) => left,
            Err(error) => return Err(self.reason_of(error)),
        };
        // Encrypted bytes are more than plain ones; the last plain one is reported with the last of them.
        let written = match self.tls.wants_write() {
            false => self.unreported,
            true => left.min(self.unreported.saturating_sub(1)),
        };
        if written == 0 {
            return Err(io::Error::from(ErrorKind::WouldBlock).into());
        }
        self.unreported -= written;
        Ok(written)
    }

    /// Writes what is encrypted, as much as the socket takes; returns how much that is.
    fn flush(&mut self) -> io::Result<usize> {
        let mut left = 0;
        while self.tls.wants_write() {
            let mut wire = Wire {
                socket: &self.socket,
                patience: Patience::None,
            };
            match self.tls.write_tls(&mut wire) {
                Ok(count) => left += count,
                Err(error) if left > 0 && is_not_yet(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(left)
    }

    /// Why writing failed: a server that does not want us has said so before it hung up.
    fn reason_of(&mut self, error: io::Error) -> Failure {
        if is_not_yet(&error) {
            return Failure::Io(error);
        }
        match self.take_in(Patience::None) {
            Err(failure @ Failure::Tls(_)) => failure,
            _ => Failure::Io(error),
        }
    }

    pub(crate) fn is_quiet(&mut self, received: &mut ReceiveBuffer) -> bool {
        if self.ended || self.failure.is_some() {
            return false;
        }
        if self.socket.is_quiet() {
            return true;
        }
        let before = received.unread().len();
        match self.read(received, Patience::None) {
            Ok(()) => !self.ended && received.unread().len() == before,
            Err(failure) if failure.is_not_yet() => true,
            Err(Failure::Tls(error)) => {
                self.failure = Some(error);
                false
            }
            Err(_) => false,
        }
    }

    /// The socket below.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Tells the peer that this is the end; if the socket does not take it now, the peer will see.
    pub(crate) fn say_goodbye(&mut self) {
        self.tls.send_close_notify();
        let _ = self.flush();
    }
}

/// The socket as rustls wants it.
struct Wire<'a> {
    socket: &'a Socket,
    patience: Patience,
}

impl Read for Wire<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.socket.read(room, self.patience)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.write(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
