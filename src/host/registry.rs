//! Component services of MySQL, by their names. MariaDB and MySQL before 8.0 have none.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem;
use std::ops::Deref;
use std::ptr;

use once_cell::sync::OnceCell;

use crate::host::symbols::symbol;

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

/// A service of this server while it is in use. A server counts who holds a service and complains at
/// its shutdown of one that was not given back, so nobody holds it longer than for a call.
pub(crate) struct Service<T: 'static> {
    registry: &'static Registry,
    release_registry: ReleaseRegistry,
    members: &'static T,
}

impl<T> Service<T> {
    /// Acquires the service `name`; `None` where the server has none.
    ///
    /// # Safety
    ///
    /// The service has the members of `T`.
    pub(crate) unsafe fn acquire(name: &CStr) -> Option<Self> {
        let (acquire_registry, release_registry) = access()?;
        // SAFETY: the registry outlives every library that the server loads.
        let registry = unsafe { acquire_registry().as_ref() }?;
        let mut service = ptr::null();
        // SAFETY: the registry writes the handle of the service that it finds under the name; the service has
        // the members that the caller promises.
        let members = unsafe {
            match (registry.acquire)(name.as_ptr(), &raw mut service) {
                0 => service.cast::<T>().as_ref(),
                _ => None,
            }
        };
        if members.is_none() {
            // SAFETY: it was acquired above.
            unsafe { release_registry(registry) };
        }
        Some(Self {
            registry,
            release_registry,
            members: members?,
        })
    }
}

impl<T> Deref for Service<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.members
    }
}

impl<T> Drop for Service<T> {
    fn drop(&mut self) {
        // SAFETY: both were acquired by `acquire`, and are given back once.
        unsafe {
            (self.registry.release)(ptr::from_ref(self.members).cast());
            (self.release_registry)(self.registry);
        }
    }
}

/// How the registry is acquired and given back.
fn access() -> Option<(AcquireRegistry, ReleaseRegistry)> {
    static ACCESS: OnceCell<Option<(AcquireRegistry, ReleaseRegistry)>> = OnceCell::new();
    *ACCESS.get_or_init(|| {
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
    })
}
