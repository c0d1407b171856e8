//! A Redis that does on purpose what a good one never does.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// What it answers to one command.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    Bytes(Vec<u8>),
    /// One byte at a time, so long apart.
    Drip(Vec<u8>, Duration),
    /// These bytes over and over, until nobody listens.
    Endless(Vec<u8>),
    Nothing,
}

/// Listens until the test process ends.
#[derive(Debug)]
pub(crate) struct FakeRedis {
    address: SocketAddr,
}

impl FakeRedis {
    /// Says one of these after the other to SETs, each on a connection of its own, and then `OK`.
    pub(crate) fn start(said: &[Said]) -> Self {
        let good = Said::Bytes(b"+OK\r\n".to_vec());
        Self::start_saying("SET", said.to_vec(), good)
    }

    /// Always says this to a command, of which it finds the name.
    pub(crate) fn always(command: &'static str, said: Said) -> Self {
        Self::start_saying(command, Vec::new(), said)
    }

    /// Always says to a command that the slot of its key has moved, back to here.
    pub(crate) fn circle(command: &'static str, slot: u16) -> Self {
        let (listener, address) = listen();
        let moved = Said::Bytes(format!("-MOVED {slot} {address}\r\n").into_bytes());
        Self::serve_on(listener, address, command, Vec::new(), moved)
    }

    /// Says one after the other, each on a connection of its own, and then always the last.
    fn start_saying(command: &'static str, said: Vec<Said>, last: Said) -> Self {
        let (listener, address) = listen();
        Self::serve_on(listener, address, command, said, last)
    }

    fn serve_on(
        listener: TcpListener,
        address: SocketAddr,
        command: &'static str,
        said: Vec<Said>,
        last: Said,
    ) -> Self {
        thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let said = said.get(number).cloned().unwrap_or_else(|| last.clone());
                thread::spawn(move || serve(stream, command, &said));
            }
        });
        Self { address }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap_or_else(|error| panic!("cannot listen: {error}"));
    let address = listener
        .local_addr()
        .unwrap_or_else(|error| panic!("a listener without an address: {error}"));
    (listener, address)
}

/// Answers each command in turn; they are told apart by their names, of which the values have none.
fn serve(mut stream: TcpStream, to: &str, said: &Said) -> io::Result<()> {
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => received.extend_from_slice(&buffer[..count]),
        }
        let text = String::from_utf8_lossy(&received).into_owned();
        for command in text.split('*').skip(1) {
            if command.contains(to) {
                say(&mut stream, said)?;
            } else if command.contains("PING") {
                stream.write_all(b"+PONG\r\n")?;
            } else if command.contains("CLUSTER") {
                stream.write_all(b"-ERR This instance has cluster support disabled\r\n")?;
            }
        }
        received.clear();
    }
}

fn say(stream: &mut TcpStream, said: &Said) -> io::Result<()> {
    match said {
        Said::Bytes(bytes) => stream.write_all(bytes),
        Said::Drip(bytes, pause) => bytes.iter().try_for_each(|&byte| {
            thread::sleep(*pause);
            stream.write_all(&[byte])
        }),
        Said::Endless(bytes) => loop {
            stream.write_all(bytes)?;
        },
        Said::Nothing => Ok(()),
    }
}
