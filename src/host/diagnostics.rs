//! How the person at the other end hears from us: SQL errors, warnings, and the server's error log.

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulong, c_void};
use std::io::Write;
use std::mem;

use once_cell::sync::OnceCell;

use crate::error::Error;
use crate::host::killed::Statement;
use crate::host::session;
use crate::host::symbols::symbol;

/// `ER_UNKNOWN_ERROR` (SQLSTATE HY000): the generic code, known to every server and client.
const GENERAL_ERROR: c_uint = 1105;

/// `ME_WARNING` of MariaDB's `my_sys.h`: raise a warning, not an error.
const AS_WARNING: c_ulong = 2048;

/// The longest message in the error log; a list of servers that all failed has no bound of its own.
const MAX_LINE_BYTES: usize = 1024;

/// `my_printf_error` of MySQL up to 5.6 and of MariaDB: `mysys/my_error.c`, C linkage.
type PrintfErrorC = unsafe extern "C" fn(c_uint, *const c_char, c_ulong, ...);

/// `my_printf_error` of MySQL 5.7 and later: `mysys/my_error.cc`, C++ linkage, flags are an `int`.
type PrintfErrorCpp = unsafe extern "C" fn(c_uint, *const c_char, c_int, ...);

/// `push_warning` of MySQL's `sql_error.h`: session, severity, code, text.
type PushWarning = unsafe extern "C" fn(*mut c_void, c_int, c_uint, *const c_char);

/// Its C++ names in MySQL 5.7 and later, and in MySQL 5.6.
const PUSH_WARNING_NAMES: [&CStr; 2] = [
    c"_Z12push_warningP3THDN13Sql_condition19enum_severity_levelEjPKc",
    c"_Z12push_warningP3THDN13Sql_condition18enum_warning_levelEjPKc",
];

/// `Sql_condition::SL_WARNING`, in MySQL 5.6 `WARN_LEVEL_WARN`.
const SEVERITY_WARNING: c_int = 1;

/// How this server lets us speak into a statement.
#[derive(Clone, Copy)]
enum Speaker {
    C {
        raise: PrintfErrorC,
        /// Only MariaDB understands [`AS_WARNING`].
        warns: bool,
    },
    Cpp(PrintfErrorCpp),
    /// Nothing is exported: the error log is the only way.
    None,
}

/// Raises `error` of `function` as an SQL error in the statement that is being run; without a way
/// to do so it goes to the error log.
pub(crate) fn raise(function: &str, error: &Error) {
    let message = format!("{function}: {error}");
    let text = printable(&message);
    let code = match error {
        Error::Stopped => Statement::current().kill_code(),
        _ => GENERAL_ERROR,
    };
    match speaker() {
        // SAFETY: the address has this signature on the servers that export this symbol, and the
        // format takes exactly the one C string that is passed.
        Speaker::C { raise, .. } => unsafe {
            raise(code, c"%s".as_ptr(), 0, text.as_ptr());
        },
        // SAFETY: as above.
        Speaker::Cpp(raise) => unsafe {
            raise(code, c"%s".as_ptr(), 0, text.as_ptr());
        },
        Speaker::None => log("ERROR", &message),
    }
}

/// Adds a warning to the statement that is being run, if the server allows it.
/// A warning raised inside a trigger is not seen by the client, so log as well.
pub(crate) fn warn(message: &str) {
    let text = printable(message);
    if let Speaker::C { raise, warns: true } = speaker() {
        // SAFETY: as in `raise`.
        unsafe { raise(GENERAL_ERROR, c"%s".as_ptr(), AS_WARNING, text.as_ptr()) };
    } else if let (Some(session), Some(push)) = (session::current(), push_warning()) {
        // SAFETY:
        // - the session is the calling thread's, and this thread runs its statement;
        // - the server copies the text.
        unsafe {
            push(
                session.address(),
                SEVERITY_WARNING,
                GENERAL_ERROR,
                text.as_ptr(),
            )
        };
    }
}

