//! One connection to a Redis, with a bound on everything that the other side can make it wait for or keep.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::address::Address;
use super::answer::{self, Answer, Refusal};
use super::fault::Fault;

/// How long connecting, a whole answer, or a write without progress may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

/// How much is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Who we are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Login {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: i64,
    pub(crate) resp3: bool,
}

/// How connections are made.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) login: Login,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// The longest answer that is read, in bytes.
    pub(crate) max_answer: usize,
}

/// An open connection that has been let in.
pub(crate) struct Connection {
    address: Address,
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    /// How much of that has been taken for answers.
    taken: usize,
    max_answer: usize,
}

impl Connection {
    /// Connects and logs in.
    pub(crate) fn open(address: &Address, access: &Access) -> Result<Self, Fault> {
        let deadline = Instant::now() + TIMEOUT;
        let stream =
            connect(address, access.tls.as_ref(), deadline).map_err(|error| {
                match is_late(&error) {
                    true => Fault::lost(
                        address,
                        format!("no connection within {} s", TIMEOUT.as_secs()),
                    ),
                    false => Fault::lost(address, error),
                }
            })?;
        let mut connection = Self {
            address: address.clone(),
            stream,
            received: Vec::new(),
            taken: 0,
            max_answer: access.max_answer,
        };
        connection.log_in(&access.login)?;
        Ok(connection)
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends commands, packed by [`pack`].
    pub(crate) fn send(&mut self, commands: &[u8]) -> Result<(), Fault> {
        self.look()?;
        let sent = self
            .stream
            .write_all(commands)
            .and_then(|()| self.stream.flush());
        sent.map_err(|error| match is_late(&error) {
            true => self.lost(format!("it takes nothing for {} s", TIMEOUT.as_secs())),
            false => self.lost(error),
        })
    }

    /// Reads the next answer.
    pub(crate) fn receive(&mut self) -> Result<Answer, Fault> {
        self.stream.set_deadline(Instant::now() + TIMEOUT);
        loop {
            let decoded = answer::decode(&self.received[self.taken..], self.max_answer);
            match decoded.map_err(|problem| self.lost(problem))? {
                Some((answer, length)) => {
                    self.taken += length;
                    if answer != Answer::Push {
                        return Ok(answer);
                    }
                }
                None => {
                    let read = self.fill();
                    self.arrived(read)?;
                }
            }
        }
    }

    /// Sends a command and reads its answer.
    pub(crate) fn ask(&mut self, words: &[&[u8]]) -> Result<Answer, Fault> {
        let mut command = Vec::new();
        pack(&mut command, words);
        self.send(&command)?;
        self.receive()
    }

    /// Makes sure that no more has come than was asked for: it would be taken for the answer to the next
    /// question.
    pub(crate) fn check_quiet(&mut self) -> Result<(), Fault> {
        while self.taken < self.received.len() {
            let rest = &self.received[self.taken..];
            match answer::decode(rest, self.max_answer) {
                Ok(Some((Answer::Push, length))) => self.taken += length,
                _ => return Err(self.lost("it sends answers that nobody has asked for")),
            }
        }
        Ok(())
    }

    /// Looks, without waiting, whether the other side is still there and has nothing to say.
    fn look(&mut self) -> Result<(), Fault> {
        self.stream.set_deadline(Instant::now() + TIMEOUT);
        let read = self.stream.set_nonblocking(true).and_then(|()| self.fill());
        let back = self.stream.set_nonblocking(false);
        match back.and(read) {
            Err(error) if is_late(&error) => Ok(()),
            read => self.arrived(read).and_then(|()| self.check_quiet()),
        }
    }

    fn log_in(&mut self, login: &Login) -> Result<(), Fault> {
        let name = login.username.as_deref().unwrap_or("default").as_bytes();
        let password = login.password.as_deref().map(str::as_bytes);
        match (login.resp3, password) {
            (true, Some(password)) => self.accepted(&[b"HELLO", b"3", b"AUTH", name, password])?,
            (true, None) => self.accepted(&[b"HELLO", b"3"])?,
            // One word less, for a Redis before 6.
            (false, Some(password)) if login.username.is_none() => {
                self.accepted(&[b"AUTH", password])?
            }
            (false, Some(password)) => self.accepted(&[b"AUTH", name, password])?,
            (false, None) => {}
        }
        if login.database != 0 {
            self.accepted(&[b"SELECT", login.database.to_string().as_bytes()])?;
        }
        self.ask_for_admittance()
    }

    /// Redis reads no long request of somebody it does not know, and calls that a protocol error. A short
    /// one it answers, though maybe with an error that is of no interest here: it is still loading, or the
    /// account may not PING.
    fn ask_for_admittance(&mut self) -> Result<(), Fault> {
        match self.ask(&[b"PING"])? {
            Answer::Refusal(refusal) if refusal.is_about_login() => Err(self.refused(refusal)),
            _ => Ok(()),
        }
    }

    fn accepted(&mut self, words: &[&[u8]]) -> Result<(), Fault> {
        match self.ask(words)? {
            Answer::Refusal(refusal) => Err(self.refused(refusal)),
            _ => Ok(()),
        }
    }

    /// Reads what there is behind what was received and not taken, which is the beginning of one answer.
    fn fill(&mut self) -> io::Result<usize> {
        self.received.drain(..self.taken);
        self.taken = 0;
        let before = self.received.len();
        self.received.resize(before + CHUNK_BYTES, 0);
        let read = self.stream.read(&mut self.received[before..]);
        let count = read.as_ref().map_or(0, |&count| count);
        self.received.truncate(before + count);
        read
    }

    fn arrived(&self, read: io::Result<usize>) -> Result<(), Fault> {
        match read {
            Ok(0) => Err(self.lost("it has closed the connection")),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) if is_late(&error) => {
                Err(self.lost(format!("no answer within {} s", TIMEOUT.as_secs())))
            }
            Err(error) => Err(self.lost(error)),
        }
    }

