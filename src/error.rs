//! The one error type. Its messages are lower case and name the server, the phase and the time spent.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::settings::Plugin;

/// What a call was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Turning a host name into addresses.
    Resolve,
    /// Opening the TCP connection.
    Connect,
    /// Agreeing on TLS.
    Handshake,
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
            Self::Handshake => "TLS handshake with",
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
    /// The operating system had no thread, file descriptor, port or memory to give: nobody's
    /// mistake, and no job server's fault.
    System {
        /// What was wanted, as in "no thread".
        wanted: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// A job was submitted before any job server was named.
    NoServers,
    /// The operating system or the network refused, or the time ran out
    /// ([`io::ErrorKind::TimedOut`]).
    Network {
        /// `host:port` as the server list has it.
        server: Arc<str>,
        /// What was being done.
        phase: Phase,
        /// How long the call had been at it, all attempts together.
        elapsed: Duration,
        /// The cause; its errno's text is part of the message.
        source: io::Error,
    },
    /// There is no TLS with the server: one of the two does not trust the other, or what TLS needs is not there.
    Tls {
        /// `host:port` as the server list has it.
        server: Arc<str>,
        /// The reason and the remedy.
        problem: String,
        /// How long the call had been at it, all attempts together.
        elapsed: Duration,
    },
    /// The server sent something that the Gearman protocol does not allow here.
    Protocol {
        /// `host:port` as the server list has it.
        server: Arc<str>,
        /// What came, and what was expected.
        problem: String,
        /// How long the call had been at it, all attempts together.
        elapsed: Duration,
    },
    /// The job server answered with an `ERROR` packet: it is there, but did not take the job.
    Refused {
        /// `host:port` as the server list has it.
        server: Arc<str>,
        /// The server's code and text.
        answer: String,
        /// How long the call had been at it, all attempts together.
        elapsed: Duration,
    },
    /// The server failed a moment ago and is left alone for a while.
    Resting {
        /// `host:port` as the server list has it.
        server: Arc<str>,
        /// What happened when the server was tried last.
        cause: Arc<Self>,
        /// How much longer; zero while another call finds out whether the server is back.
        left: Duration,
    },
    /// Every connection to the server that a submission may use was in use, for as long as the call
    /// could wait.
    Busy {
        /// `host:port` as the server list has it.
        server: Arc<str>,
        /// How many connections that is.
        connections: usize,
        /// How long the call waited for one.
        waited: Duration,
    },
    /// No job server took the job: what happened at each of them, in their order.
    Undelivered(Vec<Arc<Self>>),
    /// The window of pipelined delivery had no room for the job.
    WindowFull {
        /// How many jobs wait for an answer.
        jobs: u64,
        /// How many bytes they take.
        bytes: usize,
        /// How many bytes open transactions have taken for what they hold back.
        held: usize,
        /// Why they wait, where something went wrong.
        cause: Option<Arc<Self>>,
    },
    /// Large transactions have taken all the room that there is for what exceeds their shares of the windows.
    PoolFull {
        /// How many bytes they have taken.
        taken: usize,
        /// How many they may take together.
        limit: usize,
        /// Why jobs wait, where something went wrong.
        cause: Option<Arc<Self>>,
    },
    /// One transaction would hold back more than it may.
    TransactionFull {
        /// How many jobs it holds back already.
        jobs: usize,
        /// How many bytes they would be with this one.
        bytes: usize,
        /// How many they may be.
        limit: usize,
    },
    /// Jobs of pipelined delivery wait for the same job servers, and this one must not overtake them.
    Behind {
        /// How many they are.
        jobs: u64,
        /// Why they wait, where something went wrong.
        cause: Option<Arc<Self>>,
    },
    /// The worker did not answer with a usable result: it failed, threw an exception, or answered
    /// something else than was asked for.
    Job {
        /// `host:port` as the server list has it.
        server: Arc<str>,
        /// What the worker said.
        problem: String,
        /// How long the call had been at it.
        elapsed: Duration,
    },
    /// The caller wanted to wait no longer; in SQL: the statement was killed.
    Stopped,
    /// A panic was caught at the boundary to the database server.
    Panic(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(problem) => f.write_str(problem),
            Self::System { wanted, source } => {
                write!(f, "the system has no {wanted} left: {source}")
            }
            Self::NoServers => {
                f.write_str(
                    "no job servers are set; SELECT gman_servers_set('host:4730') sets them",
                )?;
                match Plugin::is_inactive() {
                    true => write!(f, "; {PLUGIN_IS_INACTIVE}"),
                    false => Ok(()),
                }
            }
            Self::Network {
                server,
                phase,
                elapsed,
                source,
            } => {
                let ms = elapsed.as_millis();
                write!(f, "{phase} {server}: {source}, after {ms} ms")?;
                // The one cause that its errno's text does not lead to.
                match source.kind() {
                    io::ErrorKind::PermissionDenied => write!(f, "; {SELINUX}"),
                    _ => Ok(()),
                }
            }
            Self::Tls {
                server,
                problem,
                elapsed,
            } => write!(
                f,
                "no TLS with {server}: {problem}, after {} ms",
                elapsed.as_millis()
            ),
            Self::Protocol {
                server,
                problem,
                elapsed,
            } => write!(f, "{server}: {problem}, after {} ms", elapsed.as_millis()),
            Self::Refused {
                server,
                answer,
                elapsed,
            } => write!(
                f,
                "{server} refused the job: {answer}, after {} ms",
                elapsed.as_millis()
            ),
            Self::Resting { cause, left, .. } if left.is_zero() => {
                write!(f, "{cause}; another call is trying it again")
            }
            Self::Resting { cause, left, .. } => {
                write!(f, "{cause}; not tried again for {} ms", left.as_millis())
            }
            Self::Busy {
                server,
                connections,
                waited,
            } => write!(
                f,
                "{server}: all {connections} connections that gman_max_connections allows were in \
                 use, for {} ms",
                waited.as_millis()
            ),
            Self::WindowFull {
                jobs,
                bytes,
                held,
                cause,
            } => {
                write!(
                    f,
                    "the window is full: {jobs} jobs of {bytes} bytes wait for an answer"
                )?;
                if *held > 0 {
                    write!(f, ", and open transactions have taken {held} bytes")?;
                }
                f.write_str("; gman_window_bytes sets its size")?;
                cause.iter().try_for_each(|cause| write!(f, "; {cause}"))
            }
            Self::PoolFull {
                taken,
                limit,
                cause,
            } => {
                write!(
                    f,
                    "large transactions and their undelivered jobs already hold {taken} bytes outside \
                     the window, and gman_transaction_bytes = {limit} is the most for all together; raise \
                     it, commit in smaller steps, or use the outbox"
                )?;
                cause.iter().try_for_each(|cause| write!(f, "; {cause}"))
            }
            Self::TransactionFull { jobs, bytes, limit } => write!(
                f,
                "the transaction holds back {jobs} jobs, and with this one {bytes} bytes, more than \
                 gman_transaction_bytes = {limit}; raise it, commit in smaller steps, or use the outbox"
            ),
            Self::Behind { jobs, cause } => {
                write!(
                    f,
                    "{jobs} jobs of pipelined delivery wait for their job servers, and this one must \
                     not overtake them"
                )?;
                cause.iter().try_for_each(|cause| write!(f, "; {cause}"))
            }
            Self::Undelivered(causes) => {
                for (index, cause) in causes.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "; " };
                    write!(f, "{separator}{cause}")?;
                }
                Ok(())
            }
            Self::Job {
                server,
                problem,
                elapsed,
            } => write!(f, "{server}: {problem}, after {} ms", elapsed.as_millis()),
            Self::Stopped => f.write_str("query execution was interrupted"),
            Self::Panic(message) => write!(
                f,
                "internal error, please report it with the error log: {message}"
            ),
        }
    }
}

