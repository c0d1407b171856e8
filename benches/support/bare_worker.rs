//! A worker that does nothing but finish jobs, as fast as gearmand gives them: the limit.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::{self, JoinHandle};

use gearman_mysql_udf::gearman::wire::packet::{self, Command, HEADER_BYTES, Magic};

use crate::support::Gearmand;

/// How many jobs it asks for at once.
const IN_FLIGHT: usize = 100;

pub(crate) struct BareWorker {
    stream: TcpStream,
    thread: Option<JoinHandle<()>>,
}

impl BareWorker {
    pub(crate) fn start(gearmand: &Gearmand, function: &str) -> Self {
        let stream = TcpStream::connect(gearmand.address()).expect("gearmand");
        stream.set_nodelay(true).expect("a TCP socket");
        let mut requests = Vec::new();
        put(&mut requests, Command::CanDo, &[function.as_bytes()]);
        put(&mut requests, Command::PreSleep, &[]);
        (&stream).write_all(&requests).expect("gearmand reads");
        let own = stream.try_clone().expect("a TCP socket");
        let thread = thread::spawn(move || work(&own));
        Self {
            stream,
            thread: Some(thread),
        }
    }
}

impl Drop for BareWorker {
    fn drop(&mut self) {
        // Fails if gearmand has gone, which ends the thread as well.
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Until the connection ends.
fn work(stream: &TcpStream) {
    let mut packets = BufReader::with_capacity(256 * 1024, stream);
    let mut asked = 0;
    let mut out = Vec::new();
    while let Some((command, body)) = receive(&mut packets) {
        match command {
            Command::Noop => ask(&mut out, &mut asked),
            Command::NoJob => {
                asked -= 1;
                if asked == 0 {
                    put(&mut out, Command::PreSleep, &[]);
                }
            }
            Command::JobAssign => {
                let handle = body.split(|&byte| byte == 0).next().unwrap_or_default();
                put(&mut out, Command::WorkComplete, &[handle, b""]);
                asked -= 1;
                ask(&mut out, &mut asked);
            }
            other => panic!("expected a job, found {other}"),
        }
        if packets.buffer().is_empty() {
            if (&mut &*stream).write_all(&out).is_err() {
                return;
            }
            out.clear();
        }
    }
}

fn ask(out: &mut Vec<u8>, asked: &mut usize) {
    while *asked < IN_FLIGHT {
        put(out, Command::GrabJob, &[]);
        *asked += 1;
    }
}

fn put(out: &mut Vec<u8>, command: Command, arguments: &[&[u8]]) {
    packet::encode(out, Magic::Request, command, arguments);
}

fn receive(packets: &mut impl Read) -> Option<(Command, Vec<u8>)> {
    let mut header = [0; HEADER_BYTES];
    packets.read_exact(&mut header).ok()?;
    let word = |at: usize| {
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let mut body = vec![0; word(8) as usize];
    packets.read_exact(&mut body).ok()?;
    Some((Command::from_code(word(4))?, body))
}
