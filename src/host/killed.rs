//! Whether the statement that is being run was killed: by KILL, by a time limit, or because the
//! server shuts down.

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::mem;

use once_cell::sync::OnceCell;

use crate::host::symbols::symbol;

/// The calling thread's session: `_current_thd` of MariaDB's `sql_class.h`, or
/// `thd_get_current_thd` of MySQL's `sql_thd_internal_api.h`, whose C++ name is mangled.
type CurrentThd = unsafe extern "C" fn() -> *const c_void;

/// `thd_killed` of `include/mysql/plugin.h`, with C linkage in both.
type ThdKilled = unsafe extern "C" fn(*const c_void) -> c_int;

/// The statement that the current thread runs. Stays on that thread.
pub(crate) struct Statement {
    thd: *const c_void,
    of_this_thread: PhantomData<*const ()>,
}

impl Statement {
    /// The statement of the call that we are in.
    pub(crate) fn current() -> Self {
        let thd = match server() {
            // SAFETY: the function takes nothing and answers the calling thread's session or NULL.
            Some(server) => unsafe { (server.current_thd)() },
            None => std::ptr::null(),
        };
        Self {
            thd,
            of_this_thread: PhantomData,
        }
    }

    /// Whether it was killed; `false` where the server does not let us ask.
    pub(crate) fn is_killed(&self) -> bool {
        match server() {
            // SAFETY:
            // - the pointer is this thread's session, which outlives the call of the function;
            // - it is not NULL, for which the server would look the session up by itself.
            Some(server) if !self.thd.is_null() => unsafe { (server.thd_killed)(self.thd) != 0 },
            _ => false,
        }
    }
}

#[derive(Clone, Copy)]
struct Server {
    current_thd: CurrentThd,
    thd_killed: ThdKilled,
}

fn server() -> Option<Server> {
    static SERVER: OnceCell<Option<Server>> = OnceCell::new();
    *SERVER.get_or_init(|| {
        let current_thd =
            symbol(c"_current_thd").or_else(|| symbol(c"_Z19thd_get_current_thdv"))?;
        let thd_killed = symbol(c"thd_killed")?;
        // SAFETY: the functions have these signatures in every server that exports them: MariaDB
        // 10.5 to 11.8, MySQL 5.6 to 9.7.
        unsafe {
            Some(Server {
                current_thd: mem::transmute::<*mut c_void, CurrentThd>(current_thd),
                thd_killed: mem::transmute::<*mut c_void, ThdKilled>(thd_killed),
            })
        }
    })
}
