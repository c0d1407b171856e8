//! A wire between the library and a job server, which notes what passes and can be cut.

use std::collections::{HashSet, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// `JOB_CREATED` of gearmand's PROTOCOL document.
const JOB_CREATED: u32 = 8;

/// How often a stopped direction looks whether it may go on.
const LOOK: Duration = Duration::from_millis(5);

/// A proxy on a free port; it forwards to one job server until the test process ends.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    backend: SocketAddr,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    cut: bool,
    holds_answers: bool,
    /// Unique ids whose `JOB_CREATED` has been handed on.
    acknowledged: HashSet<String>,
}

impl Proxy {
    pub(crate) fn start(backend_port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap_or_else(|error| panic!("cannot listen: {error}"));
        let address = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared {
            backend: (Ipv4Addr::LOCALHOST, backend_port).into(),
            state: Mutex::default(),
        });
        let forwarding = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&forwarding);
                thread::spawn(move || connect(client, &shared));
            }
        });
        Self { address, shared }
    }

    /// `127.0.0.1:port`, as `gman_servers_set` takes it.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Nothing passes any more, and nobody is told: connections stay open.
    pub(crate) fn cut(&self) {
        self.shared.lock().cut = true;
    }

    /// Everything passes again.
    pub(crate) fn mend(&self) {
        self.shared.lock().cut = false;
    }

    /// The job server gets everything, and what it answers does not pass any more.
    pub(crate) fn hold_answers(&self) {
        self.shared.lock().holds_answers = true;
    }

    /// Answers pass again, on connections that are still open.
    pub(crate) fn let_answers_pass(&self) {
        self.shared.lock().holds_answers = false;
    }

    /// The unique ids that the library has been told the job server has.
    pub(crate) fn acknowledged(&self) -> HashSet<String> {
        self.shared.lock().acknowledged.clone()
    }

    /// Forgets these, for those who run for hours and do not ask.
    pub(crate) fn forget_acknowledged(&self) {
        self.shared.lock().acknowledged.clear();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with it held")
    }

    /// Waits while the wire is cut.
    fn pass(&self) {
        self.wait_while(|state| state.cut);
    }

    fn wait_while(&self, is_held: impl Fn(&State) -> bool) {
        while is_held(&self.lock()) {
            thread::sleep(LOOK);
        }
    }
}

/// Forwards both directions; when one ends, so does the other.
fn connect(client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    shared.pass();
    let server = TcpStream::connect(shared.backend)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let submitted = Arc::new(Mutex::new(VecDeque::new()));
    let requests = {
        let (from, to) = (client.try_clone()?, server.try_clone()?);
        let (shared, submitted) = (Arc::clone(shared), Arc::clone(&submitted));
        thread::spawn(move || {
            forward(&from, &to, &shared, |_, body| {
                let unique = body.split(|&byte| byte == 0).nth(1).unwrap_or_default();
                let unique = String::from_utf8_lossy(unique).into_owned();
                submitted.lock().expect("not poisoned").push_back(unique);
            })
        })
    };
    let answers = forward(&server, &client, shared, |kind, _| {
        shared.wait_while(|state| state.holds_answers);
        let unique = submitted.lock().expect("not poisoned").pop_front();
        if kind == JOB_CREATED {
            shared.lock().acknowledged.extend(unique);
        }
    });
    let _ = requests.join();
    answers
}

/// Copies whole packets, and notes each before the other side can have it.
fn forward(
    mut from: &TcpStream,
    mut to: &TcpStream,
    shared: &Shared,
    mut note: impl FnMut(u32, &[u8]),
) -> io::Result<()> {
    let mut pending = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    let outcome = loop {
        match from.read(&mut chunk) {
            Ok(0) => break Ok(()),
            Ok(count) => pending.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => break Err(error),
        }
        shared.pass();
        let mut whole = 0;
        while let Some((kind, length)) = packet(&pending[whole..]) {
            note(kind, &pending[whole + 12..whole + length]);
            whole += length;
        }
        if let Err(error) = to.write_all(&pending[..whole]) {
            break Err(error);
        }
        pending.drain(..whole);
    };
    // The other direction ends with this one; it may have ended before.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
    outcome
}

/// The type and the length of the whole packet that `bytes` begins with.
fn packet(bytes: &[u8]) -> Option<(u32, usize)> {
    let header = bytes.first_chunk::<12>()?;
    let [_, _, _, _, a, b, c, d, rest @ ..] = *header;
    let length = 12 + u32::from_be_bytes(rest) as usize;
    (bytes.len() >= length).then(|| (u32::from_be_bytes([a, b, c, d]), length))
}
