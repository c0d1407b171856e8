//! What a worker reads from and writes to: a connection to a job server, plain or over TLS.
//!
//! One thread reads while others write, one of them at a time. A plain socket lets them: each system call
//! stands for itself. A TLS session is changed by both, so they take turns with it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gearman_mysql_udf::gearman::wire::connection::Connection as Wire;
use gearman_mysql_udf::gearman::wire::deadline::Deadline;

/// How long writing may take, and hearing a server out at the end.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How soon a reader that hears nothing looks whether to stop.
const TICK: Duration = Duration::from_millis(100);

/// How much is read at once.
const BULK_READ_BYTES: usize = 64 * 1024;

/// How the TLS record begins by which a server says that it did not understand us: an alert.
const TLS_ALERT: [u8; 2] = [21, 3];

/// What to do about a server that speaks TLS.
const TLS_REMEDY: &str = "if it speaks TLS, --gearmand-ca turns TLS on";

/// An open stream.
pub(super) struct Stream {
    /// The socket; with TLS the one below, for who waits, and for who ends what another waits for.
    socket: TcpStream,
    tls: Option<Mutex<Wire>>,
    /// The server has said something.
    heard: AtomicBool,
}

impl Stream {
    pub(super) fn new(mut wire: Wire) -> io::Result<Self> {
        let socket = TcpStream::from(wire.as_fd().try_clone_to_owned()?);
        socket.set_read_timeout(Some(TICK))?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        // Not to be reset when it ends: gearmand would not read what was written last.
        wire.mark_answered();
        Ok(Self {
            socket,
            tls: wire.is_encrypted().then(|| Mutex::new(wire)),
            heard: AtomicBool::new(false),
        })
    }

    /// Reads what has arrived to the end of `received`; nothing within [`TICK`] is nothing. What TLS has
    /// arrive for itself is nothing as well.
    pub(super) fn read(&self, received: &mut Vec<u8>) -> io::Result<usize> {
        match &self.tls {
            None => self.read_plain(received),
            Some(tls) => {
                // Waits without the lock, which a writer wants. What a writer has taken in meanwhile waits
                // for a tick at most.
                nothing_if_late(self.socket.peek(&mut [0]))?;
                lock(tls)
                    .take_arrived(received, &Deadline::after(TIMEOUT))
                    .map_err(io::Error::other)
            }
        }
    }

    fn read_plain(&self, received: &mut Vec<u8>) -> io::Result<usize> {
        let mut buffer = [0; BULK_READ_BYTES];
        let heard = self.heard.load(Ordering::Relaxed);
        let count = match (&self.socket).read(&mut buffer) {
            Ok(0) => Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "it closed the connection",
            )),
            read => nothing_if_late(read),
        };
        let count = count.map_err(|error| match heard {
            true => error,
            false => io::Error::new(
                error.kind(),
                format!("{error}, and it said nothing; {TLS_REMEDY}"),
            ),
        })?;
        let read = &buffer[..count];
        if !heard && read.starts_with(&TLS_ALERT) {
            let problem = format!("it does not answer as gearmand does; {TLS_REMEDY}");
            return Err(io::Error::new(ErrorKind::InvalidData, problem));
        }
        self.heard.store(heard || count > 0, Ordering::Relaxed);
        received.extend_from_slice(read);
        Ok(count)
    }

    /// Writes all of it. One thread at a time.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = &self.tls else {
            return (&self.socket).write_all(bytes);
        };
        let mut wire = lock(tls);
        let sent = wire.send(|_| {}, bytes, &Deadline::after(TIMEOUT));
        wire.mark_answered();
        sent.map_err(io::Error::other)
    }

    /// Ends the stream in order: with an answer unread, closing it would be a reset, which can overtake what
    /// was written last.
    pub(super) fn hang_up(&self) {
        match &self.tls {
            Some(tls) => lock(tls).end_requests(),
            // If this fails, the server has gone.
            None => drop(self.socket.shutdown(Shutdown::Write)),
        }
        let (began, mut rest) = (Instant::now(), Vec::new());
        while began.elapsed() < TIMEOUT && matches!(self.read(&mut rest), Ok(1..)) {
            rest.clear();
        }
    }

    /// Ends the stream for its reader, too.
    pub(super) fn shut_down(&self) {
        // If this fails, it has ended.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Nothing has come in time: that is no error.
fn nothing_if_late(read: io::Result<usize>) -> io::Result<usize> {
    match read {
        Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {
            Ok(0)
        }
        read => read,
    }
}

fn lock(wire: &Mutex<Wire>) -> MutexGuard<'_, Wire> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}
