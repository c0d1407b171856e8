//! What every variable is made of, and how a hook of the server's ends.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;

use crate::error::Error;
use crate::host::plugin_abi::{Check, Update, VariableHeader};
use crate::host::{diagnostics, guard};

pub(super) fn forever<T>(list: Vec<T>) -> &'static [T] {
    Box::leak(list.into_boxed_slice())
}

pub(super) fn address<T>(variable: T) -> *const c_void {
    ptr::from_ref(Box::leak(Box::new(variable))).cast()
}

/// A C string that lives for ever; settings are named and described without NUL.
pub(super) fn text(text: &str) -> *const c_char {
    CString::new(text).unwrap_or_default().into_raw()
}

pub(super) fn header(
    flags: c_int,
    name: &str,
    description: &str,
    check: Option<Check>,
    update: Option<Update>,
) -> VariableHeader {
    let short = name.strip_prefix("gman_").unwrap_or(name);
    VariableHeader {
        flags,
        name: text(short),
        comment: text(description),
        check,
        update,
    }
}

/// Runs a hook of the variable `name`; an error is raised into the statement, and the answer is 1.
pub(super) fn refused(name: &str, body: impl FnOnce() -> Result<(), Error>) -> c_int {
    match guard::caught(body) {
        Ok(()) => 0,
        Err(error) => {
            diagnostics::raise(name, &error);
            1
        }
    }
}
