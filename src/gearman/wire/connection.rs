//! One socket to one job server. Every call takes a [`Deadline`].
//!
//! No call on the socket waits longer than the deadline says. An answer that comes soon is waited
//! for in the read itself, which gives up after [`READ_PATIENCE`]; all other waiting is `poll`'s.
//!
//! A connection that has sent anything is unanswered until its user says that the answer was the
//! expected one. An unanswered one is never used for another call: what arrives late could not be
//! told from that call's answer. After an error it is broken, and does nothing but fail.

use std::io::{self, ErrorKind, IoSlice};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use libc::linger;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, connect, recv, sendmsg,
    setsockopt, socket, sockopt,
};
use nix::{setsockopt_impl, sockopt_impl};

use crate::error::{Error, Phase};
use crate::gearman::wire::deadline::{Deadline, Spent};
use crate::gearman::wire::packet::{self, Command, Decoded, Magic, Packet};
use crate::gearman::wire::receive_buffer::ReceiveBuffer;
use crate::status::{self, One};

/// How long a read waits by itself, which saves the `poll` before it: one of four system calls for
/// each job. Shorter than the slices in which a call that can be stopped waits, because the kernel
/// rounds up by some milliseconds.
const READ_PATIENCE: Duration = Duration::from_millis(40);

/// How much is read at once if many answers may have come.
const BULK_READ_BYTES: usize = 16 * 1024;

/// Longest line of text that is read.
const MAX_LINE_BYTES: usize = 1024;

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

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    server: Arc<str>,
    socket: TcpStream,
    received: ReceiveBuffer,
    /// The beginning of a request; kept, so that a request allocates nothing.
    head: Vec<u8>,
    /// What the packet says that was taken from `received` last.
    last: Command,
    broken: bool,
    answered: bool,
    /// The job server has been asked to hand on exceptions, which it remembers per connection.
    pub(crate) forwards_exceptions: bool,
    _open: One,
}

impl Connection {
    /// Connects to `address`. `server` is the name that errors use.
    ///
    /// # Errors
    ///
    /// [`Error::Network`] in [`Phase::Connect`].
    pub fn open(
        server: &Arc<str>,
        address: SocketAddr,
        deadline: &Deadline<'_>,
    ) -> Result<Self, Error> {
        let fail = |source| network(server, Phase::Connect, deadline, source);
        let socket = begin_connect(address).map_err(|errno| fail(errno.into()))?;
        wait(
            &socket,
            PollFlags::POLLOUT,
            server,
            Phase::Connect,
            deadline,
        )?;
        finish_connect(&socket).map_err(fail)?;
        status::CONNECTIONS_OPENED.add(1);
        Ok(Self {
            server: Arc::clone(server),
            socket,
            received: ReceiveBuffer::default(),
            head: Vec::new(),
            last: Command::Noop,
            broken: false,
            answered: true,
            forwards_exceptions: false,
            _open: status::CONNECTIONS_OPEN.one(),
        })
    }