    fn lost(&self, problem: impl ToString) -> Fault {
        Fault::lost(&self.address, problem)
    }

    fn refused(&self, refusal: Refusal) -> Fault {
        Fault::refused(&self.address, refusal)
    }
}

/// Appends a command to `out`.
pub(crate) fn pack<W: AsRef<[u8]>>(out: &mut Vec<u8>, words: &[W]) {
    begin(out, words.len());
    words.iter().for_each(|one| word(out, one.as_ref()));
}

/// Appends the beginning of a command of so many words.
pub(crate) fn begin(out: &mut Vec<u8>, words: usize) {
    length(out, b'*', words);
}

/// Appends a word of a command.
pub(crate) fn word(out: &mut Vec<u8>, word: &[u8]) {
    length(out, b'$', word.len());
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

fn length(out: &mut Vec<u8>, kind: u8, number: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The kernel calls it by either name.
fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// What a connection is made of.
trait Stream: Read + Write + Send {
    /// When the next reads have to be done.
    fn set_deadline(&mut self, deadline: Instant);

    fn set_nonblocking(&mut self, on: bool) -> io::Result<()>;
}

/// A socket whose reads end at a deadline, however slowly their bytes come.
struct Timed<S> {
    socket: S,
    deadline: Instant,
}

trait Socket: Read + Write + Send {
    fn limit_reads(&self, limit: Duration) -> io::Result<()>;

    fn nonblocking(&self, on: bool) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn limit_reads(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))
    }

    fn nonblocking(&self, on: bool) -> io::Result<()> {
        self.set_nonblocking(on)
    }
}

impl Socket for UnixStream {
    fn limit_reads(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))
    }

    fn nonblocking(&self, on: bool) -> io::Result<()> {
        self.set_nonblocking(on)
    }
}

impl<S: Socket> Read for Timed<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.socket.limit_reads(left)?;
        self.socket.read(buffer)
    }
}

impl<S: Socket> Write for Timed<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

impl<S: Socket> Stream for Timed<S> {
    fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    fn set_nonblocking(&mut self, on: bool) -> io::Result<()> {
        self.socket.nonblocking(on)
    }
}

impl Stream for StreamOwned<ClientConnection, Timed<TcpStream>> {
    fn set_deadline(&mut self, deadline: Instant) {
        self.sock.deadline = deadline;
    }

    fn set_nonblocking(&mut self, on: bool) -> io::Result<()> {
        self.sock.socket.nonblocking(on)
    }
}

fn connect(
    address: &Address,
    tls: Option<&Arc<ClientConfig>>,
    deadline: Instant,
) -> io::Result<Box<dyn Stream>> {
    let (host, port) = match address {
        Address::Unix(path) => {
            let socket = UnixStream::connect(path)?;
            socket.set_write_timeout(Some(TIMEOUT))?;
            return Ok(Box::new(Timed { socket, deadline }));
        }
        Address::Tcp { host, port } => (host.as_str(), *port),
    };
    let socket = connect_tcp(host, port)?;
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    let mut socket = Timed { socket, deadline };
    let Some(config) = tls else {
        return Ok(Box::new(socket));
    };
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let mut session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    while session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    Ok(Box::new(StreamOwned::new(session, socket)))
}

/// Tries the addresses of a host in turn.
fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut problem = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(socket) => return Ok(socket),
            Err(error) => problem = error,
        }
    }
    Err(problem)
}
