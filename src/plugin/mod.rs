//! The library as a daemon plugin named `gman`: declarations for MariaDB and for MySQL in one
//! shared object.
//!
//! A server looks for the exported symbols below when it is told to install a plugin from the
//! library. It compares the version of the daemon interface with its own version number, to the
//! patch level, so a constructor fills the declarations in when the library is loaded, after asking
//! the server around it who it is. A server that is not known finds interface version 0, refuses the
//! plugin with a line in its error log, and loads the functions all the same.

#![allow(unsafe_code)]

mod commit;
mod legacy;
mod native_names;
mod status;
mod texts;
mod variable_parts;
mod variables;

use std::cell::UnsafeCell;
use std::ffi::{c_char, c_int, c_void};
use std::mem::size_of;
use std::ptr;

use crate::functions::shutdown;
use crate::host::plugin_abi::{
    AUDIT_PLUGIN, DAEMON_PLUGIN, Daemon, LICENSE_BSD, MATURITY_STABLE, MariaPlugin, MysqlPlugin,
    STORAGE_ENGINE_PLUGIN,
};
use crate::host::server::Server;
use crate::host::{diagnostics, guard};
use crate::settings;

/// `MARIA_PLUGIN_INTERFACE_VERSION` of MariaDB 10.2; a server takes any with its own major number.
const MARIA_INTERFACE: c_int = 0x010d;

/// `MYSQL_PLUGIN_INTERFACE_VERSION` of MySQL 8.0; a server takes any with its own major number.
const MYSQL_INTERFACE: c_int = 0x010b;

/// Major and minor number of the version, one byte each.
const VERSION: u32 =
    number(env!("CARGO_PKG_VERSION_MAJOR")) << 8 | number(env!("CARGO_PKG_VERSION_MINOR"));

const fn number(text: &str) -> u32 {
    match u32::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => panic!("cargo gives a version's parts as numbers"),
    }
}

const NAME: *const c_char = c"gman".as_ptr();
const AUTHOR: *const c_char = c"The gearman-mysql-udf authors".as_ptr();
const DESCRIPTION: *const c_char = c"JSON from rows and Gearman jobs from triggers".as_ptr();
const COMMIT_NAME: *const c_char = c"gman_commit".as_ptr();
const COMMIT_DESCRIPTION: *const c_char =
    c"Stores nothing: tells gman of commits, so that jobs leave with them".as_ptr();
const LEGACY_NAME: *const c_char = c"gman_legacy".as_ptr();
const LEGACY_DESCRIPTION: *const c_char =
    c"Lets statements of the C plugins work beside the native JSON_OBJECT".as_ptr();
const VERSION_TEXT: *const c_char = concat!(env!("GMAN_VERSION"), "\0").as_ptr().cast();

/// Data that the constructor writes before anybody else can see the library.
#[repr(transparent)]
struct Declared<T>(UnsafeCell<T>);

// SAFETY: written by the constructor alone, before dlopen returns; only read from then on.
unsafe impl<T> Sync for Declared<T> {}

impl<T> Declared<T> {
    const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// # Safety
    ///
    /// Only while the library is being loaded.
    unsafe fn set(&self, value: T) {
        // SAFETY: nobody else has seen the library yet.
        unsafe { *self.0.get() = value };
    }
}

static DAEMON: Declared<Daemon> = Declared::new(Daemon {
    interface_version: 0,
});

#[unsafe(no_mangle)]
static _maria_plugin_interface_version_: Declared<c_int> = Declared::new(0);

#[unsafe(no_mangle)]
static _maria_sizeof_struct_st_plugin_: c_int = size_of::<MariaPlugin>() as c_int;

#[unsafe(no_mangle)]
static _maria_plugin_declarations_: Declared<[MariaPlugin; 3]> =
    Declared::new([const { MariaPlugin::END }; 3]);

#[unsafe(no_mangle)]
static _mysql_plugin_interface_version_: Declared<c_int> = Declared::new(0);

#[unsafe(no_mangle)]
static _mysql_sizeof_struct_st_plugin_: c_int = size_of::<MysqlPlugin>() as c_int;

#[unsafe(no_mangle)]
static _mysql_plugin_declarations_: Declared<[MysqlPlugin; 4]> =
    Declared::new([const { MysqlPlugin::END }; 4]);

/// The dynamic loader calls what stands in this section before dlopen returns.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = declare;

extern "C" fn declare() {
    let declared = guard::caught(|| {
        match Server::around_us() {
            // SAFETY: the library is being loaded.
            Some(Server::Maria(number)) => unsafe { declare_for_maria(number) },
            // SAFETY: the library is being loaded.
            Some(Server::Mysql(number)) => unsafe { declare_for_mysql(number) },
            Some(Server::Unknown(version)) => diagnostics::log(
                "Note",
                &format!(
                    "the plugin interface of this server, {version}, is not known: \
                     the functions work, the plugin gman cannot be installed"
                ),
            ),
            None => {}
        }
        Ok(())
    });
    if let Err(error) = declared {
        diagnostics::log("ERROR", &error.to_string());
    }
}

