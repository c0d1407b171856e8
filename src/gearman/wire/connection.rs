//! One connection to one job server, plain or over TLS. Every call takes a [`Deadline`].
//!
//! No call waits longer than the deadline says. An answer that comes soon is waited
//! for in the read itself, which gives up after [`READ_PATIENCE`]; all other waiting is `poll`'s.
//!
//! A connection that has sent anything is unanswered until its user says that the answer was the
//! expected one. An unanswered one is never used for another call: what arrives late could not be
//! told from that call's answer. After an error it is broken, and does nothing but fail.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Error, Phase, is_hang_up};
use crate::gearman::wire::deadline::{Deadline, Spent};
use crate::gearman::wire::failure::Failure;
use crate::gearman::wire::packet::{self, Command, Decoded, HEADER_BYTES, Magic, Packet};
use crate::gearman::wire::protection::Way;
use crate::gearman::wire::receive_buffer::ReceiveBuffer;
use crate::gearman::wire::socket::{Patience, READ_PATIENCE, Socket};
use crate::gearman::wire::stream::Stream;
use crate::gearman::wire::tls::credentials::Credentials;
use crate::gearman::wire::tls::explain;
use crate::gearman::wire::tls::session::Session;
use crate::memory;
use crate::status::{self, One};

/// How much is read at once if many answers may have come.
const BULK_READ_BYTES: usize = 16 * 1024;

/// How much may wait to be looked at while a request is still being sent: results of other jobs, if they
/// are large. A server that says more before it reads gets nothing until its time is up.
const MAX_EARLY_BYTES: usize = 64 << 20;

/// Longest line of text that is read.
const MAX_LINE_BYTES: usize = 1024;

/// How the TLS record begins in which a server says that it did not understand us: an alert, of any
/// version.
const TLS_ALERT: [u8; 2] = [21, 3];

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    server: Arc<str>,
    stream: Stream,
    /// How it was made.
    way: Arc<Way>,
    received: ReceiveBuffer,
    /// The beginning of a request; kept, so that a request allocates nothing.
    head: Vec<u8>,
    /// What the packet says that was taken from `received` last.
    last: Command,
    broken: bool,
    answered: bool,
    /// The server has said something.
    heard: bool,
    /// The job server has been asked to hand on exceptions, which it remembers per connection.
    pub(crate) forwards_exceptions: bool,
    _open: One,
}

