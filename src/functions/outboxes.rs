//! The outboxes of this server, and who waits for a commit that wrote to one.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::gearman::delivery::window::Gate;

/// How long a relay waits if no session ever told it of a row: as long as it sleeps without us.
pub(super) const UNTOLD: Duration = Duration::from_millis(50);

/// How often a wait looks whether its statement was killed.
const LOOK: Duration = Duration::from_millis(50);

/// How often a relay that was woken looks whether the commit is visible.
const GLANCE: Duration = Duration::from_micros(50);

/// A commit that is not visible by then is found by the relay's next poll.
const PATIENCE: Duration = Duration::from_millis(20);

/// How many outboxes are known at most, as any account can name one.
const MAX_OUTBOXES: usize = 1000;

/// The outboxes of this server, by their schemas.
static OUTBOXES: LazyLock<Mutex<HashMap<Vec<u8>, Arc<Outbox>>>> = LazyLock::new(Mutex::default);

/// What wakes the relay of one outbox.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
    committed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whether a session ever told of a row.
    is_told: bool,
    /// The last commit since the relay waited last.
    commit: Option<(Arc<dyn Gate>, u64)>,
}

impl Outbox {
    /// The one of `schema`; `None` if there are too many.
    pub(super) fn of(schema: &[u8]) -> Option<Arc<Self>> {
        let mut outboxes = lock(&OUTBOXES);
        if let Some(outbox) = outboxes.get(schema) {
            return Some(Arc::clone(outbox));
        }
        if outboxes.len() >= MAX_OUTBOXES {
            return None;
        }
        let outbox = Arc::new(Self::default());
        outboxes.insert(schema.to_vec(), Arc::clone(&outbox));
        Some(outbox)
    }

    /// A session tells of its rows.
    pub(super) fn is_told(&self) {
        lock(&self.state).is_told = true;
    }

    /// A transaction that wrote to the outbox commits; its rows are visible behind the gate.
    pub(super) fn wake(&self, gate: Arc<dyn Gate>, number: u64) {
        lock(&self.state).commit = Some((gate, number));
        self.committed.notify_one();
    }

    /// Waits for a commit, for `limit` at most; `None` if no session ever told of a row.
    pub(super) fn wait(&self, limit: Duration, should_stop: &dyn Fn() -> bool) -> Option<bool> {
        let began = Instant::now();
        let mut state = lock(&self.state);
        loop {
            if let Some((gate, number)) = state.commit.take() {
                drop(state);
                wait_until_visible(&*gate, number);
                return Some(true);
            }
            let limit = if state.is_told {
                limit
            } else {
                limit.min(UNTOLD)
            };
            let left = limit.saturating_sub(began.elapsed());
            if left.is_zero() || should_stop() {
                return state.is_told.then_some(false);
            }
            let waited = self.committed.wait_timeout(state, left.min(LOOK));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A participant may be called before InnoDB.
fn wait_until_visible(gate: &dyn Gate, number: u64) {
    let began = Instant::now();
    while !gate.is_open(number) && began.elapsed() < PATIENCE {
        thread::sleep(GLANCE);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in there is put in whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
