//! System variables that are texts: what each may be, and what follows from it.

use std::ffi::{CStr, c_char, c_int, c_void};

use crate::error::Error;
use crate::functions::{allowed, servers_set, tls};
use crate::host::diagnostics;
use crate::host::plugin_abi::{StringVariable, VARIABLE_STRING, Value};
use crate::plugin::variable_parts::{address, header, refused};
use crate::settings::{self, Text};

/// One variable.
struct TextVariable {
    setting: &'static Text,
    check: fn(&[u8]) -> Result<(), Error>,
    /// Puts a value in force: one that was checked, or what the configuration says.
    set: fn(&'static Text, &[u8]) -> Result<(), Error>,
    /// What `''` does, for those who try NULL.
    empty: &'static str,
    /// What a bad value in the configuration leads to.
    at_start: &'static str,
}

const NO_CONNECTION: &str = "no connection to a job server is made until that is right";

/// Every one; at the start they come into force in this order.
static TEXTS: [TextVariable; 6] = [
    TextVariable {
        setting: &settings::TLS_CA,
        check: tls::check_ca,
        set: set_tls,
        empty: "'' turns TLS off",
        at_start: NO_CONNECTION,
    },
    TextVariable {
        setting: &settings::TLS_CERT,
        check: tls::check_cert,
        set: set_tls,
        empty: "'' is none",
        at_start: NO_CONNECTION,
    },
    TextVariable {
        setting: &settings::TLS_KEY,
        check: tls::check_key,
        set: set_tls,
        empty: "'' is none",
        at_start: NO_CONNECTION,
    },
    TextVariable {
        setting: &settings::TLS_SERVER_NAME,
        check: tls::check_server_name,
        set: set_tls,
        empty: "'' is the name in the list of servers",
        at_start: NO_CONNECTION,
    },
    TextVariable {
        setting: &settings::ALLOWED_FUNCTIONS,
        check: allowed::check_list,
        set: |setting, list| {
            allowed::set(setting, list);
            Ok(())
        },
        empty: "'' allows all",
        at_start: "no Gearman function is allowed until that is right",
    },
    TextVariable {
        setting: &settings::SERVERS,
        check: servers_set::check_default,
        set: |_, list| servers_set::set_by_administrator(list),
        empty: "'' takes the job servers away",
        at_start: "it stays empty until SET GLOBAL gman_servers sets it",
    },
];

fn set_tls(setting: &'static Text, value: &[u8]) -> Result<(), Error> {
    tls::set(setting, value);
    Ok(())
}

/// All of them, for the server.
pub(super) fn all() -> impl Iterator<Item = *const c_void> {
    TEXTS.iter().map(variable)
}

/// Takes over the values that the server read from its configuration. A text without one stays as it is
/// in force already, such as the servers as [`gman_servers_set`](crate::functions) has set them.
pub(super) fn adopt() {
    for text in &TEXTS {
        let Some(configured) = text.setting.take_back() else {
            continue;
        };
        // SAFETY: the server keeps the configured value, a C string, for as long as it runs.
        let configured = unsafe { CStr::from_ptr(configured.as_ptr()) }.to_bytes();
        if configured.is_empty() {
            continue;
        }
        let checked = (text.check)(configured);
        let set = (text.set)(text.setting, configured);
        if let Err(error) = checked.and(set) {
            let (name, then) = (text.setting.name, text.at_start);
            diagnostics::log("ERROR", &format!("{name}: {error}; {then}"));
        }
    }
}

fn variable(text: &'static TextVariable) -> *const c_void {
    let setting = text.setting;
    address(StringVariable {
        header: header(
            VARIABLE_STRING,
            setting.name,
            setting.description,
            Some(check),
            Some(update),
        ),
        value: setting.storage(),
        default: c"".as_ptr(),
    })
}

/// The variable whose text lies at `storage`.
fn at(storage: *mut *mut c_char) -> Result<&'static TextVariable, Error> {
    let mut texts = TEXTS.iter();
    let text = texts.find(|text| text.setting.storage() == storage);
    text.ok_or_else(|| Error::Panic("the server names a variable that is none of ours".to_owned()))
}

unsafe extern "C" fn check(
    _session: *mut c_void,
    variable: *mut c_void,
    save: *mut c_void,
    value: *mut Value,
) -> c_int {
    // SAFETY: the server passes the variable that was declared with this function.
    let storage = unsafe { (*variable.cast::<StringVariable>()).value };
    let text = match at(storage) {
        Ok(text) => text,
        Err(error) => return refused("", || Err(error)),
    };
    let name = text.setting.name;
    // Room for the NUL of an empty string and no more: a longer one does not fit, and the server
    // then keeps it in the session's memory until the statement ends, which is how it reaches
    // `update`.
    let mut buffer = [0; 1];
    let mut length: c_int = 1;
    // SAFETY: the server passes a valid value; `length` is the size of `buffer`.
    let given = unsafe { ((*value).val_str)(value, buffer.as_mut_ptr(), &mut length) };
    if given.is_null() {
        return refused(name, || {
            Err(Error::Input(format!("it cannot be NULL; {}", text.empty)))
        });
    }
    let kept = if given == buffer.as_ptr() {
        c"".as_ptr()
    } else {
        given
    };
    // SAFETY: `save` has room for a pointer, as the variable is a string.
    unsafe { *save.cast::<*const c_char>() = kept };
    // SAFETY: `kept` is a NUL-terminated string: both servers return `c_ptr_quick()` or a copy.
    let bytes = unsafe { CStr::from_ptr(kept) }.to_bytes();
    refused(name, || (text.check)(bytes))
}

unsafe extern "C" fn update(
    _session: *mut c_void,
    _variable: *mut c_void,
    target: *mut c_void,
    save: *const c_void,
) {
    // SAFETY: what `check` left there, or the declared default; both are C strings that outlive the
    // statement.
    let bytes = unsafe { CStr::from_ptr(*save.cast::<*const c_char>()) }.to_bytes();
    let text = match at(target.cast()) {
        Ok(text) => text,
        Err(error) => {
            refused("", || Err(error));
            return;
        }
    };
    refused(text.setting.name, || (text.set)(text.setting, bytes));
}
