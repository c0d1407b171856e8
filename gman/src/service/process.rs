//! What ends a process that runs until it is stopped: signals, and a thread that panics or fails.

use std::panic;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::stop::Stop;
use crate::error::{Error, Result};
use crate::{terminal, threads};

/// The exit status of a Rust program that panicked.
const PANICKED: i32 = 101;

/// The exit status of a subcommand that failed.
const FAILED: i32 = 1;

/// Without one of its threads a process would keep jobs or rows that it never does. A new process, and
/// whoever has the jobs until then, do better.
pub(crate) fn exit_with_any_thread() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        report(panic);
        process::exit(PANICKED);
    }));
}

/// Ends the process with `error`, as the main thread would, from a thread that cannot go on.
pub(crate) fn exit_with(error: &Error) -> ! {
    terminal::complain(error);
    process::exit(FAILED)
}

/// SIGUSR1 tells the statistics; SIGTERM and SIGINT ask to stop within `patience`, and once more to stop at
/// once.
///
/// # Errors
///
/// If the system lets nobody receive signals, or has no thread for it.
pub(crate) fn handle_signals(
    stop: &Arc<Stop>,
    patience: Duration,
    tell_statistics: impl Fn() + Send + 'static,
) -> Result {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR1])
        .map_err(|error| Error::failed(format!("cannot receive signals: {error}")))?;
    let stop = Arc::clone(stop);
    threads::start(move || {
        for signal in signals.forever() {
            match signal {
                SIGUSR1 => tell_statistics(),
                _ => stop.request(patience),
            }
        }
    })?;
    Ok(())
}