    /// Sends one request: the head that `encode` appends, then `tail`, which is not copied.
    ///
    /// # Errors
    ///
    /// [`Error::Network`] in [`Phase::Send`], [`Error::Stopped`], or [`Error::Protocol`] if the
    /// server talks out of turn.
    pub fn send(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>),
        tail: &[u8],
        deadline: &Deadline<'_>,
    ) -> Result<(), Error> {
        self.refuse_if_broken(Phase::Send, deadline)?;
        self.answered = false;
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        encode(&mut head);
        let sent = self.write_all(&head, tail, deadline);
        self.head = head;
        sent.inspect_err(|_| self.broken = true)
    }

    /// Waits for the next packet.
    ///
    /// # Errors
    ///
    /// [`Error::Network`] in [`Phase::Receive`], [`Error::Protocol`], or [`Error::Stopped`].
    pub fn receive(&mut self, deadline: &Deadline<'_>) -> Result<Packet<'_>, Error> {
        self.refuse_if_broken(Phase::Receive, deadline)?;
        let (command, bytes) = self
            .next_packet(deadline)
            .inspect_err(|_| self.broken = true)?;
        self.last = command;
        self.received.take(bytes);
        Ok(self.packet())
    }

    /// Writes as much of `bytes` as the socket takes now; returns how much that is. Waits for nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Network`] in [`Phase::Send`].
    pub(crate) fn write_now(
        &mut self,
        bytes: &[u8],
        deadline: &Deadline<'_>,
    ) -> Result<usize, Error> {
        self.refuse_if_broken(Phase::Send, deadline)?;
        self.answered = false;
        match self.write(bytes, b"") {
            Ok(written) => {
                status::BYTES_SENT.add(written as u64);
                Ok(written)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Err(errno) => {
                self.broken = true;
                Err(network(&self.server, Phase::Send, deadline, errno.into()))
            }
        }
    }

    /// The next packet, if it has arrived. Waits for nothing.
    ///
    /// # Errors
    ///
    /// As [`Connection::receive`].
    pub(crate) fn receive_now(
        &mut self,
        deadline: &Deadline<'_>,
    ) -> Result<Option<Packet<'_>>, Error> {
        self.refuse_if_broken(Phase::Receive, deadline)?;
        let arrived = self
            .arrived_packet(deadline)
            .inspect_err(|_| self.broken = true)?;
        let Some((command, bytes)) = arrived else {
            return Ok(None);
        };
        self.last = command;
        self.received.take(bytes);
        Ok(Some(self.packet()))
    }

    /// The error of a server that said nothing for as long as `deadline` let it.
    pub(crate) fn timed_out(&self, phase: Phase, deadline: &Deadline<'_>) -> Error {
        let source = io::Error::new(ErrorKind::TimedOut, "timed out");
        network(&self.server, phase, deadline, source)
    }

    /// The error of a server that answers what nobody asked.
    pub(crate) fn unasked(&self, deadline: &Deadline<'_>) -> Error {
        self.protocol(
            "expected no answer, as nothing was asked".to_owned(),
            deadline,
        )
    }

    /// The packet that was received last.
    pub fn packet(&self) -> Packet<'_> {
        Packet::from_parts(self.last, self.received.last())
    }

    /// Waits for a line of text, as gearmand's admin commands answer with; without its end.
    ///
    /// # Errors
    ///
    /// As [`Connection::receive`].
    pub fn receive_line(&mut self, deadline: &Deadline<'_>) -> Result<&[u8], Error> {
        self.refuse_if_broken(Phase::Receive, deadline)?;
        let bytes = self
            .next_line(deadline)
            .inspect_err(|_| self.broken = true)?;
        self.received.take(bytes);
        Ok(self.received.last().trim_ascii_end())
    }

    /// Says that everything that was asked has been answered as expected.
    pub fn mark_answered(&mut self) {
        self.answered = true;
    }

    /// Whether the answer to a request is under way that nobody has asked for yet. Waits for nothing.
    pub fn has_arrivals(&self) -> bool {
        self.unread() > 0 || !self.is_quiet()
    }

    /// Waits until something arrives; returns whether it has before the deadline was spent.
    ///
    /// # Errors
    ///
    /// As [`Connection::receive`].
    pub(crate) fn wait_for_arrivals(&self, deadline: &Deadline<'_>) -> Result<bool, Error> {
        if self.unread() > 0 {
            return Ok(true);
        }
        let (server, phase) = (&self.server, Phase::Receive);
        match wait(&self.socket, PollFlags::POLLIN, server, phase, deadline) {
            Ok(_) => Ok(true),
            Err(Error::Network { source, .. }) if source.kind() == ErrorKind::TimedOut => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the last call left nothing behind: no error, no open question, no unread answer.
    pub fn is_clean(&self) -> bool {
        self.answered && !self.broken && self.unread() == 0
    }

    /// Whether the connection can serve another call: it is clean, nothing has arrived since, and
    /// the server has not hung up. Asks the kernel, waits for nothing.
    pub fn is_reusable(&self) -> bool {
        self.is_clean() && self.is_quiet()
    }

    /// Gives back what a big packet needed.
    pub fn trim(&mut self) {
        self.received.trim();
    }

    /// Our end of the connection.
    #[cfg(test)]
    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The name of the server, as errors have it.
    pub fn server(&self) -> &Arc<str> {
        &self.server
    }

    fn unread(&self) -> usize {
        self.received.unread().len()
    }

    /// Nothing has arrived, not even the end.
    fn is_quiet(&self) -> bool {
        let at_once = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(self.socket.as_raw_fd(), &mut [0], at_once) == Err(Errno::EAGAIN)
    }

    fn refuse_if_broken(&self, phase: Phase, deadline: &Deadline<'_>) -> Result<(), Error> {
        if self.broken {
            let source = io::Error::new(ErrorKind::NotConnected, "an earlier call failed here");
            return Err(network(&self.server, phase, deadline, source));
        }
        Ok(())
    }

    fn write_all(
        &mut self,
        mut head: &[u8],
        mut tail: &[u8],
        deadline: &Deadline<'_>,
    ) -> Result<(), Error> {
        let mut deadline = *deadline;
        while !(head.is_empty() && tail.is_empty()) {
            match self.write(head, tail) {
                Ok(written) => {
                    deadline.progressed();
                    status::BYTES_SENT.add(written as u64);
                    let of_head = written.min(head.len());
                    head = &head[of_head..];
                    tail = &tail[written - of_head..];
                }
                Err(Errno::EAGAIN) => self.make_room(&deadline)?,
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    return Err(network(&self.server, Phase::Send, &deadline, errno.into()));
                }
            }
        }
        Ok(())
    }

    /// One system call for both parts; without `MSG_NOSIGNAL` a server that hung up would be a
    /// SIGPIPE for the process we live in.
    fn write(&self, head: &[u8], tail: &[u8]) -> nix::Result<usize> {
        sendmsg::<SockaddrStorage>(
            self.socket.as_raw_fd(),
            &[IoSlice::new(head), IoSlice::new(tail)],
            &[],
            MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT,
            None,
        )
    }

    /// Waits until the socket takes more. Meanwhile takes in what arrives: a server that cannot
    /// get rid of its answers may stop reading our requests.
    fn make_room(&mut self, deadline: &Deadline<'_>) -> Result<(), Error> {
        let either = PollFlags::POLLOUT | PollFlags::POLLIN;
        let ready = wait(&self.socket, either, &self.server, Phase::Send, deadline)?;
        if ready.contains(PollFlags::POLLIN) {
            self.read_now(1, Phase::Send, deadline)?;
        }
        Ok(())
    }

    /// Waits for a whole packet among what is unread; returns what it is and its length.
    fn next_packet(&mut self, deadline: &Deadline<'_>) -> Result<(Command, usize), Error> {
        let mut deadline = *deadline;
        loop {
            match self.decode(&deadline)? {
                Ok(packet) => return Ok(packet),
                Err(missing) => {
                    let before = self.unread();
                    self.await_bytes(missing, &deadline)?;
                    if self.unread() > before {
                        deadline.progressed();
                    }
                }
            }
        }
    }

    /// As [`Connection::next_packet`], without waiting.
    fn arrived_packet(
        &mut self,
        deadline: &Deadline<'_>,
    ) -> Result<Option<(Command, usize)>, Error> {
        loop {
            match self.decode(deadline)? {
                Ok(packet) => return Ok(Some(packet)),
                Err(missing) => {
                    let before = self.unread();
                    self.read_now(missing.max(BULK_READ_BYTES), Phase::Receive, deadline)?;
                    if self.unread() == before {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Looks at what is among what is unread: a whole packet, what it is and its length, or else how
    /// many bytes are missing.
    fn decode(&self, deadline: &Deadline<'_>) -> Result<Result<(Command, usize), usize>, Error> {
        let unread = self.received.unread();
        match packet::decode(Magic::Response, unread) {
            Ok(Decoded::Packet(packet)) => Ok(Ok((packet.command, packet.bytes()))),
            Ok(Decoded::Incomplete { needed }) => Ok(Err(needed - unread.len())),
            Err(problem) => Err(self.protocol(problem.to_string(), deadline)),
        }
    }

    /// Waits for a whole line among what is unread; returns its length with its end.
    fn next_line(&mut self, deadline: &Deadline<'_>) -> Result<usize, Error> {
        loop {
            let unread = self.received.unread();
            if let Some(end) = unread.iter().position(|&byte| byte == b'\n') {
                return Ok(end + 1);
            }
            if unread.len() > MAX_LINE_BYTES {
                let problem = format!("expected a line of at most {MAX_LINE_BYTES} bytes");
                return Err(self.protocol(problem, deadline));
            }
            self.await_bytes(1, deadline)?;
        }
    }

    /// Waits until something arrives, and reads it; may find that nothing has arrived.
    fn await_bytes(&mut self, wanted: usize, deadline: &Deadline<'_>) -> Result<(), Error> {
        let phase = Phase::Receive;
        if slice(&self.server, phase, deadline)? > READ_PATIENCE {
            return self.read(wanted, MsgFlags::empty(), phase, deadline);
        }
        wait(
            &self.socket,
            PollFlags::POLLIN,
            &self.server,
            phase,
            deadline,
        )?;
        self.read_now(wanted, phase, deadline)
    }

    fn protocol(&self, problem: String, deadline: &Deadline<'_>) -> Error {
        Error::Protocol {
            server: Arc::clone(&self.server),
            problem,
            elapsed: deadline.elapsed(),
        }
    }

    /// Reads what is there, at most about `wanted` bytes.
    fn read_now(
        &mut self,
        wanted: usize,
        phase: Phase,
        deadline: &Deadline<'_>,
    ) -> Result<(), Error> {
        self.read(wanted, MsgFlags::MSG_DONTWAIT, phase, deadline)
    }

    fn read(
        &mut self,
        wanted: usize,
        flags: MsgFlags,
        phase: Phase,
        deadline: &Deadline<'_>,
    ) -> Result<(), Error> {
        let read = recv(self.socket.as_raw_fd(), self.received.room(wanted)?, flags);
        self.received.filled(read.unwrap_or(0));
        match read {
            Ok(0) => {
                let closed = io::Error::new(
                    ErrorKind::UnexpectedEof,
                    "the job server closed the connection",
                );
                Err(network(&self.server, phase, deadline, closed))
            }
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(errno) => Err(network(&self.server, phase, deadline, errno.into())),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.answered {
            // Reset instead of a farewell: it leaves no local port in TIME_WAIT, of which a
            // server that keeps failing would collect thousands. If it fails, one is left.
            let at_once = linger {
                l_onoff: 1,
                l_linger: 0,
            };
            let _ = setsockopt(&self.socket, sockopt::Linger, &at_once);
        }
    }
}

/// A socket that is being connected.
fn begin_connect(address: SocketAddr) -> nix::Result<TcpStream> {
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
        Ok(()) | Err(Errno::EINPROGRESS | Errno::EINTR) => Ok(TcpStream::from(socket)),
        Err(errno) => Err(errno),
    }
}

/// Whether the connection that `poll` reports as ready has come about.
fn finish_connect(socket: &TcpStream) -> io::Result<()> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    // A port that the system hands out as our own end can be the very port we connect to, when
    // nobody listens there: then TCP connects the socket to itself.
    if socket.local_addr()? == socket.peer_addr()? {
        return Err(io::Error::from_raw_os_error(Errno::ECONNREFUSED as i32));
    }
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(READ_PATIENCE))
}

/// Waits until `socket` is ready for one of `events`, has an error, or the deadline is spent.
fn wait(
    socket: &TcpStream,
    events: PollFlags,
    server: &Arc<str>,
    phase: Phase,
    deadline: &Deadline<'_>,
) -> Result<PollFlags, Error> {
    loop {
        let slice = slice(server, phase, deadline)?;
        let mut sockets = [PollFd::new(socket.as_fd(), events)];
        match poll(&mut sockets, in_milliseconds(slice)) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(sockets[0].revents().unwrap_or(PollFlags::empty())),
            Err(errno) => return Err(network(server, phase, deadline, errno.into())),
        }
    }
}

/// How long to wait before asking the deadline again.
fn slice(server: &Arc<str>, phase: Phase, deadline: &Deadline<'_>) -> Result<Duration, Error> {
    deadline.slice().map_err(|spent| match spent {
        Spent::Stopped => Error::Stopped,
        Spent::TimedOut => {
            let source = io::Error::new(ErrorKind::TimedOut, "timed out");
            network(server, phase, deadline, source)
        }
    })
}

/// Rounded up: with less than a millisecond left `poll` would return at once, again and again.
pub(crate) fn in_milliseconds(slice: Duration) -> PollTimeout {
    let rounded = slice + Duration::from_nanos(999_999);
    PollTimeout::try_from(rounded).unwrap_or(PollTimeout::MAX)
}

/// The error of a system call: the network's, or the system's own lack of something.
fn network(server: &Arc<str>, phase: Phase, deadline: &Deadline<'_>, source: io::Error) -> Error {
    match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE) => return Error::no("file descriptor", source),
        Some(Errno::ENOMEM | Errno::ENOBUFS) => return Error::no("memory", source),
        _ => {}
    }
    Error::Network {
        server: Arc::clone(server),
        phase,
        elapsed: deadline.elapsed(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    const PLENTY: Duration = Duration::from_secs(30);

    fn connected() -> (Connection, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let name = Arc::from("server:1");
        let connection = Connection::open(&name, address, &Deadline::after(PLENTY)).unwrap();
        (connection, listener.accept().unwrap().0)
    }

    #[test]
    fn memory_grows_with_what_arrives_not_with_what_is_announced() {
        let (mut connection, mut server) = connected();
        let announced = u32::try_from(packet::MAX_DATA_BYTES).unwrap().to_be_bytes();
        server.write_all(b"\0RES\0\0\0\x0d").unwrap();
        server.write_all(&announced).unwrap();
        server.write_all(&[b'x'; 1000]).unwrap();
        let deadline = Deadline::after(Duration::from_millis(100));
        let error = connection.receive(&deadline).unwrap_err();
        assert!(error.to_string().starts_with("receive server:1: timed out"));
        assert!(connection.received.memory() < 1024 * 1024);
    }

    #[test]
    fn after_an_error_it_does_nothing_but_fail() {
        let (mut connection, mut server) = connected();
        server.write_all(b"HTTP").unwrap();
        let deadline = Deadline::after(PLENTY);
        assert!(connection.receive(&deadline).is_err());
        server.write_all(b"\0RES\0\0\0\x06\0\0\0\0").unwrap();
        for error in [
            connection.receive(&deadline).unwrap_err(),
            connection.send(|_| {}, b"x", &deadline).unwrap_err(),
        ] {
            assert!(
                error.to_string().contains("an earlier call failed here"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_connection_in_the_middle_of_a_call_is_reset_and_leaves_no_port_behind() {
        let (mut connection, mut server) = connected();
        connection
            .send(|_| {}, b"question", &Deadline::after(PLENTY))
            .unwrap();
        let mut question = [0; 8];
        server.read_exact(&mut question).unwrap();
        drop(connection);
        let end = server.read(&mut [0]).unwrap_err();
        assert_eq!(end.kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn an_answered_connection_is_closed_in_order() {
        let (connection, mut server) = connected();
        drop(connection);
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_server_that_does_not_read_is_waited_for_no_longer_than_allowed() {
        let (mut connection, _server) = connected();
        let deadline = Deadline::after(Duration::from_millis(100));
        let big = vec![b'x'; 64 * 1024 * 1024];
        let error = connection.send(|_| {}, &big, &deadline).unwrap_err();
        assert!(
            error.to_string().starts_with("send server:1: timed out"),
            "{error}"
        );
    }

    #[test]
    fn a_waiting_call_ends_when_it_is_told_to() {
        let (mut connection, _server) = connected();
        let asked = std::cell::Cell::new(0);
        let should_stop = || {
            asked.set(asked.get() + 1);
            asked.get() > 3
        };
        let deadline = Deadline::unless_stopped(PLENTY, &should_stop);
        assert!(matches!(connection.receive(&deadline), Err(Error::Stopped)));
    }
}
