//! Names into addresses, never longer than a deadline allows.
//!
//! The system's resolver cannot be interrupted, so it runs in a thread of its own. A thread that
//! is given up ends by itself when the resolver gives up; there are never more than
//! [`MAX_LOOKUPS`] of them.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::error::{Error, Phase};
use crate::gearman::servers::host_port::HostPort;
use crate::gearman::thread;
use crate::gearman::wire::connection::network;
use crate::gearman::wire::deadline::Deadline;

/// How many lookups may be under way in the whole process.
const MAX_LOOKUPS: usize = 64;

static LOOKUPS: AtomicUsize = AtomicUsize::new(0);

/// A lookup that is under way.
pub(crate) struct Lookup {
    server: HostPort,
    answer: mpsc::Receiver<Result<Vec<SocketAddr>, Problem>>,
}

/// Why there are no addresses.
enum Problem {
    /// There was no thread to ask with, which says nothing about the name.
    NoThread(io::Error),
    /// What the system answered.
    Answer(io::Error),
}

/// Begins to look `server` up. Begin all before waiting for the first, and they run side by side.
pub(crate) fn begin(server: &HostPort) -> Lookup {
    begin_with(server, look_up)
}

/// As [`begin`], with `look_up` for the system.
fn begin_with(
    server: &HostPort,
    look_up: impl FnOnce(&HostPort) -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> Lookup {
    let (give, answer) = mpsc::sync_channel(1);
    if let Some(address) = server.literal() {
        let _ = give.send(Ok(vec![SocketAddr::new(address, server.port)]));
    } else {
        let host_port = server.clone();
        let errors = give.clone();
        let started = take_slot().and_then(|slot| {
            thread::spawn("gman-lookup", move || {
                // Nobody may be waiting any more.
                let _ = give.send(look_up(&host_port).map_err(Problem::Answer));
                drop(slot);
            })
        });
        if let Err(error) = started {
            let _ = errors.send(Err(Problem::NoThread(error)));
        }
    }
    Lookup {
        server: server.clone(),
        answer,
    }
}

impl Lookup {
    /// Waits for the addresses, at least one.
    ///
    /// # Errors
    ///
    /// [`Error::Network`] in [`Phase::Resolve`], or [`Error::System`].
    pub(crate) fn wait(self, deadline: &Deadline<'_>) -> Result<Vec<SocketAddr>, Error> {
        let late = |_| {
            Err(Problem::Answer(io::Error::new(
                ErrorKind::TimedOut,
                "timed out",
            )))
        };
        let answer = self
            .answer
            .recv_timeout(deadline.left())
            .unwrap_or_else(late);
        answer.map_err(|problem| match problem {
            Problem::NoThread(source) => Error::no("thread", source),
            Problem::Answer(source) => {
                let server = Arc::from(self.server.to_string());
                network(&server, Phase::Resolve, deadline, source)
            }
        })
    }
}

/// Asks the system, for as long as the system takes.
pub(crate) fn look_up(server: &HostPort) -> io::Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    let found = (server.host.as_str(), server.port).to_socket_addrs();
    for address in found.map_err(|error| no_descriptor().unwrap_or(error))? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(io::Error::new(
            ErrorKind::NotFound,
            "the name has no address",
        ));
    }
    Ok(addresses)
}

/// Why no file can be opened, if so. The system's resolver says of every name then that nobody knows it.
fn no_descriptor() -> Option<io::Error> {
    let error = File::open("/dev/null").err()?;
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)).then_some(error)
}

/// One of the [`MAX_LOOKUPS`].
struct Slot;

fn take_slot() -> io::Result<Slot> {
    let slot = Slot;
    if LOOKUPS.fetch_add(1, Ordering::Relaxed) >= MAX_LOOKUPS {
        let problem = format!("{MAX_LOOKUPS} names are being resolved already, try again later");
        return Err(io::Error::other(problem));
    }
    Ok(slot)
}

impl Drop for Slot {
    fn drop(&mut self) {
        LOOKUPS.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::gearman::servers::host_port;

    fn lookup(list: &str, limit: Duration) -> Result<Vec<SocketAddr>, Error> {
        let server = host_port::parse(list).unwrap().remove(0);
        begin(&server).wait(&Deadline::after(limit))
    }

    #[test]
    fn an_address_needs_no_resolving() {
        let address = lookup("[::1]:1", Duration::ZERO).unwrap();
        assert_eq!(address, ["[::1]:1".parse().unwrap()]);
    }

    #[test]
    fn a_name_has_the_addresses_that_the_system_knows() {
        let addresses = lookup("localhost:7", Duration::from_secs(30)).unwrap();
        assert!(
            addresses.contains(&"127.0.0.1:7".parse().unwrap()),
            "{addresses:?}"
        );
    }

    #[test]
    fn a_lookup_that_takes_too_long_is_an_error_that_names_the_server() {
        const LIMIT: Duration = Duration::from_millis(20);
        let server = host_port::parse("db.example:7").unwrap().remove(0);
        let (release, released) = mpsc::channel::<()>();
        let lookup = begin_with(&server, move |_| {
            let _ = released.recv();
            Ok(Vec::new())
        });
        let error = lookup.wait(&Deadline::after(LIMIT)).unwrap_err();
        drop(release);
        let Error::Network { elapsed, .. } = &error else {
            panic!("{error}");
        };
        assert!(*elapsed >= LIMIT, "{elapsed:?}");
        let text = error.to_string();
        assert!(
            text.starts_with("resolve db.example:7: timed out"),
            "{text}"
        );
    }
}
