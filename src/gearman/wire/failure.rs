//! Why a stream is of no more use.

use std::io::{self, ErrorKind};

use crate::error::Error;

/// What a read or a write failed with.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The network, or there was nothing to do for the moment.
    Io(io::Error),
    /// What TLS says of the peer, or the peer of us.
    Tls(rustls::Error),
    /// There is no memory.
    Own(Error),
}

impl Failure {
    /// The peer has gone.
    pub(crate) fn closed() -> Self {
        let problem = "the job server closed the connection";
        Self::Io(io::Error::new(ErrorKind::UnexpectedEof, problem))
    }

    /// Whether there was only nothing to do for the moment.
    pub(crate) fn is_not_yet(&self) -> bool {
        match self {
            Self::Io(error) => is_not_yet(error),
            Self::Tls(_) | Self::Own(_) => false,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// As [`Failure::is_not_yet`].
pub(crate) fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
