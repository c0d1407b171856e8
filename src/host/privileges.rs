//! What the account of the current statement may do. In a program it is the account that the program's
//! statements run as: usually its definer.

use std::ffi::{CStr, c_char, c_int, c_uchar, c_ulong, c_void};
use std::mem;
use std::ptr;

use once_cell::sync::OnceCell;

use crate::host::registry::Service;
use crate::host::session::{self, Session};
use crate::host::symbols::symbol;

/// `SUPER_ACL` of both servers' `sql_acl.h`.
const SUPER: c_ulong = 1 << 15;

/// What MySQL has for those who may set global variables and no more.
const SYSTEM_VARIABLES_ADMIN: &CStr = c"SYSTEM_VARIABLES_ADMIN";

/// `check_global_access` of MariaDB: session, privileges of which one is enough, whether to raise no error;
/// false if the account has one.
type CheckGlobalAccess = unsafe extern "C" fn(*mut c_void, c_ulong, bool) -> bool;

/// `check_access` of MySQL before 8.0: session, privileges, database, two places for more, whether to leave
/// out global grants, whether to raise no error; false if the account has the privileges.
type CheckAccess = unsafe extern "C" fn(
    *mut c_void,
    c_ulong,
    *const c_char,
    *mut c_ulong,
    *mut c_void,
    bool,
    bool,
) -> bool;

/// The service `mysql_thd_security_context`; 0 on success.
#[repr(C)]
struct SecurityContexts {
    get: unsafe extern "C" fn(*mut c_void, *mut *mut c_void) -> c_int,
}

/// The service `mysql_security_context_options`: context, option, place for its value; 0 on success.
#[repr(C)]
struct ContextOptions {
    get: unsafe extern "C" fn(*mut c_void, *const c_char, *mut c_void) -> c_int,
}

/// The service `global_grants_check`: context, privilege and its length; not 0 if it is granted.
#[repr(C)]
struct GlobalGrants {
    has_global_grant: unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> c_int,
}

/// How this server is asked.
#[derive(Debug, Clone, Copy)]
enum Question {
    Maria(CheckGlobalAccess),
    OldMysql(CheckAccess),
    /// By its services.
    Mysql,
}

/// Whether the account may set global variables; `None` if there is no session or the server does not let
/// us ask.
pub(crate) fn may_set_global_variables() -> Option<bool> {
    let session = session::current()?;
    match question()? {
        // SAFETY: the session is the calling thread's; with `true` nothing is raised.
        Question::Maria(check) => Some(!unsafe { check(session.address(), SUPER, true) }),
        // SAFETY: as above; NULL is allowed in the places for more, and the database's name is NUL-terminated.
        Question::OldMysql(check) => Some(!unsafe {
            check(
                session.address(),
                SUPER,
                c"mysql".as_ptr(),
                ptr::null_mut(),
                ptr::null_mut(),
                true,
                true,
            )
        }),
        Question::Mysql => by_services(session),
    }
}

fn question() -> Option<Question> {
    static QUESTION: OnceCell<Option<Question>> = OnceCell::new();
    *QUESTION.get_or_init(|| {
        // `privilege_t` of MariaDB 10.5 and later is an `unsigned long long`, which was a parameter of the
        // same size before.
        let maria = [
            c"_Z19check_global_accessP3THD11privilege_tb",
            c"_Z19check_global_accessP3THDmb",
        ];
        if let Some(check) = maria.into_iter().find_map(symbol) {
            // SAFETY: the mangled name says what it takes; it returns a bool.
            return Some(Question::Maria(unsafe {
                mem::transmute::<*mut c_void, CheckGlobalAccess>(check)
            }));
        }
        if symbol(c"_Z29mysql_plugin_registry_acquirev").is_some() {
            return Some(Question::Mysql);
        }
        let check = symbol(c"_Z12check_accessP3THDmPKcPmP22st_grant_internal_infobb")?;
        // SAFETY: as above.
        Some(Question::OldMysql(unsafe {
            mem::transmute::<*mut c_void, CheckAccess>(check)
        }))
    })
}

fn by_services(session: Session) -> Option<bool> {
    // SAFETY: each service has the members of its type, of which the first ones are declared.
    let (contexts, options, grants) = unsafe {
        (
            Service::<SecurityContexts>::acquire(c"mysql_thd_security_context")?,
            Service::<ContextOptions>::acquire(c"mysql_security_context_options")?,
            Service::<GlobalGrants>::acquire(c"global_grants_check")?,
        )
    };
    let mut context = ptr::null_mut();
    // SAFETY: the session is the calling thread's; the context belongs to it and is used in its statement.
    if unsafe { (contexts.get)(session.address(), &raw mut context) } != 0 || context.is_null() {
        return None;
    }
    let mut has_super: c_uchar = 0;
    let place = (&raw mut has_super).cast();
    // SAFETY: the value of this option is a `my_svc_bool`, one byte.
    let failed = unsafe { (options.get)(context, c"privilege_super".as_ptr(), place) };
    if failed == 0 && has_super != 0 {
        return Some(true);
    }
    let privilege = SYSTEM_VARIABLES_ADMIN;
    // SAFETY: the name is as long as that.
    let granted =
        unsafe { (grants.has_global_grant)(context, privilege.as_ptr(), privilege.count_bytes()) };
    Some(granted != 0)
}
