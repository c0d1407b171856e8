//! What TLS is made of, read when it is first needed and again when its files have changed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::gearman::wire::tls::files::{self, Files, Names, Stamp};

/// Hears of files that have changed and cannot be used.
type Notice = dyn Fn(&str) + Send + Sync;

/// The files, and what they say.
pub(crate) struct Credentials {
    files: Files,
    loaded: Mutex<Option<Loaded>>,
    notice: Box<Notice>,
}

/// What was read last.
struct Loaded {
    stamp: Stamp,
    /// What the last good files said, or why there never were any.
    config: Result<Arc<ClientConfig>, String>,
}

impl Credentials {
    /// Those of `files`. Nothing is read yet.
    pub(crate) fn new(files: Files, notice: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            files,
            loaded: Mutex::default(),
            notice: Box::new(notice),
        }
    }

    /// What a connection needs now.
    ///
    /// Files in another's place that cannot be used change nothing: whoever renews a certificate may be
    /// half way through. The notice says so, once.
    ///
    /// # Errors
    ///
    /// Why the files have never been of use, and the remedy.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let stamp = self.files.stamp();
        // Nothing in here panics half way.
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let before = loaded.take();
        let now = match before {
            Some(before) if before.stamp == stamp => before,
            before => Loaded {
                config: self.reload(before),
                stamp,
            },
        };
        loaded.insert(now).config.clone()
    }

    fn reload(&self, before: Option<Loaded>) -> Result<Arc<ClientConfig>, String> {
        let problem = match self.files.config() {
            Ok(config) => return Ok(Arc::new(config)),
            Err(problem) => problem,
        };
        match before.map(|before| before.config) {
            Some(Ok(good)) => {
                (self.notice)(&format!(
                    "{problem}; connections go on with what the files said before"
                ));
                Ok(good)
            }
            _ => Err(problem),
        }
    }

    /// Whose certificate a server at `host` must show.
    ///
    /// # Errors
    ///
    /// No certificate can have that name.
    pub(crate) fn server_name(&self, host: &str) -> Result<ServerName<'static>, String> {
        let name = self.files.server_name.as_deref().unwrap_or(host);
        files::server_name(name).map_err(|problem| {
            let option = self.names().server_name;
            format!("{problem}; {option} sets the name that the server's is for")
        })
    }

    pub(crate) fn names(&self) -> &'static Names {
        self.files.names
    }
}

impl fmt::Debug for Credentials {
    /// Without the paths.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}
