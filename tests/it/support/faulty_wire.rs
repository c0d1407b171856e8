//! A wire between us and a job server that does to what passes what no good wire does.
//!
//! It rolls dice, and says with which seed: `GMAN_TEST_SEED` repeats a run. Of what passes it understands
//! where an answer ends and which job it is about, unless it is encrypted.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use super::fake_job_server::{
    JOB_CREATED, NOOP, WORK_COMPLETE, WORK_DATA, WORK_STATUS, header, packet,
};
use super::scale::scale;

/// How much is read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Where a packet says what it is, how long it is, and where its body begins.
const HEADER_BYTES: usize = 12;

/// How many packets of an endless stream are written at once.
const FLOOD: usize = 1000;

/// What happens to what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// One bit is another: of the job server's answers.
    FlippedAnswers,
    /// One bit is another: of either direction.
    FlippedBits,
    /// Every byte comes by itself.
    Split,
    /// Everything comes up to this much later.
    Late(Duration),
    /// Answers come twice.
    Twice,
    /// An answer comes after the one behind it.
    Swapped,
    /// Between answers there are some to jobs that nobody has submitted.
    Unasked,
    /// An answer announces 4 GiB.
    Huge,
    /// Behind an answer there are parts of the job's result without end.
    EndlessData,
    /// Behind an answer it is said without end how far the job is.
    EndlessStatus,
    /// Behind an answer there are `NOOP`s without end.
    EndlessNoops,
}

/// A wire on a free port; it forwards to one server until the test process ends.
#[derive(Debug)]
pub(crate) struct FaultyWire {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    backend: SocketAddr,
    is_encrypted: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    fault: Option<Fault>,
    /// A fault comes about once in so many times.
    once_in: u32,
    /// How often the fault has come.
    faults: u32,
    dice: Rng,
}

impl FaultyWire {
    /// A wire to a job server; a good one at first.
    pub(crate) fn start(backend_port: u16) -> Self {
        Self::start_of(backend_port, false)
    }

    /// A wire to the TLS end of a job server. What it reads at once is one answer.
    pub(crate) fn start_encrypted(backend_port: u16) -> Self {
        Self::start_of(backend_port, true)
    }

