//! The connections to one job server: the idle ones, and permits to use one.
//!
//! A call takes a connection for its exchange and puts it back afterwards; a call that fails drops
//! it. What has been in use at the same time stays open, and is closed after [`MAX_IDLE_TIME`].
//!
//! No more than [`Limits::connections`] calls use a connection at the same time: more would only wait
//! inside the job server. No more than [`MAX_OPENING`] connections are being opened at the same time,
//! counted until the job server has answered on each: it has accepted them all by then, so that its
//! listen queue never overflows, which would cost a second for each dropped packet. Calls beyond these
//! bounds wait in a queue. Connecting and closing happen outside the lock.
//!
//! [`Limits::connections`]: crate::gearman::limits::Limits::connections

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::gearman::wire::connection::Connection;
use crate::gearman::wire::deadline::{Deadline, Spent};

/// How long a connection may be idle: well below the minutes after which a firewall between the
/// hosts forgets it, and then swallows what is sent without a word.
const MAX_IDLE_TIME: Duration = Duration::from_secs(60);

/// How many connections are being opened at the same time: half of gearmand's listen queue (32, its
/// `--backlog`), as other database servers may be opening some as well.
const MAX_OPENING: usize = 16;

/// The connections to one job server.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The one used last is at the back.
    idle: VecDeque<Idle>,
    in_use: usize,
    opening: usize,
    /// Calls that wait for their permit, in the order they came.
    queue: VecDeque<Arc<Waiter>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

/// The right to use a connection; whoever has it gives it back.
#[derive(Debug)]
pub(crate) enum Permit {
    /// This one, which is left from an earlier call.
    Kept(Connection),
    /// One that is still to be opened.
    Open,
}

/// Why there was no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPermit {
    /// The call may wait no longer.
    Spent(Spent),
    /// The job server failed meanwhile.
    ServerFailed,
}

/// What is given back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Returned {
    /// A place among the connections in use.
    pub(crate) in_use: bool,
    /// A place among those that are being opened.
    pub(crate) opening: bool,
}

impl Returned {
    /// Nothing.
    pub(crate) const NOTHING: Self = Self {
        in_use: false,
        opening: false,
    };

    /// Whatever there is.
    pub(crate) const ALL: Self = Self {
        in_use: true,
        opening: true,
    };
}

/// A call in the queue.
#[derive(Debug)]
struct Waiter {
    max_in_use: usize,
    /// Given with the pool's lock held, when the waiter leaves the queue.
    permit: Mutex<Option<Result<Permit, NoPermit>>>,
    given: Condvar,
}

impl Pool {
    /// Waits for a permit, behind those that came before; at most `max_in_use` calls have one.
    pub(crate) fn take(
        &self,
        max_in_use: usize,
        deadline: &Deadline<'_>,
        now: Instant,
    ) -> Result<Permit, NoPermit> {
        let mut closing = Vec::new();
        let mut state = self.lock();
        if state.queue.is_empty()
            && let Some(permit) = state.admit(max_in_use, now, &mut closing)
        {
            drop(state);
            return Ok(permit);
        }
        let waiter = Arc::new(Waiter {
            max_in_use,
            permit: Mutex::default(),
            given: Condvar::new(),
        });
        state.queue.push_back(Arc::clone(&waiter));
        drop(state);
        drop(closing);
        self.wait(&waiter, deadline)
    }

    /// A permit for whoever found that a kept connection is dead: it opens another in its place. Waits
    /// for nobody, as the call has waited already.
    pub(crate) fn exchange_for_open(&self) {
        self.lock().opening += 1;
    }

    fn wait(&self, waiter: &Arc<Waiter>, deadline: &Deadline<'_>) -> Result<Permit, NoPermit> {
        loop {
            let slice = match deadline.slice() {
                Ok(slice) => slice,
                Err(spent) => return self.leave_queue(waiter, spent),
            };
            let permit = lock(&waiter.permit);
            let (mut permit, _) = waiter
                .given
                .wait_timeout_while(permit, slice, |permit| permit.is_none())
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(permit) = permit.take() {
                return permit;
            }
        }
    }

    fn leave_queue(&self, waiter: &Arc<Waiter>, spent: Spent) -> Result<Permit, NoPermit> {
        let mut state = self.lock();
        let place = state.queue.iter().position(|one| Arc::ptr_eq(one, waiter));
        match place {
            Some(place) => drop(state.queue.remove(place)),
            // It was given at the last moment: there is no time left to use it.
            None => {
                drop(state);
                if let Some(Ok(permit)) = lock(&waiter.permit).take() {
                    self.put_back(permit);
                }
            }
        }
        Err(NoPermit::Spent(spent))
    }