/// The codes with which gearmand says that it takes no job now: its queue is at its `maxqueue`, or
/// its queue module failed (`gearmand_error_t` of its `libgearman-server`).
const WANTS_NONE: [&str; 2] = ["JOB_QUEUE_FULL", "QUEUE_ERROR"];

/// What a mistake in the configuration leads to without stopping the server.
const PLUGIN_IS_INACTIVE: &str = "the plugin gman is not active, so no setting of the configuration \
     is in force: SHOW PLUGINS shows it, and the error log says why if the server turned it off";

/// What keeps a database server from connecting where everybody else can.
const SELINUX: &str =
    "if SELinux is on, `setsebool -P mysql_connect_any 1` lets the database server connect";

impl Error {
    /// The system refused `wanted`, such as a thread.
    pub(crate) fn no(wanted: &'static str, source: io::Error) -> Self {
        Self::System { wanted, source }
    }

    /// There is not enough memory. Takes none itself.
    pub(crate) fn no_memory() -> Self {
        Self::no("memory", io::ErrorKind::OutOfMemory.into())
    }

    /// Whether the other end closed the connection, in order or not.
    pub fn is_hang_up(&self) -> bool {
        matches!(self, Self::Network { source, .. } if is_hang_up(source))
    }

    /// Whether another job might have gone through: this one cannot be a job, or a job server was
    /// there and did not want it, for another reason than that it wants none.
    pub(crate) fn blames_the_job(&self) -> bool {
        match self {
            Self::Input(_) => true,
            Self::Refused { answer, .. } => !WANTS_NONE.iter().any(|code| answer.starts_with(code)),
            Self::Undelivered(causes) => causes.iter().any(|cause| cause.blames_the_job()),
            Self::System { .. }
            | Self::NoServers
            | Self::Network { .. }
            | Self::Tls { .. }
            | Self::Protocol { .. }
            | Self::Resting { .. }
            | Self::Busy { .. }
            | Self::WindowFull { .. }
            | Self::PoolFull { .. }
            | Self::TransactionFull { .. }
            | Self::Behind { .. }
            | Self::Job { .. }
            | Self::Stopped
            | Self::Panic(_) => false,
        }
    }

