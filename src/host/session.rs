//! The session that the current thread serves.

use std::ffi::c_void;
use std::mem;
use std::ptr::NonNull;

use once_cell::sync::OnceCell;

use crate::host::symbols::symbol;

/// `_current_thd` of MariaDB's `sql_class.h`, or `thd_get_current_thd` of MySQL's
/// `sql_thd_internal_api.h`, whose C++ name is mangled: both take nothing and answer a `THD *`.
type CurrentThd = unsafe extern "C" fn() -> *mut c_void;

/// A session of the server, a `THD *`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session(NonNull<c_void>);

// SAFETY: an address; whoever follows it says why it is valid.
unsafe impl Send for Session {}

impl Session {
    /// The session that a server passes to a callback; `None` for NULL.
    pub(crate) fn from_server(thd: *mut c_void) -> Option<Self> {
        NonNull::new(thd).map(Self)
    }

    /// For the server's functions that take a session.
    pub(super) fn address(self) -> *mut c_void {
        self.0.as_ptr()
    }
}

/// The calling thread's session; `None` in a thread that serves none, and if the server does not
/// let us ask.
pub(crate) fn current() -> Option<Session> {
    static CURRENT_THD: OnceCell<Option<CurrentThd>> = OnceCell::new();
    let current_thd = *CURRENT_THD.get_or_init(|| {
        let address = symbol(c"_current_thd").or_else(|| symbol(c"_Z19thd_get_current_thdv"))?;
        // SAFETY: it has this signature in every server that exports it: MariaDB 10.5 to 11.8,
        // MySQL 5.6 to 9.7.
        Some(unsafe { mem::transmute::<*mut c_void, CurrentThd>(address) })
    });
    // SAFETY: it takes nothing and answers the calling thread's session or NULL.
    Session::from_server(unsafe { current_thd?() })
}
