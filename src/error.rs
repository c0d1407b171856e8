//! The one error type. Its messages are lower case and name the server, the phase and the time spent.

use std::fmt;
use std::io;
use std::time::Duration;

/// What a call was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Turning a host name into addresses.
    Resolve,
    /// Opening the TCP connection.
    Connect,
    /// Writing the request.
    Send,
    /// Waiting for the answer.
    Receive,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Send => "send",
            Self::Receive => "receive",
        })
    }
}

/// Everything that can go wrong, one variant for each thing a caller can do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A value that was passed in cannot be used; says which one, why, and the remedy.
    Input(String),
    /// A job was submitted before any job server was named.
    NoServers,
    /// The operating system or the network refused, or the time ran out
    /// ([`io::ErrorKind::TimedOut`]).
    Network {
        /// `host:port` as the server list has it.
        server: String,
        /// What was being done.
        phase: Phase,
        /// How long the call had been at it, all attempts together.
        elapsed: Duration,
        /// The cause; its errno's text is part of the message.
        source: io::Error,
    },
    /// The server sent something that the Gearman protocol does not allow here.
    Protocol {
        /// `host:port` as the server list has it.
        server: String,
        /// What came, and what was expected.
        problem: String,
        /// How long the call had been at it, all attempts together.
        elapsed: Duration,
    },
    /// A panic was caught at the boundary to the database server.
    Panic(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(problem) => f.write_str(problem),
            Self::NoServers => f.write_str(
                "no job servers are set; SELECT gman_servers_set('host:4730') sets them",
            ),
            Self::Network {
                server,
                phase,
                elapsed,
                source,
            } => write!(
                f,
                "{phase} {server}: {source}, after {} ms",
                elapsed.as_millis()
            ),
            Self::Protocol {
                server,
                problem,
                elapsed,
            } => write!(f, "{server}: {problem}, after {} ms", elapsed.as_millis()),
            Self::Panic(message) => write!(
                f,
                "internal error, please report it with the error log: {message}"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Network { source, .. } => Some(source),
            Self::Input(_) | Self::NoServers | Self::Protocol { .. } | Self::Panic(_) => None,
        }
    }
}
