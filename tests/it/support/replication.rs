//! Replication from one server to another.

use mysql::Conn;
use mysql::prelude::Queryable;

/// How long the replica may take to catch up, in seconds.
const PATIENCE_SECONDS: u32 = 60;

/// `ER_PARSE_ERROR`.
const SYNTAX_ERROR: u16 = 1064;

/// What the statements of replication are called.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ReplicationWords {
    /// MySQL 8.4 and later.
    Source,
    /// MariaDB, and MySQL before that.
    Master,
}

impl ReplicationWords {
    /// Ask for the old words: MariaDB knows a few of the new ones as well.
    pub(crate) fn of(session: &mut Conn) -> Self {
        match session.query_drop("SHOW MASTER STATUS") {
            Ok(()) => Self::Master,
            Err(mysql::Error::MySqlError(error)) if error.code == SYNTAX_ERROR => Self::Source,
            Err(error) => panic!("SHOW MASTER STATUS: {error}"),
        }
    }

    pub(crate) fn show_position(self) -> &'static str {
        match self {
            Self::Source => "SHOW BINARY LOG STATUS",
            Self::Master => "SHOW MASTER STATUS",
        }
    }

    pub(crate) fn wait(self, file: &str, position: u64) -> String {
        let function = match self {
            Self::Source => "SOURCE_POS_WAIT",
            Self::Master => "MASTER_POS_WAIT",
        };
        format!("SELECT {function}('{file}', {position}, {PATIENCE_SECONDS})")
    }

    pub(crate) fn show_replica(self) -> &'static str {
        match self {
            Self::Source => "SHOW REPLICA STATUS",
            Self::Master => "SHOW SLAVE STATUS",
        }
    }

    pub(crate) fn stop(self) -> &'static str {
        match self {
            Self::Source => "STOP REPLICA",
            Self::Master => "STOP SLAVE",
        }
    }

    pub(crate) fn start(self) -> &'static str {
        match self {
            Self::Source => "START REPLICA",
            Self::Master => "START SLAVE",
        }
    }

    /// Has a server replicate everything from the one at `port`.
    pub(crate) fn follow(self, port: u16) -> [String; 2] {
        match self {
            Self::Source => [
                format!(
                    "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, \
                     SOURCE_USER = 'repl', SOURCE_PASSWORD = 'repl', GET_SOURCE_PUBLIC_KEY = 1, \
                     SOURCE_LOG_FILE = 'binlog.000001', SOURCE_LOG_POS = 4"
                ),
                self.start().into(),
            ],
            Self::Master => [
                format!(
                    "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, \
                     MASTER_USER = 'repl', MASTER_PASSWORD = 'repl', \
                     MASTER_LOG_FILE = 'binlog.000001', MASTER_LOG_POS = 4"
                ),
                self.start().into(),
            ],
        }
    }
}
