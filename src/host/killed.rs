//! Whether the statement that is being run is still wanted: KILL, a time limit or the server's shutdown
//! end it, and its client may have gone.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::mem;
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;

use crate::host::session::{self, Session};
use crate::host::symbols::symbol;

/// `ER_QUERY_INTERRUPTED` (SQLSTATE 70100): what KILL QUERY ends a statement with.
const INTERRUPTED: u32 = 1317;

/// The smallest number that an error of the servers has: `ER_ERROR_FIRST` of `mysqld_error.h`.
const FIRST_ERROR: u32 = 1000;

/// How often a waiting call looks whether its client is there: it costs a system call.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// `thd_killed` of `include/mysql/plugin.h`, with C linkage in both. MySQL's returns the number of the
/// error that the statement is to end with; MariaDB's overlooks what kills softly: KILL SOFT and
/// `max_statement_time`.
type ThdKilled = unsafe extern "C" fn(*const c_void) -> c_int;

/// `thd_kill_level` of MariaDB's `include/mysql/service_kill_statement.h`: not 0 for whatever kills.
type ThdKillLevel = unsafe extern "C" fn(*const c_void) -> c_int;

/// `THD::killed_errno` of MariaDB's `sql_class.h`, whose name is mangled: takes the session and returns the
/// number of the error that its statement is to end with.
type KilledErrno = unsafe extern "C" fn(*mut c_void) -> c_int;

/// `thd_is_connected` of MariaDB's `sql_class.cc`; false also for a session that never had a client, such
/// as an event's.
type ThdIsConnected = unsafe extern "C" fn(*mut c_void) -> c_int;

/// What this server lets us ask.
#[derive(Debug, Clone, Copy, Default)]
struct Questions {
    killed: Option<ThdKilled>,
    kill_level: Option<ThdKillLevel>,
    killed_errno: Option<KilledErrno>,
    is_connected: Option<ThdIsConnected>,
}

/// The statement that the current thread runs. Stays on that thread, as a pointer does.
pub(crate) struct Statement {
    session: Option<Session>,
    /// When the client was there last; `None` if there is none, or the server does not tell.
    client_seen: Cell<Option<Instant>>,
}

impl Statement {
    /// The statement of the call that we are in.
    pub(crate) fn current() -> Self {
        Self {
            session: session::current(),
            client_seen: Cell::new(None),
        }
    }

    /// As [`Statement::current`], for a call whose result is of use to its client alone:
    /// [`Statement::is_unwanted`] looks whether the client is there.
    pub(crate) fn with_client() -> Self {
        let statement = Self::current();
        let seen = statement.is_connected().then(Instant::now);
        statement.client_seen.set(seen);
        statement
    }

    /// Whether it was killed; `false` if the server does not let us ask.
    pub(crate) fn is_killed(&self) -> bool {
        let questions = questions();
        match (self.session, questions.kill_level.or(questions.killed)) {
            // SAFETY:
            // - the pointer is this thread's session, which outlives the call of the function;
            // - it is not NULL, for which the server would look the session up by itself.
            (Some(session), Some(ask)) => unsafe { ask(session.address()) != 0 },
            _ => false,
        }
    }

    /// Whether it was killed, or its client has gone.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.is_killed() || self.has_lost_its_client()
    }

    /// The number of the error that a statement ends with which is unwanted: it tells KILL from a time
    /// limit.
    pub(crate) fn kill_code(&self) -> u32 {
        let questions = questions();
        let code = match (self.session, questions.killed_errno, questions.killed) {
            // SAFETY: as in `is_killed`.
            (Some(session), Some(ask), _) => unsafe { ask(session.address()) },
            // SAFETY: as in `is_killed`.
            (Some(session), None, Some(ask)) => unsafe { ask(session.address()) },
            _ => 0,
        };
        match u32::try_from(code) {
            Ok(code) if code >= FIRST_ERROR => code,
            // Its client has gone, or the server does not say why it was killed.
            _ => INTERRUPTED,
        }
    }

    fn has_lost_its_client(&self) -> bool {
        match self.client_seen.get() {
            Some(seen) if seen.elapsed() >= LOOK_EVERY => {
                let connected = self.is_connected();
                if connected {
                    self.client_seen.set(Some(Instant::now()));
                }
                !connected
            }
            _ => false,
        }
    }

    fn is_connected(&self) -> bool {
        match (self.session, questions().is_connected) {
            // SAFETY: as in `is_killed`; this thread runs the session's statement, so that nobody
            // reads from its connection.
            (Some(session), Some(ask)) => unsafe { ask(session.address()) != 0 },
            _ => false,
        }
    }
}

fn questions() -> Questions {
    static QUESTIONS: OnceCell<Questions> = OnceCell::new();
    *QUESTIONS.get_or_init(|| {
        // SAFETY: each symbol has this signature in every server that exports it: `thd_killed` in
        // MariaDB 10.5 to 11.8 and MySQL 5.6 to 9.7, the others in
        // MariaDB 10.5 to 11.8.
        unsafe {
            Questions {
                killed: symbol(c"thd_killed")
                    .map(|at| mem::transmute::<*mut c_void, ThdKilled>(at)),
                kill_level: symbol(c"thd_kill_level")
                    .map(|at| mem::transmute::<*mut c_void, ThdKillLevel>(at)),
                killed_errno: symbol(c"_ZN3THD12killed_errnoEv")
                    .map(|at| mem::transmute::<*mut c_void, KilledErrno>(at)),
                is_connected: symbol(c"thd_is_connected")
                    .map(|at| mem::transmute::<*mut c_void, ThdIsConnected>(at)),
            }
        }
    })
}
