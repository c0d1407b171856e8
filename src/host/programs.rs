//! Whether the current call comes from inside a trigger, stored function, procedure or event.
//!
//! No server tells. But all of them run the statements of every such program in one exported function, so
//! the call comes from inside one if that function is among those that have called us.

use std::ffi::{CStr, c_int, c_void};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;

use once_cell::sync::OnceCell;

use crate::host::symbols::symbol;

/// `sp_head::execute(THD *, bool)` of MySQL's and MariaDB's `sp_head.cc`.
const EXECUTE: &CStr = c"_ZN7sp_head7executeEP3THDb";

/// `RTLD_DL_SYMENT` of glibc's `dlfcn.h`: asks `dladdr1` for the symbol's entry.
const SYMBOL_ENTRY: c_int = 1;

/// `_URC_NO_REASON` and `_URC_END_OF_STACK` of the unwinder's `unwind.h`.
const GO_ON: c_int = 0;
const STOP: c_int = 5;

/// `Elf64_Sym` of `elf.h`.
#[repr(C)]
struct SymbolEntry {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: u64,
    size: u64,
}

type Visit = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;

unsafe extern "C" {
    /// Of the unwinder that panics use; calls `visit` for each frame until that returns another value
    /// than [`GO_ON`].
    fn _Unwind_Backtrace(visit: Visit, argument: *mut c_void) -> c_int;

    /// Where a frame goes on when the function that it has called returns.
    fn _Unwind_GetIP(frame: *mut c_void) -> usize;

    /// Of glibc's `dlfcn.h`: the symbol at an address; not 0 on success.
    fn dladdr1(
        address: *const c_void,
        info: *mut libc::Dl_info,
        extra: *mut *mut c_void,
        flags: c_int,
    ) -> c_int;
}

/// A look at those who have called us.
struct Look {
    wanted: Range<usize>,
    found: bool,
}

/// Whether this server lets us know.
pub(crate) fn can_be_known() -> bool {
    execute().is_some()
}

/// Whether we are called from inside a program; `None` if it cannot be known.
pub(crate) fn is_inside() -> Option<bool> {
    let mut look = Look {
        wanted: execute()?,
        found: false,
    };
    // SAFETY: `visit` gets `look`, which outlives the call, and touches nothing else.
    unsafe { _Unwind_Backtrace(visit, (&raw mut look).cast()) };
    Some(look.found)
}

/// # Safety
///
/// `frame` is one of `_Unwind_Backtrace`, which was given a `Look`.
unsafe extern "C" fn visit(frame: *mut c_void, look: *mut c_void) -> c_int {
    // SAFETY: the caller's promise.
    let (address, look) = unsafe { (_Unwind_GetIP(frame), &mut *look.cast::<Look>()) };
    // What a call returns to is behind the call, and may be behind the function.
    look.found = look.wanted.contains(&address.wrapping_sub(1));
    if look.found { STOP } else { GO_ON }
}

/// Where the server's function lies.
fn execute() -> Option<Range<usize>> {
    static EXECUTE_AT: OnceCell<Option<Range<usize>>> = OnceCell::new();
    EXECUTE_AT
        .get_or_init(|| {
            let address = symbol(EXECUTE)?;
            let mut info = MaybeUninit::uninit();
            let mut entry = ptr::null_mut();
            // SAFETY: both places are written before it returns success.
            let known =
                unsafe { dladdr1(address, info.as_mut_ptr(), &raw mut entry, SYMBOL_ENTRY) };
            if known == 0 {
                return None;
            }
            // SAFETY: the entry lies in the server's symbol table, which stays mapped.
            let size = unsafe { entry.cast::<SymbolEntry>().as_ref() }?.size;
            let begin = address as usize;
            let end = begin.checked_add(usize::try_from(size).ok()?)?;
            (size > 0).then_some(begin..end)
        })
        .clone()
}