/// MySQL's `push_warning`; `None` on MariaDB, whose name for it changes with the version.
fn push_warning() -> Option<PushWarning> {
    static PUSH_WARNING: OnceCell<Option<PushWarning>> = OnceCell::new();
    *PUSH_WARNING.get_or_init(|| {
        let address = PUSH_WARNING_NAMES.iter().find_map(|name| symbol(name))?;
        // SAFETY: the mangled names spell the signature out: THD *, an enum, unsigned int, and
        // const char *.
        Some(unsafe { mem::transmute::<*mut c_void, PushWarning>(address) })
    })
}

/// Writes one line to the server's error log, which is where its stderr goes.
pub(crate) fn log(level: &str, message: &str) {
    let now = udf::chrono::Local::now().format("%Y-%m-%d %H:%M:%S");
    let line = format!("{now} 0 [{level}] gman: {}\n", cut(&on_one_line(message)));
    // One write, so that lines of several threads do not mix; there is nobody to tell if it fails.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// `message` without what would begin a line of its own, or tell a terminal what to do: parts of it can
/// come from anybody who may call a function, and from a job server.
pub(crate) fn on_one_line(message: &str) -> Cow<'_, str> {
    if !message.contains(is_control) {
        return Cow::Borrowed(message);
    }
    let mut line = String::with_capacity(message.len());
    for c in message.chars() {
        match is_control(c) {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    Cow::Owned(line)
}

/// Control characters, and the two that end a line in Unicode.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// The beginning of a message that is too long for a line, and how much is missing.
fn cut(message: &str) -> Cow<'_, str> {
    let end = message.floor_char_boundary(MAX_LINE_BYTES);
    match message.len() - end {
        0 => Cow::Borrowed(message),
        missing => Cow::Owned(format!("{} ... ({missing} more bytes)", &message[..end])),
    }
}

/// A C string for `%s`, on one line; a NUL would cut it.
fn printable(message: &str) -> CString {
    CString::new(on_one_line(message).into_owned()).unwrap_or_default()
}

fn speaker() -> Speaker {
    static SPEAKER: OnceCell<Speaker> = OnceCell::new();
    *SPEAKER.get_or_init(|| {
        if let Some(address) = symbol(c"my_printf_error") {
            // SAFETY: the C symbol has this signature wherever it exists (MySQL 5.6, MariaDB).
            let raise = unsafe { mem::transmute::<*mut c_void, PrintfErrorC>(address) };
            // Only MariaDB exports its table of native functions.
            let warns = symbol(c"native_functions_hash").is_some();
            return Speaker::C { raise, warns };
        }
        match symbol(c"_Z15my_printf_errorjPKciz") {
            Some(address) => {
                // SAFETY: the mangled name spells the signature out: unsigned int, const char *,
                // int, and further arguments.
                let raise = unsafe { mem::transmute::<*mut c_void, PrintfErrorCpp>(address) };
                Speaker::Cpp(raise)
            }
            None => Speaker::None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_stays_on_one_line_and_says_nothing_to_a_terminal() {
        assert_eq!(on_one_line("déjà vu"), "déjà vu");
        assert_eq!(
            on_one_line("a\r\n2026-01-01 0 [ERROR]\0\x1b[31m\u{9b}\u{7f}\u{2028}é"),
            r"a\r\n2026-01-01 0 [ERROR]\u{0}\u{1b}[31m\u{9b}\u{7f}\u{2028}é"
        );
    }

    #[test]
    fn a_long_message_is_cut_between_characters_and_says_how_much_is_missing() {
        assert_eq!(cut(&"x".repeat(MAX_LINE_BYTES)), "x".repeat(MAX_LINE_BYTES));
        let long = format!("x{}", "é".repeat(MAX_LINE_BYTES));
        let expected = format!("x{} ... (1026 more bytes)", "é".repeat(511));
        assert_eq!(cut(&long), expected);
    }
}
