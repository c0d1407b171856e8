//! How all threads of a soak end together.

use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Says once that it is time to end.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    requested: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub(crate) fn request(&self) {
        *self.requested.lock().expect(UNPOISONED) = true;
        self.changed.notify_all();
    }

    /// Sleeps; `false` when it is time to end, and then sooner.
    pub(crate) fn sleep(&self, duration: Duration) -> bool {
        let requested = self.requested.lock().expect(UNPOISONED);
        let slept = self
            .changed
            .wait_timeout_while(requested, duration, |requested| !*requested);
        !*slept.expect(UNPOISONED).0
    }

    /// As [`Stop::sleep`], until then.
    pub(crate) fn sleep_until(&self, then: Instant) -> bool {
        self.sleep(then.saturating_duration_since(Instant::now()))
    }
}

const UNPOISONED: &str = "nothing panics with it held";

/// Ends the soak when the thread that holds it panics, and not hours later.
pub(crate) struct StopOnPanic<'a>(pub(crate) &'a Stop);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.request();
        }
    }
}
