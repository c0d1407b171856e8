//! The idle connections to one job server.
//!
//! A connection is taken out for a call and put back only after a clean exchange; a call that
//! fails drops it, which closes it. Connecting and closing happen outside the lock.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::gearman::connection::Connection;

/// How long a connection may be idle: well below the minutes after which a firewall between the
/// hosts forgets it, and then swallows what is sent without a word.
const MAX_IDLE_TIME: Duration = Duration::from_secs(60);

/// The idle connections to one job server.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// The one used last is at the back.
    idle: Mutex<VecDeque<Idle>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// The connection that was used last of those that still stand.
    pub(crate) fn take(&self) -> Option<Connection> {
        loop {
            // The guard is gone at the end of this statement: closing may wait for the kernel.
            let idle = self.lock().pop_back()?;
            if idle.since.elapsed() < MAX_IDLE_TIME && idle.connection.is_reusable() {
                return Some(idle.connection);
            }
        }
    }

    /// Keeps a connection for the next call, unless it had an error or there are `max_idle` already.
    pub(crate) fn put(&self, mut connection: Connection, max_idle: usize) {
        if !connection.is_clean() {
            return;
        }
        connection.trim();
        let since = Instant::now();
        let mut idle = self.lock();
        idle.push_back(Idle { connection, since });
        let stale = idle
            .iter()
            .take_while(|idle| since.duration_since(idle.since) >= MAX_IDLE_TIME)
            .count();
        let surplus = idle.len().saturating_sub(max_idle);
        let closing: Vec<Idle> = idle.drain(..stale.max(surplus)).collect();
        drop(idle);
        drop(closing);
    }

    /// Closes every idle connection: the server failed, and they lead to the same place.
    pub(crate) fn clear(&self) {
        let closing = std::mem::take(&mut *self.lock());
        drop(closing);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        // Nothing in here panics half way.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