impl Connection {
    /// Connects to `address`, `way`. `server` is the name that errors use, `host` the one that the server's
    /// certificate is for if there is TLS.
    ///
    /// # Errors
    ///
    /// [`Error::Network`] in [`Phase::Connect`] or [`Phase::Handshake`], [`Error::Tls`], [`Error::Stopped`].
    pub fn open(
        server: &Arc<str>,
        host: &str,
        address: SocketAddr,
        way: &Arc<Way>,
        deadline: &Deadline<'_>,
    ) -> Result<Self, Error> {
        let socket = connect(server, address, deadline)?;
        let stream = match &way.tls {
            None => Stream::Plain(socket),
            Some(tls) => secured(socket, server, host, tls, deadline)?,
        };
        status::CONNECTIONS_OPENED.add(1);
        Ok(Self {
            server: Arc::clone(server),
            stream,
            way: Arc::clone(way),
            received: ReceiveBuffer::default(),
            head: Vec::new(),
            last: Command::Noop,
            broken: false,
            answered: true,
            heard: false,
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

    /// Waits for the next packet, whose body is to have at most `longest` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Network`] in [`Phase::Receive`], [`Error::Protocol`], or [`Error::Stopped`].
    pub fn receive(
        &mut self,
        longest: usize,
        deadline: &Deadline<'_>,
    ) -> Result<Packet<'_>, Error> {
        self.refuse_if_broken(Phase::Receive, deadline)?;
        let (command, bytes) = self
            .next_packet(longest, deadline)
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
        match self.stream.write(bytes, b"") {
            Ok(written) => {
                status::BYTES_SENT.add(written as u64);
                Ok(written)
            }
            Err(failure) if failure.is_not_yet() => Ok(0),
            Err(failure) => {
                self.broken = true;
                Err(self.error(Phase::Send, deadline, failure))
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
        longest: usize,
        deadline: &Deadline<'_>,
    ) -> Result<Option<Packet<'_>>, Error> {
        self.refuse_if_broken(Phase::Receive, deadline)?;
        let arrived = self
            .arrived_packet(longest, deadline)
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

    /// Moves what has arrived to the end of `out`, packets and parts of packets, for who decodes them
    /// elsewhere; returns how many bytes. Waits for nothing.
    ///
    /// # Errors
    ///
    /// As [`Connection::receive`].
    pub fn take_arrived(
        &mut self,
        out: &mut Vec<u8>,
        deadline: &Deadline<'_>,
    ) -> Result<usize, Error> {
        self.refuse_if_broken(Phase::Receive, deadline)?;
        self.read_now(4 * BULK_READ_BYTES, Phase::Receive, deadline)
            .inspect_err(|_| self.broken = true)?;
        let count = self.unread();
        memory::append(out, self.received.unread())?;
        self.received.take(count);
        Ok(count)
    }

    /// Tells the server that nothing more is coming; its answers still arrive.
    pub fn end_requests(&mut self) {
        self.stream.say_goodbye();
        self.stream.socket().end_writing();
    }

    /// Says that everything that was asked has been answered as expected.
    pub fn mark_answered(&mut self) {
        self.answered = true;
    }

    /// Whether the answer to a request is under way that nobody has asked for yet. Waits for nothing.
    pub fn has_arrivals(&mut self) -> bool {
        self.unread() > 0 || !self.stream.is_quiet(&mut self.received)
    }

    /// Waits until something arrives; returns whether it has before the deadline was spent.
    ///
    /// # Errors
    ///
    /// As [`Connection::receive`].
    pub(crate) fn wait_for_arrivals(&self, deadline: &Deadline<'_>) -> Result<bool, Error> {
        let (server, phase) = (&self.server, Phase::Receive);
        let arrived = match self.unread() {
            0 => wait(&self.stream, PollFlags::POLLIN, server, phase, deadline).map(drop),
            _ => slice(server, phase, deadline).map(drop),
        };
        match arrived {
            Ok(()) => Ok(true),
            Err(Error::Network { source, .. }) if source.kind() == ErrorKind::TimedOut => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the last call left nothing behind: no error, no open question, no unread answer. One that
    /// is [outdated](Self::is_outdated) is not clean.
    pub fn is_clean(&self) -> bool {
        self.answered && !self.broken && self.unread() == 0 && !self.is_outdated()
    }

    /// Whether the connection can serve another call: it is clean, nothing has arrived since, and
    /// the server has not hung up. Asks the kernel, waits for nothing.
    pub fn is_reusable(&mut self) -> bool {
        self.is_clean() && self.stream.is_quiet(&mut self.received)
    }

    /// Whether connections are made another way by now: this one should not go on.
    pub(crate) fn is_outdated(&self) -> bool {
        self.way.is_outdated()
    }

    /// Whether the connection is over TLS.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Gives back what a big packet needed.
    pub fn trim(&mut self) {
        self.received.trim();
    }

    /// Our end of the connection.
    #[cfg(test)]
    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        self.stream.socket().local_address()
    }

    /// The name of the server, as errors have it.
    pub fn server(&self) -> &Arc<str> {
        &self.server
    }

    fn unread(&self) -> usize {
        self.received.unread().len()
    }

    /// Whether a server that speaks TLS answers us, who do not.
    fn is_refused_by_tls(&self) -> bool {
        self.way.tls.is_none() && self.received.unread().starts_with(&TLS_ALERT)
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
            match self.stream.write(head, tail) {
                Ok(written) => {
                    deadline.progressed();
                    status::BYTES_SENT.add(written as u64);
                    let of_head = written.min(head.len());
                    head = &head[of_head..];
                    tail = &tail[written - of_head..];
                }
                Err(failure) if failure.is_not_yet() => self.make_room(&deadline)?,
                Err(failure) => return Err(self.error(Phase::Send, &deadline, failure)),
            }
        }
        Ok(())
    }

    /// Waits until the socket takes more. Meanwhile takes in what arrives: a server that cannot
    /// get rid of its answers may stop reading our requests.
    fn make_room(&mut self, deadline: &Deadline<'_>) -> Result<(), Error> {
        let mut events = PollFlags::POLLOUT;
        events.set(PollFlags::POLLIN, self.unread() < MAX_EARLY_BYTES);
        let ready = wait(&self.stream, events, &self.server, Phase::Send, deadline)?;
        if ready.contains(PollFlags::POLLIN) {
            self.read_now(1, Phase::Send, deadline)?;
        }
        Ok(())
    }

    /// Waits for a whole packet among what is unread; returns what it is and its length.
    fn next_packet(
        &mut self,
        longest: usize,
        deadline: &Deadline<'_>,
    ) -> Result<(Command, usize), Error> {
        let mut deadline = *deadline;
        loop {
            match self.decode(longest, &deadline)? {
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
        longest: usize,
        deadline: &Deadline<'_>,
    ) -> Result<Option<(Command, usize)>, Error> {
        loop {
            match self.decode(longest, deadline)? {
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
    /// many bytes are missing. More than `longest` are not waited for: memory grows with what arrives.
    fn decode(
        &self,
        longest: usize,
        deadline: &Deadline<'_>,
    ) -> Result<Result<(Command, usize), usize>, Error> {
        let unread = self.received.unread();
        match packet::decode(Magic::Response, unread) {
            Ok(Decoded::Packet(packet)) => Ok(Ok((packet.command, packet.bytes()))),
            Ok(Decoded::Incomplete { needed }) if needed - HEADER_BYTES > longest => {
                let body = needed - HEADER_BYTES;
                let problem =
                    format!("expected an answer of at most {longest} bytes, found one of {body}");
                Err(self.protocol(problem, deadline))
            }
            Ok(Decoded::Incomplete { needed }) => Ok(Err(needed - unread.len())),
            Err(_) if self.is_refused_by_tls() => Err(tls_error(
                &self.server,
                "it speaks TLS, and we do not; gman_tls_ca names the authority that signs its \
                 certificate, and turns TLS on"
                    .to_owned(),
                deadline,
            )),
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
            return self.read(wanted, Patience::Some, phase, deadline);
        }
        wait(
            &self.stream,
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
        self.read(wanted, Patience::None, phase, deadline)
    }

    fn read(
        &mut self,
        wanted: usize,
        patience: Patience,
        phase: Phase,
        deadline: &Deadline<'_>,
    ) -> Result<(), Error> {
        match self.stream.read(&mut self.received, wanted, patience) {
            Ok(()) => {
                self.heard = true;
                Ok(())
            }
            Err(failure) if failure.is_not_yet() => Ok(()),
            Err(failure) => Err(self.error(phase, deadline, failure)),
        }
    }

    /// The error of a stream that is of no more use.
    fn error(&self, phase: Phase, deadline: &Deadline<'_>, failure: Failure) -> Error {
        match (failure, &self.way.tls) {
            (Failure::Io(source), None) if !self.heard && is_hang_up(&source) => {
                network(&self.server, phase, deadline, refused_as_plain(&source))
            }
            (Failure::Io(source), _) => network(&self.server, phase, deadline, source),
            (Failure::Own(error), _) => error,
            (Failure::Tls(error), Some(tls)) => {
                let problem = explain::explain(&error, tls.names());
                tls_error(&self.server, problem, deadline)
            }
            (Failure::Tls(error), None) => tls_error(&self.server, error.to_string(), deadline),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        match self.answered {
            true => self.stream.say_goodbye(),
            false => self.stream.socket().reset_when_dropped(),
        }
    }
}

/// A connected socket.
fn connect(
    server: &Arc<str>,
    address: SocketAddr,
    deadline: &Deadline<'_>,
) -> Result<Socket, Error> {
    let phase = Phase::Connect;
    let fail = |source| network(server, phase, deadline, source);
    let socket = Socket::begin_connect(address).map_err(fail)?;
    wait(&socket, PollFlags::POLLOUT, server, phase, deadline)?;
    socket.finish_connect().map_err(fail)?;
    Ok(socket)
}

/// TLS over a connected socket, with a server that has shown who it is.
fn secured(
    socket: Socket,
    server: &Arc<str>,
    host: &str,
    tls: &Credentials,
    deadline: &Deadline<'_>,
) -> Result<Stream, Error> {
    let phase = Phase::Handshake;
    let fail = |problem| tls_error(server, problem, deadline);
    let config = tls.config().map_err(fail)?;
    let name = tls.server_name(host).map_err(fail)?;
    let reason = |failure| match failure {
        Failure::Tls(error) => fail(explain::explain(&error, tls.names())),
        Failure::Io(source) if is_hang_up(&source) => fail(explain::hung_up(tls.names())),
        Failure::Io(source) => network(server, phase, deadline, source),
        Failure::Own(error) => error,
    };
    let mut session = Session::new(socket, config, name).map_err(reason)?;
    while let Some(events) = session.shake_hands().map_err(reason)? {
        wait(session.socket(), events, server, phase, deadline)?;
    }
    Ok(Stream::Tls(Box::new(session)))
}

/// Waits until `socket` is ready for one of `events`, has an error, or the deadline is spent.
fn wait(
    socket: &impl AsFd,
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

/// What a server that speaks TLS does with those who do not.
fn refused_as_plain(source: &io::Error) -> io::Error {
    let problem =
        format!("{source}, and it answered nothing; if it speaks TLS, gman_tls_ca turns TLS on");
    io::Error::new(source.kind(), problem)
}

fn tls_error(server: &Arc<str>, problem: String, deadline: &Deadline<'_>) -> Error {
    Error::Tls {
        server: Arc::clone(server),
        problem,
        elapsed: deadline.elapsed(),
    }
}

/// The error of a system call: the network's, or the system's own lack of something.
pub(crate) fn network(
    server: &Arc<str>,
    phase: Phase,
    deadline: &Deadline<'_>,
    source: io::Error,
) -> Error {
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
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    const PLENTY: Duration = Duration::from_secs(30);

    fn connected() -> (Connection, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let name = Arc::from("server:1");
        let plain = Arc::default();
        let deadline = Deadline::after(PLENTY);
        let connection = Connection::open(&name, "server", address, &plain, &deadline).unwrap();
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
        let error = connection.receive(usize::MAX, &deadline).unwrap_err();
        assert!(error.to_string().starts_with("receive server:1: timed out"));
        assert!(connection.received.memory() < 1024 * 1024);
    }

    #[test]
    fn after_an_error_it_does_nothing_but_fail() {
        let (mut connection, mut server) = connected();
        server.write_all(b"HTTP").unwrap();
        let deadline = Deadline::after(PLENTY);
        assert!(connection.receive(usize::MAX, &deadline).is_err());
        server.write_all(b"\0RES\0\0\0\x06\0\0\0\0").unwrap();
        for error in [
            connection.receive(usize::MAX, &deadline).unwrap_err(),
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
        let stopped = connection.receive(usize::MAX, &deadline);
        assert!(matches!(stopped, Err(Error::Stopped)));
    }
}