    fn put_back(&self, permit: Permit) {
        let opening = matches!(permit, Permit::Open);
        let returned = Returned {
            in_use: true,
            opening,
        };
        match permit {
            Permit::Kept(connection) => self.put(connection, returned, Instant::now()),
            Permit::Open => self.give_back(returned),
        }
    }

    /// Gives places back; those who wait get them.
    pub(crate) fn give_back(&self, returned: Returned) {
        let mut closing = Vec::new();
        let mut state = self.lock();
        state.free(returned);
        state.call_waiters(Instant::now(), &mut closing);
        drop(state);
    }

    /// Gives places back and keeps the connection for the next call, unless its last call left
    /// something behind. Closes what was idle for too long.
    pub(crate) fn put(&self, mut connection: Connection, returned: Returned, now: Instant) {
        let mut closing = Vec::new();
        let clean = connection.is_clean();
        if clean {
            connection.trim();
        }
        let mut state = self.lock();
        state.free(returned);
        if clean {
            state.idle.push_back(Idle {
                connection,
                since: now,
            });
        } else {
            closing.push(connection);
        }
        state.close_stale(now, &mut closing);
        state.call_waiters(now, &mut closing);
        drop(state);
    }

    /// The job server failed: closes every idle connection, as they lead to the same place, and sends
    /// those who wait elsewhere.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        let closing = std::mem::take(&mut state.idle);
        for waiter in state.queue.drain(..) {
            waiter.give(Err(NoPermit::ServerFailed));
        }
        drop(state);
        drop(closing);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    /// A permit, if there is one now. Idle connections that have ended go to `closing`.
    fn admit(
        &mut self,
        max_in_use: usize,
        now: Instant,
        closing: &mut Vec<Connection>,
    ) -> Option<Permit> {
        if self.in_use >= max_in_use {
            return None;
        }
        while let Some(mut idle) = self.idle.pop_back() {
            if !idle.is_stale(now) && idle.connection.is_reusable() {
                self.in_use += 1;
                return Some(Permit::Kept(idle.connection));
            }
            closing.push(idle.connection);
        }
        if self.opening >= MAX_OPENING {
            return None;
        }
        self.in_use += 1;
        self.opening += 1;
        Some(Permit::Open)
    }

    fn free(&mut self, returned: Returned) {
        self.in_use -= usize::from(returned.in_use);
        self.opening -= usize::from(returned.opening);
    }

    fn call_waiters(&mut self, now: Instant, closing: &mut Vec<Connection>) {
        while let Some(first) = self.queue.front() {
            let Some(permit) = self.admit(first.max_in_use, now, closing) else {
                return;
            };
            if let Some(first) = self.queue.pop_front() {
                first.give(Ok(permit));
            }
        }
    }

    fn close_stale(&mut self, now: Instant, closing: &mut Vec<Connection>) {
        let stale = self.idle.iter().take_while(|idle| idle.is_stale(now));
        let stale = stale.count();
        closing.extend(self.idle.drain(..stale).map(|idle| idle.connection));
    }
}

impl Idle {
    fn is_stale(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= MAX_IDLE_TIME
    }
}