    /// Whether a job server was connected when this job failed, so that the job may be the reason: it
    /// may be too large for the line, or kill the server. A server that rests was not asked.
    pub fn is_of_an_attempt(&self) -> bool {
        match self {
            Self::Network { phase, .. } => match phase {
                Phase::Send | Phase::Receive => true,
                Phase::Resolve | Phase::Connect | Phase::Handshake => false,
            },
            Self::Protocol { .. } => true,
            Self::Undelivered(causes) => causes.iter().any(|cause| cause.is_of_an_attempt()),
            Self::Input(_)
            | Self::System { .. }
            | Self::Behind { .. }
            | Self::NoServers
            | Self::Tls { .. }
            | Self::Refused { .. }
            | Self::Busy { .. }
            | Self::Resting { .. }
            | Self::WindowFull { .. }
            | Self::PoolFull { .. }
            | Self::TransactionFull { .. }
            | Self::Job { .. }
            | Self::Stopped
            | Self::Panic(_) => false,
        }
    }

    /// What an operator can look at first; `None` if the message says it all.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Network { phase, source, .. } => match (phase, source.kind()) {
                (_, io::ErrorKind::PermissionDenied) => Some(SELINUX),
                (Phase::Resolve, _) => Some(
                    "the database server's host does not know the name: see /etc/hosts and DNS",
                ),
                (_, io::ErrorKind::ConnectionRefused) => Some(
                    "nothing listens there: see whether gearmand runs, and its --listen and --port",
                ),
                (Phase::Connect, io::ErrorKind::TimedOut) => {
                    Some("nothing answers: a firewall may drop the packets, or the host is down")
                }
                (Phase::Handshake, io::ErrorKind::TimedOut) => Some(
                    "something listens, but does not answer in TLS: gman_connect_timeout_ms may be too \
                     short, or the server stuck",
                ),
                (Phase::Send | Phase::Receive, io::ErrorKind::TimedOut) => {
                    Some("something listens, but says nothing: gearmand may be stuck or overloaded")
                }
                _ => None,
            },
            Self::Protocol { .. } => Some("something else than gearmand may listen on this port"),
            Self::NoServers => Some(match Plugin::is_inactive() {
                true => PLUGIN_IS_INACTIVE,
                false => {
                    "SET GLOBAL gman_servers, or gman_servers in the configuration, names them"
                }
            }),
            Self::Resting { cause, .. } => cause.hint(),
            Self::WindowFull { cause, .. }
            | Self::PoolFull { cause, .. }
            | Self::Behind { cause, .. } => cause.as_ref().and_then(|cause| cause.hint()),
            Self::Input(_)
            | Self::System { .. }
            | Self::Tls { .. }
            | Self::Refused { .. }
            | Self::Busy { .. }
            | Self::Undelivered(_)
            | Self::TransactionFull { .. }
            | Self::Job { .. }
            | Self::Stopped
            | Self::Panic(_) => None,
        }
    }
}

/// As [`Error::is_hang_up`].
pub(crate) fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Network { source, .. } | Self::System { source, .. } => Some(source),
            Self::Resting { cause, .. } => Some(cause.as_ref()),
            Self::WindowFull { cause, .. }
            | Self::PoolFull { cause, .. }
            | Self::Behind { cause, .. } => match cause {
                Some(cause) => Some(cause.as_ref()),
                None => None,
            },
            Self::Input(_)
            | Self::NoServers
            | Self::Tls { .. }
            | Self::Protocol { .. }
            | Self::Refused { .. }
            | Self::Busy { .. }
            | Self::Job { .. }
            | Self::Stopped
            | Self::Undelivered(_)
            | Self::TransactionFull { .. }
            | Self::Panic(_) => None,
        }
    }
}
