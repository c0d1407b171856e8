//! Whether the statement that is being run was killed: by KILL, by a time limit, or because the
//! server shuts down.

use std::ffi::{c_int, c_void};
use std::mem;

use once_cell::sync::OnceCell;

use crate::host::session::{self, Session};
use crate::host::symbols::symbol;

/// `thd_killed` of `include/mysql/plugin.h`, with C linkage in both.
type ThdKilled = unsafe extern "C" fn(*const c_void) -> c_int;

/// The statement that the current thread runs. Stays on that thread, as a pointer does.
pub(crate) struct Statement {
    session: Option<Session>,
}

impl Statement {
    /// The statement of the call that we are in.
    pub(crate) fn current() -> Self {
        Self {
            session: session::current(),
        }
    }

    /// Whether it was killed; `false` where the server does not let us ask.
    pub(crate) fn is_killed(&self) -> bool {
        match (self.session, thd_killed()) {
            // SAFETY:
            // - the pointer is this thread's session, which outlives the call of the function;
            // - it is not NULL, for which the server would look the session up by itself.
            (Some(session), Some(thd_killed)) => unsafe { thd_killed(session.address()) != 0 },
            _ => false,
        }
    }
}

fn thd_killed() -> Option<ThdKilled> {
    static THD_KILLED: OnceCell<Option<ThdKilled>> = OnceCell::new();
    *THD_KILLED.get_or_init(|| {
        let address = symbol(c"thd_killed")?;
        // SAFETY: it has this signature in every server that exports it: MariaDB 10.5 to 11.8,
        // MySQL 5.6 to 9.7.
        Some(unsafe { mem::transmute::<*mut c_void, ThdKilled>(address) })
    })
}
