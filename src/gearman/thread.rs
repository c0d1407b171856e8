//! Threads inside somebody else's process.

use std::io;
use std::thread;

use nix::sys::signal::SigSet;

/// Starts a thread that takes no signals: those are the database server's own business.
///
/// # Errors
///
/// When signals cannot be blocked or the system has no thread left.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<thread::JoinHandle<T>> {
    // A thread inherits the mask of its parent, so there is no moment without it.
    let mut before = SigSet::empty();
    nix::sys::signal::pthread_sigmask(
        nix::sys::signal::SigmaskHow::SIG_SETMASK,
        Some(&SigSet::all()),
        Some(&mut before),
    )?;
    let started = thread::Builder::new().name(name.to_owned()).spawn(body);
    before.thread_set_mask()?;
    started
}
