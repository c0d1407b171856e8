//! Status variables of the plugin, made from the tables of [`crate::status`].
//!
//! The server reads a number's atomic where it lies; there is nothing to call and nothing to lock. For
//! the last error it calls a function, which copies the text.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;

use crate::host::plugin_abi::{
    MariaStatus, MysqlStatus, SHOW_CHAR, SHOW_FUNCTION, SHOW_LONGLONG, SHOW_SCOPE_GLOBAL,
    SHOW_UNDEF, ShowFunction,
};
use crate::status;

/// One variable, before it takes a server's shape.
struct Shown {
    name: *const c_char,
    value: *const c_void,
    kind: c_int,
}

/// The list of a MariaDB server, which lives for ever, as the library does.
pub(super) fn for_maria() -> *const MariaStatus {
    let of = |Shown { name, value, kind }| MariaStatus { name, value, kind };
    forever(shown().map(of).collect())
}

/// The list of a MySQL server, which lives for ever, as the library does.
pub(super) fn for_mysql() -> *const MysqlStatus {
    let of = |Shown { name, value, kind }| MysqlStatus {
        name,
        value,
        kind,
        scope: SHOW_SCOPE_GLOBAL,
    };
    forever(shown().map(of).collect())
}

fn shown() -> impl Iterator<Item = Shown> {
    let number = |name, value: *const u64| Shown {
        name: capitalised(name),
        value: value.cast(),
        kind: SHOW_LONGLONG,
    };
    let counters = status::COUNTERS.iter();
    let counters = counters.map(move |counter| number(counter.name, counter.storage()));
    let gauges = status::GAUGES.iter();
    let gauges = gauges.map(move |gauge| number(gauge.name, gauge.storage()));
    let last_error = Shown {
        name: capitalised(status::LAST_ERROR.name),
        value: (show_last_error as ShowFunction) as *const c_void,
        kind: SHOW_FUNCTION,
    };
    let end = Shown {
        name: ptr::null(),
        value: ptr::null(),
        kind: SHOW_UNDEF,
    };
    counters.chain(gauges).chain([last_error, end])
}

/// Copies the last error to the server's buffer.
unsafe extern "C" fn show_last_error(
    _session: *mut c_void,
    shown: *mut MariaStatus,
    buffer: *mut c_char,
) -> c_int {
    let message = status::LAST_ERROR.shown();
    // SAFETY: the buffer has SHOW_VAR_FUNC_BUFF_SIZE bytes, which is the length of `message` or more. Both
    // servers' structures begin with what is written here.
    unsafe {
        ptr::copy_nonoverlapping(message.as_ptr(), buffer.cast(), message.len());
        (*shown).value = buffer.cast_const().cast();
        (*shown).kind = SHOW_CHAR;
    }
    0
}

/// `Gman_jobs_failed` for `gman_jobs_failed`: status variables begin with a capital letter.
fn capitalised(name: &str) -> *const c_char {
    let mut name = name.to_owned();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    CString::new(name).unwrap_or_default().into_raw()
}

fn forever<T>(list: Vec<T>) -> *const T {
    Box::leak(list.into_boxed_slice()).as_ptr()
}
