//! What pipelined delivery has to say when nobody waits for its answers.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;

/// Something that went wrong while nobody waited.
#[derive(Debug)]
pub enum Event<'a> {
    /// The job server refused a job of this Gearman function; the job is lost.
    Refused {
        /// The Gearman function.
        function: &'a str,
        /// The job server's words.
        error: &'a Error,
    },
    /// The connection failed again and again while a job of this Gearman function was being sent, to
    /// job servers that were well; the job is lost.
    SetAside {
        /// The Gearman function.
        function: &'a str,
        /// How often it was tried.
        attempts: u32,
        /// The last failure.
        error: &'a Error,
    },
    /// A job server failed; its jobs wait for it or go to the next one.
    ServerFailed(&'a Error),
    /// The files that TLS is made of have changed and cannot be used; those before them are in force.
    TlsFilesUnusable(&'a str),
}

/// Hears of troubles, on the sender's thread.
#[derive(Clone)]
pub(crate) struct Listener(Arc<dyn Fn(Event<'_>) + Send + Sync>);

impl Listener {
    pub(crate) fn new(listener: impl Fn(Event<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        (self.0)(event);
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}
