//! Keeps the addresses of named servers fresh, off the path of those who submit.
//!
//! The thread exists only while a list has names in it. A lookup that fails changes nothing.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::gearman::servers::host_port::HostPort;
use crate::gearman::servers::resolver;
use crate::gearman::thread;

/// How often names are looked up. The resolver tells no time to live, and 30 s is what name
/// servers that move services around use for it.
const EVERY: Duration = Duration::from_secs(30);

/// How often at most, however often servers fail.
const EVERY_AT_MOST: Duration = Duration::from_secs(1);

/// Something with a name whose addresses change.
pub(crate) trait Named: Debug + Send + Sync {
    /// The name.
    fn host_port(&self) -> &HostPort;

    /// Takes note of where it is now.
    fn set_addresses(&self, addresses: &[SocketAddr]);
}

/// The handle on the thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refresher {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    /// Somebody wants the names looked up now.
    asked: bool,
}

impl Refresher {
    /// Starts the thread unless it runs. It ends once `named_servers` returns none.
    pub(crate) fn run<N: Named + 'static>(
        &self,
        named_servers: impl Fn() -> Vec<Arc<N>> + Send + 'static,
    ) -> io::Result<()> {
        let mut state = self.shared.lock();
        if !state.running {
            let shared = Arc::clone(&self.shared);
            thread::spawn("gman-resolve", move || shared.refresh(&named_servers))?;
            state.running = true;
        }
        Ok(())
    }

    /// A server cannot be reached, or there may be no more names: look now instead of later.
    pub(crate) fn ask(&self) {
        let mut state = self.shared.lock();
        if state.running {
            state.asked = true;
            self.shared.changed.notify_one();
        }
    }
}

impl Shared {
    fn refresh<N: Named>(&self, named_servers: &dyn Fn() -> Vec<Arc<N>>) {
        loop {
            self.pause();
            let servers = {
                let mut state = self.lock();
                let servers = named_servers();
                // Decided under the lock: a list that gets its first name now finds the thread
                // either going on or gone.
                state.running = !servers.is_empty();
                servers
            };
            if servers.is_empty() {
                return;
            }
            for server in servers {
                if let Ok(addresses) = resolver::look_up(server.host_port()) {
                    server.set_addresses(&addresses);
                }
            }
        }
    }

    /// Waits for the next round: [`EVERY`], or less when asked, but not less than [`EVERY_AT_MOST`].
    fn pause(&self) {
        let begin = Instant::now();
        let mut state = self.lock();
        loop {
            let waited = begin.elapsed();
            let until = if state.asked { EVERY_AT_MOST } else { EVERY };
            if waited >= until {
                state.asked = false;
                return;
            }
            state = self
                .changed
                .wait_timeout(state, until - waited)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
