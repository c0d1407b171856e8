//! A database server that does on purpose what a good one never does.
//!
//! It lets everybody in, and speaks as much of the protocol as that takes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

const COM_QUIT: u8 = 1;
const COM_QUERY: u8 = 3;

/// `CLIENT_LONG_PASSWORD`, `CLIENT_CONNECT_WITH_DB`, `CLIENT_LOCAL_FILES`, `CLIENT_PROTOCOL_41`,
/// `CLIENT_SECURE_CONNECTION`, `CLIENT_PLUGIN_AUTH`.
const CAPABILITIES: u32 = 0x1 | 0x8 | 0x80 | 0x200 | 0x8000 | 0x8_0000;

const OK: [u8; 7] = [0, 0, 0, 2, 0, 0, 0];
const EOF: [u8; 5] = [0xfe, 0, 0, 2, 0];

/// What it answers to every statement.
#[derive(Debug, Clone)]
pub(crate) enum Replies {
    /// It asks for a file of the client's.
    WantsFile(String),
    /// An error with this text.
    Error(String),
    /// One row of one column with this text.
    Text(String),
    /// Rows without end.
    Endless,
}

/// Listens until the test process ends.
#[derive(Debug)]
pub(crate) struct FakeDatabase {
    address: SocketAddr,
    received: Arc<Mutex<Vec<u8>>>,
}

impl FakeDatabase {
    pub(crate) fn start(replies: Replies) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let received = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&received);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let session = Session {
                    stream,
                    received: Arc::clone(&all),
                };
                let replies = replies.clone();
                // How it ends is the client's choice.
                thread::spawn(move || session.serve(&replies));
            }
        });
        Self { address, received }
    }

    /// As `--mysql` takes it.
    pub(crate) fn url(&self) -> String {
        format!("mysql://root@{}", self.address)
    }

    /// Everything that clients have sent.
    pub(crate) fn received(&self) -> Vec<u8> {
        lock(&self.received).clone()
    }
}

fn lock(bytes: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    bytes.lock().expect("nothing panics with it held")
}

struct Session {
    stream: TcpStream,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Session {
    fn serve(mut self, replies: &Replies) -> io::Result<()> {
        self.send(0, &greeting())?;
        let (number, _) = self.receive()?;
        self.send(number + 1, &OK)?;
        loop {
            let (_, command) = self.receive()?;
            match command.split_first() {
                Some((&COM_QUIT, _)) | None => return Ok(()),
                Some((&COM_QUERY, _)) => self.reply(replies)?,
                Some(_) => self.send(1, &error("no prepared statements here"))?,
            }
        }
    }

    fn reply(&mut self, replies: &Replies) -> io::Result<()> {
        match replies {
            Replies::WantsFile(path) => {
                self.send(1, &[&[0xfb], path.as_bytes()].concat())?;
                // Up to the empty packet at the end of a file.
                let number = loop {
                    let (number, part) = self.receive()?;
                    if part.is_empty() {
                        break number;
                    }
                };
                self.send(number + 1, &OK)
            }
            Replies::Error(text) => self.send(1, &error(text)),
            Replies::Text(text) => {
                let number = self.head()?;
                self.send(number, &packet_of_texts(&[text]))?;
                self.send(number + 1, &EOF)
            }
            Replies::Endless => {
                let mut number = self.head()?;
                let row = packet_of_texts(&["x".repeat(1000).as_str()]);
                loop {
                    self.send(number, &row)?;
                    number = number.wrapping_add(1);
                }
            }
        }
    }

    /// The head of a result of one column; returns the number of the next packet.
    fn head(&mut self) -> io::Result<u8> {
        self.send(1, &[1])?;
        self.send(2, &column_definition())?;
        self.send(3, &EOF)?;
        Ok(4)
    }

    fn send(&mut self, number: u8, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len())
            .expect("a short packet")
            .to_le_bytes();
        let head = [length[0], length[1], length[2], number];
        self.stream.write_all(&[&head, payload].concat())
    }

    fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head)?;
        let [a, b, c, number] = head;
        let mut payload = vec![0; u32::from_le_bytes([a, b, c, 0]) as usize];
        self.stream.read_exact(&mut payload)?;
        lock(&self.received).extend_from_slice(&payload);
        Ok((number, payload))
    }
}

/// `Protocol::HandshakeV10`.
fn greeting() -> Vec<u8> {
    let [low, lower, high, higher] = CAPABILITIES.to_le_bytes();
    [
        &[10][..],
        b"8.0.30-fake\0",
        &1_u32.to_le_bytes(),
        b"12345678\0",
        &[low, lower, 45, 2, 0, high, higher, 21],
        &[0; 10],
        b"123456789012\0",
        b"mysql_native_password\0",
    ]
    .concat()
}

/// `Protocol::ColumnDefinition41` of a text.
fn column_definition() -> Vec<u8> {
    let names = packet_of_texts(&["def", "", "", "", "c", "c"]);
    [&names[..], &[12, 45, 0, 0, 0, 1, 0, 253, 0, 0, 0, 0, 0]].concat()
}

fn packet_of_texts(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| length_encoded(text)).collect()
}

fn length_encoded(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    let [low, high] = length.to_le_bytes();
    let head = match length {
        0..251 => vec![low],
        _ => vec![0xfc, low, high],
    };
    [&head[..], text.as_bytes()].concat()
}

fn error(text: &str) -> Vec<u8> {
    [&[0xff, 0x51, 0x04][..], b"#HY000", text.as_bytes()].concat()
}
