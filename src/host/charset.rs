//! utf8mb4 in and out, where the server can convert.
//!
//! MySQL has the component service `mysql_udf_metadata` for that, since 8.0.19 (`udf_metadata.h` of
//! its sources). MariaDB and older servers have nothing like it: arguments arrive in the character
//! set of their column, and results are binary.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;

use udf::udf_sys::{UDF_ARGS, UDF_INIT};
use udf::{ArgList, Init, UdfCfg};

use crate::host::args;
use crate::host::registry::Service;

/// The extension of an argument that names its character set.
const CHARSET: &CStr = c"charset";

/// The extension of a result that names its collation, and the character set with it.
const COLLATION: &CStr = c"collation";

/// Character sets whose text is UTF-8 as it is, and `binary`, where there is nothing to convert.
const UNCONVERTED: [&[u8]; 5] = [b"utf8mb4", b"utf8mb3", b"utf8", b"ascii", b"binary"];

/// The service `mysql_udf_metadata`. Every member answers 0 on success.
#[repr(C)]
struct Metadata {
    argument_get:
        unsafe extern "C" fn(*mut UDF_ARGS, *const c_char, c_uint, *mut *mut c_void) -> c_int,
    result_get: unsafe extern "C" fn(*mut UDF_INIT, *const c_char, *mut *mut c_void) -> c_int,
    argument_set: unsafe extern "C" fn(*mut UDF_ARGS, *const c_char, c_uint, *mut c_void) -> c_int,
    result_set: unsafe extern "C" fn(*mut UDF_INIT, *const c_char, *mut c_void) -> c_int,
}

/// Asks for string argument `index` in utf8mb4; answers whether rows bring it converted. The value
/// that a constant has before the first row is not converted.
pub(crate) fn convert_argument(args: &ArgList<Init>, index: usize) -> bool {
    let (Some(service), Ok(position)) = (metadata(), c_uint::try_from(index)) else {
        return false;
    };
    let list = args::raw(args);
    // SAFETY: the list is the server's own and is valid during init.
    if index >= args.len() || unsafe { (*list).extension.is_null() } {
        return false;
    }
    let mut charset = ptr::null_mut();
    // SAFETY: the service of this server, called during init with a list that has an extension; it
    // answers a NUL-terminated name that outlives the call.
    let current = unsafe {
        if (service.argument_get)(list, CHARSET.as_ptr(), position, &raw mut charset) != 0
            || charset.is_null()
        {
            return false;
        }
        CStr::from_ptr(charset.cast())
    };
    if UNCONVERTED.contains(&current.to_bytes()) {
        return false;
    }
    // SAFETY: as above; the service only reads the name.
    unsafe { (service.argument_set)(list, CHARSET.as_ptr(), position, value(c"utf8mb4")) == 0 }
}

/// Declares the function's result to be utf8mb4 text, where the server lets us. The collation is that
/// of the server's own JSON, which agrees with text of any other utf8mb4 collation.
pub(crate) fn declare_result(cfg: &UdfCfg<Init>) {
    let init: *mut UDF_INIT = (&raw const *cfg).cast_mut().cast();
    // SAFETY: `UdfCfg` is a transparent wrapper, with interior mutability, around the server's
    // `UDF_INIT`, which is valid during init.
    if unsafe { (*init).extension.is_null() } {
        return;
    }
    if let Some(service) = metadata() {
        // SAFETY: the service of this server, called during init with an extension. Where it
        // refuses, the result stays binary, as it is on every other server.
        unsafe { (service.result_set)(init, COLLATION.as_ptr(), value(c"utf8mb4_bin")) };
    }
}

/// The service takes values through a pointer to mutable memory, and only reads them.
fn value(name: &'static CStr) -> *mut c_void {
    name.as_ptr().cast_mut().cast()
}

/// Acquires the service; `None` where the server has none.
fn metadata() -> Option<Service<Metadata>> {
    // SAFETY: the service has the members that its header declares.
    unsafe { Service::acquire(c"mysql_udf_metadata") }
}
