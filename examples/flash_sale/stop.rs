//! Whether SIGTERM or SIGINT has come.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How soon a signal is noticed during a pause.
const TICK: Duration = Duration::from_millis(50);

pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn on_signals() -> io::Result<Self> {
        let requested = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&requested))?;
        }
        Ok(Self(requested))
    }

    pub(crate) fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Pauses, for less when a signal comes.
    pub(crate) fn pause(&self, mut left: Duration) {
        while !left.is_zero() && !self.requested() {
            let step = left.min(TICK);
            thread::sleep(step);
            left -= step;
        }
    }
}
