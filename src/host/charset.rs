//! utf8mb4 in and out, where the server can convert.
//!
//! MySQL has the component service `mysql_udf_metadata` for that, since 8.0.19 (`udf_metadata.h` of
//! its sources). MariaDB and older servers have nothing like it: arguments arrive in the character
//! set of their column, and results are binary.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::mem;
use std::ops::Deref;
use std::ptr;

use once_cell::sync::OnceCell;
use udf::udf_sys::{UDF_ARGS, UDF_INIT};
use udf::{ArgList, Init, UdfCfg};

use crate::host::args;
use crate::host::symbols::symbol;

/// The extension of an argument that names its character set.
const CHARSET: &CStr = c"charset";

/// The extension of a result that names its collation, and the character set with it.
const COLLATION: &CStr = c"collation";

/// Character sets whose text is UTF-8 as it is, and `binary`, where there is nothing to convert.
const UNCONVERTED: [&[u8]; 5] = [b"utf8mb4", b"utf8mb3", b"utf8", b"ascii", b"binary"];

/// What `mysql_plugin_registry_acquire` returns: the first members of the service `registry`.
#[repr(C)]
struct Registry {
    acquire: unsafe extern "C" fn(*const c_char, *mut *const c_void) -> c_int,
    acquire_related:
        unsafe extern "C" fn(*const c_char, *const c_void, *mut *const c_void) -> c_int,
    release: unsafe extern "C" fn(*const c_void) -> c_int,
}

type AcquireRegistry = unsafe extern "C" fn() -> *const Registry;

type ReleaseRegistry = unsafe extern "C" fn(*const Registry) -> c_int;

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

/// The service of this server while it is in use. A server counts who holds a service and complains at
/// its shutdown of one that was not given back, so nobody holds it longer than for a call of `init`.
struct Handle {
    registry: &'static Registry,
    release_registry: ReleaseRegistry,
    metadata: &'static Metadata,
}

impl Deref for Handle {
    type Target = Metadata;

    fn deref(&self) -> &Metadata {
        self.metadata
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: both were acquired by `metadata`, and are given back once.
        unsafe {
            (self.registry.release)(ptr::from_ref(self.metadata).cast());
            (self.release_registry)(self.registry);
        }
    }
}

/// Acquires the service; `None` where the server has none.
fn metadata() -> Option<Handle> {
    static ACCESS: OnceCell<Option<(AcquireRegistry, ReleaseRegistry)>> = OnceCell::new();
    let (acquire_registry, release_registry) = (*ACCESS.get_or_init(|| {
        let acquire = symbol(c"_Z29mysql_plugin_registry_acquirev")?;
        let release = symbol(c"_Z29mysql_plugin_registry_releasePK16s_mysql_registry")?;
        // SAFETY: the mangled names say what they take: nothing, and the registry that the first one
        // answered; that is the registry or null, and the second one's answer is 0 on success.
        Some(unsafe {
            (
                mem::transmute::<*mut c_void, AcquireRegistry>(acquire),
                mem::transmute::<*mut c_void, ReleaseRegistry>(release),
            )
        })
    }))?;
    // SAFETY: as above; the registry outlives every library that the server loads.
    let registry = unsafe { acquire_registry().as_ref() }?;
    let mut service = ptr::null();
    // SAFETY: the registry writes the handle of the service that it finds under the name; the service has the
    // members that its header declares.
    let metadata = unsafe {
        match (registry.acquire)(c"mysql_udf_metadata".as_ptr(), &raw mut service) {
            0 => service.cast::<Metadata>().as_ref(),
            _ => None,
        }
    };
    if metadata.is_none() {
        // SAFETY: it was acquired above.
        unsafe { release_registry(registry) };
    }
    Some(Handle {
        registry,
        release_registry,
        metadata: metadata?,
    })
}