/// # Safety
///
/// Only while the library is being loaded.
unsafe fn declare_for_maria(version: i32) {
    let plugin = MariaPlugin {
        kind: DAEMON_PLUGIN,
        info: DAEMON.0.get().cast(),
        name: NAME,
        author: AUTHOR,
        description: DESCRIPTION,
        license: LICENSE_BSD,
        init: Some(init),
        deinit: Some(deinit),
        version: VERSION,
        status_variables: status::for_maria(),
        system_variables: variables::for_maria(),
        version_text: VERSION_TEXT,
        maturity: MATURITY_STABLE,
    };
    let commit = MariaPlugin {
        kind: STORAGE_ENGINE_PLUGIN,
        info: DAEMON.0.get().cast(),
        name: COMMIT_NAME,
        author: AUTHOR,
        description: COMMIT_DESCRIPTION,
        license: LICENSE_BSD,
        init: Some(commit::init),
        deinit: Some(commit::deinit),
        version: VERSION,
        version_text: VERSION_TEXT,
        maturity: MATURITY_STABLE,
        ..MariaPlugin::END
    };
    let commit = if commit::is_possible() {
        commit
    } else {
        MariaPlugin::END
    };
    // SAFETY: the caller's promise.
    unsafe {
        settings::Plugin::Inactive.becomes();
        DAEMON.set(Daemon::of_server(version));
        _maria_plugin_declarations_.set([plugin, commit, MariaPlugin::END]);
        _maria_plugin_interface_version_.set(MARIA_INTERFACE);
    }
}

/// # Safety
///
/// Only while the library is being loaded.
unsafe fn declare_for_mysql(version: i32) {
    let plugin = MysqlPlugin {
        kind: DAEMON_PLUGIN,
        info: DAEMON.0.get().cast(),
        name: NAME,
        author: AUTHOR,
        description: DESCRIPTION,
        license: LICENSE_BSD,
        init: Some(init),
        check_uninstall: None,
        deinit: Some(deinit),
        version: VERSION,
        status_variables: status::for_mysql(),
        system_variables: variables::for_mysql(),
        reserved: ptr::null(),
        flags: 0,
    };
    let commit = MysqlPlugin {
        kind: STORAGE_ENGINE_PLUGIN,
        info: DAEMON.0.get().cast(),
        name: COMMIT_NAME,
        author: AUTHOR,
        description: COMMIT_DESCRIPTION,
        license: LICENSE_BSD,
        init: Some(commit::init),
        check_uninstall: Some(commit::check_uninstall),
        deinit: Some(commit::deinit),
        version: VERSION,
        ..MysqlPlugin::END
    };
    let legacy = MysqlPlugin {
        kind: AUDIT_PLUGIN,
        info: ptr::from_ref(&legacy::AUDIT).cast(),
        name: LEGACY_NAME,
        author: AUTHOR,
        description: LEGACY_DESCRIPTION,
        license: LICENSE_BSD,
        init: Some(legacy::init),
        deinit: Some(legacy::deinit),
        version: VERSION,
        ..MysqlPlugin::END
    };
    let mut declarations = [const { MysqlPlugin::END }; 4];
    let possible = [
        Some(plugin),
        commit::is_possible().then_some(commit),
        legacy::is_possible().then_some(legacy),
    ];
    // What is behind the last one stays the end of the list.
    for (place, declared) in declarations.iter_mut().zip(possible.into_iter().flatten()) {
        *place = declared;
    }
    // SAFETY: the caller's promise.
    unsafe {
        settings::Plugin::Inactive.becomes();
        DAEMON.set(Daemon::of_server(version));
        _mysql_plugin_declarations_.set(declarations);
        _mysql_plugin_interface_version_.set(MYSQL_INTERFACE);
    }
}

unsafe extern "C" fn init(_plugin: *mut c_void) -> c_int {
    let done = guard::caught(|| {
        settings::Plugin::Active.becomes();
        texts::adopt();
        native_names::free_names_if_asked();
        Ok(())
    });
    match done {
        Ok(()) => 0,
        Err(error) => {
            diagnostics::log("ERROR", &error.to_string());
            1
        }
    }
}

/// The functions go on without the plugin; what waits is delivered, in case the server shuts down.
unsafe extern "C" fn deinit(_plugin: *mut c_void) -> c_int {
    settings::Plugin::Inactive.becomes();
    drain();
    0
}

/// The C library calls what stands in this section when the process exits. It is the only word a
/// server without the plugin gives us of its shutdown; the library is never unmapped before.
#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C" fn() = drain;

extern "C" fn drain() {
    let drained = guard::caught(|| {
        shutdown::drain();
        Ok(())
    });
    if let Err(error) = drained {
        diagnostics::log("ERROR", &error.to_string());
    }
}
