//! Where a Redis is.

use std::fmt;
use std::path::PathBuf;

/// A TCP port or a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl Address {
    /// The place `host`:`port` as another place names it, which may leave out a host that is its own.
    pub(crate) fn seen_from(&self, host: &str, port: u16) -> Self {
        let own = match self {
            Self::Tcp { host, .. } => host,
            Self::Unix(_) => "localhost",
        };
        let host = match host {
            "" | "?" => own,
            host => host,
        };
        Self::Tcp {
            host: host.to_owned(),
            port,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}
