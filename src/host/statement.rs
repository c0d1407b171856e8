//! A statement before the server parses it, and what its session says of it.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::mem;
use std::slice;

use once_cell::sync::OnceCell;

use crate::host::plugin_abi::{BEFORE_PARSING, PARSE_CLASS, ParseEvent, QUERY_REWRITTEN};
use crate::host::registry::Service;
use crate::host::server::Server;
use crate::host::symbols::symbol;

/// `my_malloc(PSI_memory_key, size_t, myf)`: what the server frees a rewritten statement with.
const MY_MALLOC: &CStr = c"_Z9my_mallocjmi";

type MyMalloc = unsafe extern "C" fn(c_uint, usize, c_int) -> *mut c_void;

/// The service `mysql_system_variable_reader`: session, scope, component, variable, buffer, length
/// of the buffer in and of the value out; 0 on success.
#[repr(C)]
struct VariableReader {
    get: unsafe extern "C" fn(
        *mut c_void,
        *const c_char,
        *const c_char,
        *const c_char,
        *mut *mut c_void,
        *mut usize,
    ) -> c_int,
}

/// Whether the server around us shows its statements, through an interface that is known.
pub(crate) fn is_possible() -> bool {
    let is_known = matches!(Server::around_us(), Some(Server::Mysql(90_700..=90_799)));
    is_known && symbol(MY_MALLOC).is_some()
}

/// The number of the server's version, such as 90704; 0 for none.
pub(crate) fn server_version() -> u32 {
    static VERSION: OnceCell<u32> = OnceCell::new();
    *VERSION.get_or_init(|| match Server::around_us() {
        Some(Server::Maria(number) | Server::Mysql(number)) => number.unsigned_abs(),
        Some(Server::Unknown(_)) | None => 0,
    })
}

/// A statement that is about to be parsed.
pub(crate) struct Statement<'a> {
    session: *mut c_void,
    event: &'a ParseEvent,
}

impl Statement<'_> {
    /// The one of an event of the audit interface; `None` for other events, and for a statement that
    /// another plugin has rewritten.
    ///
    /// # Safety
    ///
    /// The arguments are those of the server's call, which lasts for as long as the answer lives, and the
    /// server is one where this [is possible](is_possible).
    pub(crate) unsafe fn from_event(
        session: *mut c_void,
        class: c_int,
        event: *const c_void,
    ) -> Option<Self> {
        if class != PARSE_CLASS {
            return None;
        }
        // SAFETY: an event of this class.
        let event = unsafe { event.cast::<ParseEvent>().as_ref() }?;
        let is_complete = !event.flags.is_null() && !event.rewritten.is_null();
        if event.subclass != BEFORE_PARSING || event.query.text.is_null() || !is_complete {
            return None;
        }
        // SAFETY: a number of the server's.
        let is_rewritten = unsafe { *event.flags } & QUERY_REWRITTEN != 0;
        (!is_rewritten).then_some(Self { session, event })
    }

    /// Its text, in the character set of the client.
    pub(crate) fn text(&self) -> &[u8] {
        let query = &self.event.query;
        // SAFETY: the server keeps the text during its call.
        unsafe { slice::from_raw_parts(query.text.cast(), query.length) }
    }

    /// The value of a system variable for the session, at the beginning of `buffer`; `None` where it does
    /// not fit, or the session cannot be asked.
    pub(crate) fn variable<'b>(&self, name: &CStr, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        // SAFETY: the service has this one member.
        let reader =
            unsafe { Service::<VariableReader>::acquire(c"mysql_system_variable_reader") }?;
        let mut value = buffer.as_mut_ptr().cast();
        let mut length = buffer.len();
        // SAFETY: the session is that of the calling thread; the names are NUL-terminated; the value is
        // written to the buffer, whose length is given.
        let failed = unsafe {
            (reader.get)(
                self.session,
                c"SESSION".as_ptr(),
                c"mysql_server".as_ptr(),
                name.as_ptr(),
                &raw mut value,
                &raw mut length,
            )
        };
        if failed != 0 {
            return None;
        }
        buffer.get(..length)
    }

    /// Gives the server another text in the place of this one: `parts` together, `length` bytes. Without memory
    /// for it the statement stays as it is.
    pub(crate) fn replace<'p>(&self, parts: impl Iterator<Item = &'p [u8]>, length: usize) {
        let (Some(malloc), Some(room)) = (symbol(MY_MALLOC), length.checked_add(1)) else {
            return;
        };
        // SAFETY: the mangled name says what it takes; key 0 is memory that is not accounted for.
        let text = unsafe {
            let malloc = mem::transmute::<*mut c_void, MyMalloc>(malloc);
            malloc(0, room, 0).cast::<u8>()
        };
        if text.is_null() {
            return;
        }
        let mut end = 0;
        for part in parts {
            assert!(part.len() <= length - end);
            // SAFETY: there is room for `length` bytes and a NUL.
            unsafe {
                text.add(end)
                    .copy_from_nonoverlapping(part.as_ptr(), part.len())
            };
            end += part.len();
        }
        // SAFETY: as above; the event's members are the server's own, which takes the text over and frees it.
        unsafe {
            text.add(end).write(0);
            (*self.event.rewritten).text = text.cast();
            (*self.event.rewritten).length = end;
            *self.event.flags |= QUERY_REWRITTEN;
        }
    }
}
