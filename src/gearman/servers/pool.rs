//! The idle connections to one job server.
//!
//! A connection is taken out for a call and put back only after a clean exchange; a call that
//! fails drops it, which closes it. Connecting and closing happen outside the lock.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::gearman::wire::connection::Connection;

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

impl Idle {
    fn is_stale(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= MAX_IDLE_TIME
    }
}

impl Pool {
    /// The connection that was used last of those that still stand.
    pub(crate) fn take(&self, now: Instant) -> Option<Connection> {
        loop {
            // The guard is gone at the end of this statement: closing may wait for the kernel.
            let idle = self.lock().pop_back()?;
            if !idle.is_stale(now) && idle.connection.is_reusable() {
                return Some(idle.connection);
            }
        }
    }

    /// Keeps a connection for the next call, unless its last call left something behind. Of more
    /// than `max_idle` the ones that were idle longest are closed.
    pub(crate) fn put(&self, mut connection: Connection, max_idle: usize, now: Instant) {
        if !connection.is_clean() {
            return;
        }
        connection.trim();
        let mut idle = self.lock();
        idle.push_back(Idle {
            connection,
            since: now,
        });
        let stale = idle.iter().take_while(|idle| idle.is_stale(now)).count();
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::sync::Arc;

    use super::*;
    use crate::gearman::wire::deadline::Deadline;

    const PLENTY: Duration = Duration::from_secs(30);

    /// The two ends of a connection.
    fn connected() -> (Connection, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let name = Arc::from(address.to_string());
        let connection = Connection::open(&name, address, &Deadline::after(PLENTY)).unwrap();
        (connection, listener.accept().unwrap().0)
    }

    /// Which of `ends` the connection leads to.
    fn end_of(connection: Option<Connection>, ends: &[TcpStream]) -> Option<usize> {
        let address = connection?.local_address().unwrap();
        ends.iter()
            .position(|end| end.peer_addr().unwrap() == address)
    }

    fn pool_of(count: usize, max_idle: usize, now: Instant) -> (Pool, Vec<TcpStream>) {
        let pool = Pool::default();
        let ends = (0..count).map(|_| {
            let (connection, end) = connected();
            pool.put(connection, max_idle, now);
            end
        });
        let ends = ends.collect();
        (pool, ends)
    }

    #[test]
    fn the_connection_used_last_is_taken_first() {
        let now = Instant::now();
        let (pool, ends) = pool_of(2, 16, now);
        assert_eq!(end_of(pool.take(now), &ends), Some(1));
        assert_eq!(end_of(pool.take(now), &ends), Some(0));
        assert!(pool.take(now).is_none());
    }

    #[test]
    fn of_too_many_the_ones_that_were_idle_longest_are_closed() {
        let now = Instant::now();
        let (pool, ends) = pool_of(3, 2, now);
        assert_eq!(end_of(pool.take(now), &ends), Some(2));
        assert_eq!(end_of(pool.take(now), &ends), Some(1));
        assert!(pool.take(now).is_none());
        let (pool, _ends) = pool_of(1, 0, now);
        assert!(pool.take(now).is_none());
    }

    #[test]
    fn a_connection_that_was_idle_for_a_minute_is_closed() {
        let now = Instant::now();
        let (pool, _ends) = pool_of(1, 16, now);
        assert!(pool.take(now + MAX_IDLE_TIME).is_none());
    }

    #[test]
    fn a_connection_that_the_server_ended_is_not_taken() {
        let now = Instant::now();
        let (pool, mut ends) = pool_of(2, 16, now);
        drop(ends.pop());
        assert_eq!(end_of(pool.take(now), &ends), Some(0));
    }

    #[test]
    fn a_connection_on_which_something_arrived_is_not_taken() {
        let now = Instant::now();
        let (pool, mut ends) = pool_of(2, 16, now);
        ends[1].write_all(b"late").unwrap();
        assert_eq!(end_of(pool.take(now), &ends), Some(0));
    }

    #[test]
    fn a_connection_with_an_open_question_is_not_kept() {
        let now = Instant::now();
        let (mut connection, _end) = connected();
        let deadline = Deadline::after(PLENTY);
        connection.send(|_| {}, b"question", &deadline).unwrap();
        let pool = Pool::default();
        pool.put(connection, 16, now);
        assert!(pool.take(now).is_none());
    }
}