impl Waiter {
    fn give(&self, permit: Result<Permit, NoPermit>) {
        *lock(&self.permit) = Some(permit);
        self.given.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics half way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::thread;

    use super::*;

    const PLENTY: Duration = Duration::from_secs(30);

    /// More than a test uses.
    const MANY: usize = 1000;

    /// What a call gives back that used a kept connection.
    const USED: Returned = Returned {
        in_use: true,
        opening: false,
    };

    /// What a call gives back that opened its connection.
    const OPENED: Returned = Returned {
        in_use: true,
        opening: true,
    };

    /// The two ends of a connection.
    fn connected() -> (Connection, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let name = Arc::from(address.to_string());
        let deadline = Deadline::after(PLENTY);
        let connection =
            Connection::open(&name, "server", address, &Arc::default(), &deadline).unwrap();
        (connection, listener.accept().unwrap().0)
    }

    /// Which of `ends` the connection of this permit leads to.
    fn end_of(permit: Result<Permit, NoPermit>, ends: &[TcpStream]) -> Option<usize> {
        match permit {
            Ok(Permit::Kept(connection)) => {
                let address = connection.local_address().unwrap();
                ends.iter()
                    .position(|end| end.peer_addr().unwrap() == address)
            }
            _ => None,
        }
    }

    fn take(pool: &Pool, max_in_use: usize, now: Instant) -> Result<Permit, NoPermit> {
        pool.take(max_in_use, &Deadline::after(Duration::ZERO), now)
    }

    fn pool_of(count: usize, now: Instant) -> (Pool, Vec<TcpStream>) {
        let pool = Pool::default();
        let ends = (0..count).map(|_| {
            let (connection, end) = connected();
            assert!(matches!(take(&pool, MANY, now), Ok(Permit::Open)));
            (connection, end)
        });
        let (connections, ends): (Vec<_>, Vec<_>) = ends.unzip();
        for connection in connections {
            pool.put(connection, OPENED, now);
        }
        (pool, ends)
    }

    #[test]
    fn the_connection_used_last_is_taken_first() {
        let now = Instant::now();
        let (pool, ends) = pool_of(2, now);
        assert_eq!(end_of(take(&pool, MANY, now), &ends), Some(1));
        assert_eq!(end_of(take(&pool, MANY, now), &ends), Some(0));
        assert!(matches!(take(&pool, MANY, now), Ok(Permit::Open)));
    }

    #[test]
    fn a_connection_that_was_idle_for_a_minute_is_closed() {
        let now = Instant::now();
        let (pool, _ends) = pool_of(1, now);
        assert!(matches!(
            take(&pool, MANY, now + MAX_IDLE_TIME),
            Ok(Permit::Open)
        ));
    }

    #[test]
    fn a_connection_that_the_server_ended_is_not_taken() {
        let now = Instant::now();
        let (pool, mut ends) = pool_of(2, now);
        drop(ends.pop());
        assert_eq!(end_of(take(&pool, MANY, now), &ends), Some(0));
    }

    #[test]
    fn a_connection_on_which_something_arrived_is_not_taken() {
        let now = Instant::now();
        let (pool, mut ends) = pool_of(2, now);
        ends[1].write_all(b"late").unwrap();
        assert_eq!(end_of(take(&pool, MANY, now), &ends), Some(0));
    }

    #[test]
    fn a_connection_with_an_open_question_is_not_kept() {
        let now = Instant::now();
        let (pool, _ends) = pool_of(1, now);
        let Ok(Permit::Kept(mut connection)) = take(&pool, MANY, now) else {
            panic!("expected the idle connection");
        };
        let deadline = Deadline::after(PLENTY);
        connection.send(|_| {}, b"question", &deadline).unwrap();
        pool.put(connection, USED, now);
        assert!(matches!(take(&pool, MANY, now), Ok(Permit::Open)));
    }

    #[test]
    fn no_more_connections_are_opened_at_once_than_a_listen_queue_holds() {
        let now = Instant::now();
        let pool = Pool::default();
        for _ in 0..MAX_OPENING {
            assert!(matches!(take(&pool, MANY, now), Ok(Permit::Open)));
        }
        let refused = take(&pool, MANY, now).unwrap_err();
        assert_eq!(refused, NoPermit::Spent(Spent::TimedOut));
        // One of them has been answered on; its call goes on using it.
        pool.give_back(Returned {
            in_use: false,
            opening: true,
        });
        assert!(matches!(take(&pool, MANY, now), Ok(Permit::Open)));
    }

    #[test]
    fn those_who_wait_get_their_turns_in_the_order_they_came() {
        let now = Instant::now();
        let pool = Pool::default();
        assert!(matches!(take(&pool, 1, now), Ok(Permit::Open)));
        let order = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for number in 0..4 {
                let (pool, order) = (&pool, &order);
                scope.spawn(move || {
                    let permit = pool.take(1, &Deadline::after(PLENTY), now);
                    assert!(matches!(permit, Ok(Permit::Open)), "{permit:?}");
                    lock(order).push(number);
                    pool.give_back(OPENED);
                });
                while pool.lock().queue.len() < number + 1 {
                    thread::yield_now();
                }
            }
            pool.give_back(OPENED);
        });
        assert_eq!(*lock(&order), [0, 1, 2, 3]);
        let state = pool.lock();
        assert_eq!((state.in_use, state.opening), (0, 0));
    }

    #[test]
    fn those_who_wait_for_a_server_that_failed_wait_no_longer() {
        let now = Instant::now();
        let pool = Pool::default();
        assert!(take(&pool, 1, now).is_ok());
        thread::scope(|scope| {
            let waiting = scope.spawn(|| pool.take(1, &Deadline::after(PLENTY), now));
            while pool.lock().queue.is_empty() {
                thread::yield_now();
            }
            pool.clear();
            let permit = waiting.join().unwrap();
            assert_eq!(permit.unwrap_err(), NoPermit::ServerFailed);
        });
    }
}