    fn start_of(backend_port: u16, is_encrypted: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let seed = scale("GMAN_TEST_SEED", fastrand::u32(..));
        println!("GMAN_TEST_SEED={seed}");
        let shared = Arc::new(Shared {
            backend: (Ipv4Addr::LOCALHOST, backend_port).into(),
            is_encrypted,
            state: Mutex::new(State {
                fault: None,
                once_in: 1,
                faults: 0,
                dice: Rng::with_seed(seed.into()),
            }),
        });
        let forwarding = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&forwarding);
                thread::spawn(move || shared.connect(&client));
            }
        });
        Self { address, shared }
    }

    /// `127.0.0.1:port`, as `gman_servers_set` takes it.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on `fault` comes about once in `once_in` times.
    pub(crate) fn fail(&self, fault: Fault, once_in: u32) {
        let mut state = self.shared.lock();
        (state.fault, state.once_in, state.faults) = (Some(fault), once_in, 0);
    }

    /// How often the fault has come.
    pub(crate) fn faults(&self) -> u32 {
        self.shared.lock().faults
    }

    /// Everything passes as it is.
    pub(crate) fn mend(&self) {
        self.shared.lock().fault = None;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with it held")
    }

    /// The fault that comes now, if one does.
    fn roll(&self) -> Option<(Fault, Rng)> {
        let mut state = self.lock();
        let fault = state.fault?;
        let once_in = state.once_in;
        if state.dice.u32(0..once_in) > 0 {
            return None;
        }
        state.faults += 1;
        let dice = state.dice.fork();
        Some((fault, dice))
    }

    fn connect(self: Arc<Self>, client: &TcpStream) -> io::Result<()> {
        let server = TcpStream::connect(self.backend)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let answers = {
            let (from, to, shared) = (server.try_clone()?, client.try_clone()?, Arc::clone(&self));
            thread::spawn(move || {
                let outcome = shared.answer(&from, &to);
                end(&from, &to);
                outcome
            })
        };
        let outcome = self.request(client, &server);
        end(client, &server);
        let _ = answers.join();
        outcome
    }

    /// Forwards what goes to the server.
    fn request(&self, mut from: &TcpStream, to: &TcpStream) -> io::Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let count = from.read(&mut piece)?;
            if count == 0 {
                return Ok(());
            }
            let mut bytes = piece[..count].to_vec();
            match self.roll() {
                Some((Fault::FlippedBits, dice)) => flip(&mut bytes, dice),
                Some((Fault::Split, _)) => {
                    each_byte(to, &bytes)?;
                    continue;
                }
                Some((Fault::Late(limit), mut dice)) => wait(limit, &mut dice),
                _ => {}
            }
            write(to, &bytes)?;
        }
    }

    /// Forwards what comes from the server, packet by packet.
    fn answer(&self, mut from: &TcpStream, to: &TcpStream) -> io::Result<()> {
        let (mut pending, mut piece) = (Vec::new(), vec![0; PIECE_BYTES]);
        let mut behind: Option<Vec<u8>> = None;
        loop {
            let count = from.read(&mut piece)?;
            if count == 0 {
                return Ok(());
            }
            pending.extend_from_slice(&piece[..count]);
            while let Some(length) = self.length(&pending) {
                let one: Vec<u8> = pending.drain(..length).collect();
                match self.roll() {
                    // It waits for the next one; if there is none, for the end of this round.
                    Some((Fault::Swapped, _)) if behind.is_none() => behind = Some(one),
                    rolled => self.damage(to, one, rolled)?,
                }
                if pending.len() < HEADER_BYTES
                    && let Some(late) = behind.take()
                {
                    write(to, &late)?;
                }
            }
        }
    }

    /// The length of the whole answer that `bytes` begin with.
    fn length(&self, bytes: &[u8]) -> Option<usize> {
        if self.is_encrypted {
            return Some(bytes.len()).filter(|&length| length > 0);
        }
        let [.., a, b, c, d] = *bytes.first_chunk::<HEADER_BYTES>()?;
        let length = HEADER_BYTES + u32::from_be_bytes([a, b, c, d]) as usize;
        (bytes.len() >= length).then_some(length)
    }

    /// Writes one packet of the server, and does to it what has been rolled.
    fn damage(
        &self,
        to: &TcpStream,
        mut one: Vec<u8>,
        rolled: Option<(Fault, Rng)>,
    ) -> io::Result<()> {
        let Some((fault, mut dice)) = rolled else {
            return write(to, &one);
        };
        let handle = handle(&one);
        match fault {
            Fault::FlippedAnswers | Fault::FlippedBits => flip(&mut one, dice),
            Fault::Split => return each_byte(to, &one),
            Fault::Late(limit) => wait(limit, &mut dice),
            Fault::Twice => one = one.repeat(2),
            Fault::Swapped => {}
            Fault::Unasked => {
                let other = format!("H:nobody:{}", dice.u32(..));
                let kind = [JOB_CREATED, WORK_COMPLETE, WORK_STATUS][dice.usize(..3)];
                let arguments: &[&[u8]] = match kind {
                    JOB_CREATED => &[other.as_bytes()],
                    WORK_COMPLETE => &[other.as_bytes(), b"7"],
                    _ => &[other.as_bytes(), b"1", b"2"],
                };
                one.extend(packet(kind, arguments));
            }
            Fault::Huge => one.extend(header(WORK_DATA, u32::MAX)),
            Fault::EndlessData => {
                return self.flood(to, &one, &packet(WORK_DATA, &[&handle, &[b'x'; 100]]));
            }
            Fault::EndlessStatus => {
                return self.flood(to, &one, &packet(WORK_STATUS, &[&handle, b"1", b"2"]));
            }
            Fault::EndlessNoops => return self.flood(to, &one, &packet(NOOP, &[])),
        }
        write(to, &one)
    }

    /// Until the wire is good again, or nobody listens any more.
    fn flood(&self, to: &TcpStream, before: &[u8], endless: &[u8]) -> io::Result<()> {
        write(to, before)?;
        let fault = self.lock().fault;
        let many = endless.repeat(FLOOD);
        while self.lock().fault == fault {
            write(to, &many)?;
        }
        Ok(())
    }
}

fn each_byte(to: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    bytes.iter().try_for_each(|byte| write(to, &[*byte]))
}

fn write(mut to: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)
}

fn wait(limit: Duration, dice: &mut Rng) {
    thread::sleep(limit.mul_f64(dice.f64()));
}

fn flip(bytes: &mut [u8], mut dice: Rng) {
    let place = dice.usize(..bytes.len());
    bytes[place] ^= 1 << dice.u32(..8);
}

fn end(one: &TcpStream, other: &TcpStream) {
    // Either may have ended by itself.
    let _ = one.shutdown(Shutdown::Both);
    let _ = other.shutdown(Shutdown::Both);
}

/// The first argument of a packet, which is the handle of its job.
fn handle(packet: &[u8]) -> Vec<u8> {
    let arguments = packet.get(HEADER_BYTES..).unwrap_or_default();
    let first = arguments.split(|&byte| byte == 0).next();
    first.unwrap_or_default().to_vec()
}
