//! How a client's connections are protected, which may change while it runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::gearman::wire::tls::credentials::Credentials;
use crate::gearman::wire::tls::files::Files;

/// What all connections of a client share: the way in force.
#[derive(Debug, Clone, Default)]
pub struct Protection {
    current: Arc<RwLock<Arc<Way>>>,
}

/// One way of connecting.
#[derive(Debug, Default)]
pub struct Way {
    /// None is plain TCP.
    pub(crate) tls: Option<Credentials>,
    /// Another way is in force: connections that were made this way serve no other call.
    outdated: AtomicBool,
}

impl Protection {
    /// TLS from now on, or plain TCP. `notice` hears of files that change and cannot be used.
    pub fn set(&self, tls: Option<Files>, notice: impl Fn(&str) + Send + Sync + 'static) {
        let tls = tls.map(|files| Credentials::new(files, notice));
        let way = Way {
            tls,
            ..Way::default()
        };
        // Nothing in here panics half way.
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.outdated.store(true, Ordering::Release);
        *current = Arc::new(way);
    }

    /// The way in force.
    pub fn way(&self) -> Arc<Way> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Way {
    /// Whether the files can be used.
    ///
    /// # Errors
    ///
    /// Why not, and the remedy.
    pub fn check(&self) -> Result<(), String> {
        self.tls
            .as_ref()
            .map_or(Ok(()), |tls| tls.config().map(drop))
    }

    pub(crate) fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Acquire)
    }
}
