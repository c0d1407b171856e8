//! The session that the current thread serves.

use std::ffi::c_void;
use std::mem;
use std::ptr::NonNull;

use once_cell::sync::OnceCell;

use crate::host::symbols::symbol;

/// `_current_thd` of MariaDB's `sql_class.h`, or `thd_get_current_thd` of MySQL's
/// `sql_thd_internal_api.h`, whose C++ name is mangled: both take nothing and answer a `THD *`.
type CurrentThd = unsafe extern "C" fn() -> *mut c_void;

/// The calling thread's session, a `THD *`; `None` in a thread that serves none, and where the
/// server does not let us ask.
pub(super) fn current() -> Option<NonNull<c_void>> {
    static CURRENT_THD: OnceCell<Option<CurrentThd>> = OnceCell::new();
    let current_thd = *CURRENT_THD.get_or_init(|| {
        let address = symbol(c"_current_thd").or_else(|| symbol(c"_Z19thd_get_current_thdv"))?;
        // SAFETY: it has this signature in every server that exports it: MariaDB 10.5 to 11.8,
        // MySQL 5.6 to 9.7.
        Some(unsafe { mem::transmute::<*mut c_void, CurrentThd>(address) })
    });
    // SAFETY: it takes nothing and answers the calling thread's session or NULL.
    NonNull::new(unsafe { current_thd?() })
}
