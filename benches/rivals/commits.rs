//! How long after COMMIT a value is in Redis.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;

use super::running::{GRACE, Running};
use crate::support::{Database, Redis};

/// How many sessions share the changes: one alone would wait for the disk half of its time.
const SESSIONS: u32 = 4;

/// How often the thread that waits for values looks whether it is still needed.
const LOOK: Duration = Duration::from_millis(50);

/// The times of single-row commits at a steady rate.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    /// From COMMIT's return until the value was in Redis, in milliseconds; negative if it was there before.
    pub(crate) after_ms: Vec<f64>,
    /// Changes whose value never came.
    pub(crate) lost: usize,
    /// How many changes a second were made, in each round: fewer than asked for if the server is too slow.
    pub(crate) rates: Vec<f64>,
}

impl Commits {
    /// Changes as many rows as `seconds` have at this rate, each once.
    pub(crate) fn measure(&mut self, running: &Running<'_>, rate: u32, seconds: u32, mark: &str) {
        running.forget();
        let changes = rate * seconds;
        let arrivals = Arrivals::at(running.redis());
        let began = Instant::now();
        let returned: Vec<(u32, Instant)> = thread::scope(|scope| {
            let sessions: Vec<_> = (0..SESSIONS)
                .map(|session| {
                    let ids = (session + 1..=changes).step_by(SESSIONS as usize);
                    scope.spawn(move || change(running.database(), ids, began, rate, mark))
                })
                .collect();
            let done = sessions
                .into_iter()
                .map(|session| session.join().expect("a session"));
            done.flatten().collect()
        });
        self.rates
            .push(f64::from(changes) / began.elapsed().as_secs_f64());
        let arrived = arrivals.end(returned.len());
        for (id, returned) in returned {
            match arrived.get(&id) {
                Some(arrived) => self.after_ms.push(difference_ms(*arrived, returned)),
                None => self.lost += 1,
            }
        }
    }

    /// The time that this share of the values that came did not exceed.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        let mut times = self.after_ms.clone();
        times.sort_unstable_by(f64::total_cmp);
        let last = times.len().saturating_sub(1);
        times
            .get((last as f64 * share).round() as usize)
            .copied()
            .unwrap_or(f64::NAN)
    }

    /// The share of the values that came before COMMIT returned.
    pub(crate) fn before(&self) -> f64 {
        let before = self.after_ms.iter().filter(|&&time| time < 0.0).count();
        before as f64 / self.after_ms.len() as f64
    }
}

fn difference_ms(later: Instant, earlier: Instant) -> f64 {
    let after = later.saturating_duration_since(earlier).as_secs_f64();
    let before = earlier.saturating_duration_since(later).as_secs_f64();
    (after - before) * 1e3
}

/// Changes these rows, each when its turn has come; returns when each COMMIT returned.
fn change(
    database: &Database,
    ids: impl Iterator<Item = u32>,
    began: Instant,
    rate: u32,
    mark: &str,
) -> Vec<(u32, Instant)> {
    let mut session = database.connect();
    let update = session
        .prep("UPDATE t SET name = ? WHERE id = ?")
        .expect("a statement");
    ids.map(|id| {
        let due = began + Duration::from_secs(1) * id / rate;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        session
            .exec_drop(&update, (format!("{mark}-{id}"), id))
            .expect("an UPDATE");
        (id, Instant::now())
    })
    .collect()
}

/// Listens to Redis, which tells of every key that is set.
struct Arrivals {
    count: Arc<AtomicUsize>,
    enough: Arc<AtomicBool>,
    thread: JoinHandle<HashMap<u32, Instant>>,
}

impl Arrivals {
    fn at(redis: &Redis) -> Self {
        let set = ["CONFIG", "SET", "notify-keyspace-events", "K$"];
        let _: String = redis.command(&set).expect("CONFIG SET");
        let (count, enough) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (counted, ended) = (Arc::clone(&count), Arc::clone(&enough));
        let mut connection = redis.connect();
        let (subscribed, ready) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut events = connection.as_pubsub();
            events.psubscribe("__keyspace@0__:*").expect("PSUBSCRIBE");
            events.set_read_timeout(Some(LOOK)).expect("a TCP socket");
            subscribed.send(()).expect("someone waits");
            let mut arrived = HashMap::new();
            while !ended.load(Ordering::Relaxed) {
                let message = match events.get_message() {
                    Ok(message) => message,
                    Err(error) if error.is_timeout() => continue,
                    Err(error) => panic!("Redis tells of no keys: {error}"),
                };
                let now = Instant::now();
                let key = message.get_channel_name().rsplit(':').next();
                let id = key.and_then(|key| key.parse().ok()).expect("an id");
                arrived.entry(id).or_insert(now);
                counted.store(arrived.len(), Ordering::Relaxed);
            }
            arrived
        });
        ready.recv().expect("a listener");
        Self {
            count,
            enough,
            thread,
        }
    }

    /// When each value came, once so many have or no others come.
    fn end(self, wanted: usize) -> HashMap<u32, Instant> {
        let (mut count, mut came) = (0, Instant::now());
        while count < wanted && came.elapsed() < GRACE {
            thread::sleep(LOOK);
            let now = self.count.load(Ordering::Relaxed);
            if now != count {
                (count, came) = (now, Instant::now());
            }
        }
        self.enough.store(true, Ordering::Relaxed);
        self.thread.join().expect("a listener")
    }
}
