//! The plugin interface's structures, as `plugin.h` of both servers has them.
//!
//! MariaDB took over MySQL 5.1's interface and gave the declaration two fields of its own; MySQL 8.0
//! put `check_uninstall` into its declaration and a scope into status variables.

use std::ffi::{c_char, c_int, c_longlong, c_uint, c_ulong, c_ulonglong, c_void};
use std::ptr;

/// `MYSQL_DAEMON_PLUGIN`.
pub(super) const DAEMON_PLUGIN: c_int = 3;

/// `PLUGIN_LICENSE_BSD`, the nearest to MIT that the interface knows.
pub(super) const LICENSE_BSD: c_int = 2;

/// `MariaDB_PLUGIN_MATURITY_STABLE`; servers refuse what is below their own maturity.
pub(super) const MATURITY_STABLE: c_uint = 5;

/// `struct st_mysql_daemon`.
#[repr(C)]
pub(super) struct Daemon {
    /// `MYSQL_DAEMON_INTERFACE_VERSION`: the server's version number shifted left by 8.
    pub(super) interface_version: c_int,
}

impl Daemon {
    pub(super) const fn of_server(version: c_int) -> Self {
        Self {
            interface_version: version << 8,
        }
    }
}

/// Called with the plugin's handle when it is installed and removed; 0 is success.
pub(super) type Callback = unsafe extern "C" fn(*mut c_void) -> c_int;

/// `struct st_maria_plugin` of MariaDB.
#[repr(C)]
pub(super) struct MariaPlugin {
    pub(super) kind: c_int,
    pub(super) info: *const Daemon,
    pub(super) name: *const c_char,
    pub(super) author: *const c_char,
    pub(super) description: *const c_char,
    pub(super) license: c_int,
    pub(super) init: Option<Callback>,
    pub(super) deinit: Option<Callback>,
    /// Major and minor number, one byte each.
    pub(super) version: c_uint,
    pub(super) status_variables: *const MariaStatus,
    pub(super) system_variables: *const *const c_void,
    pub(super) version_text: *const c_char,
    pub(super) maturity: c_uint,
}

impl MariaPlugin {
    /// What a list of declarations ends with.
    pub(super) const END: Self = Self {
        kind: 0,
        info: ptr::null(),
        name: ptr::null(),
        author: ptr::null(),
        description: ptr::null(),
        license: 0,
        init: None,
        deinit: None,
        version: 0,
        status_variables: ptr::null(),
        system_variables: ptr::null(),
        version_text: ptr::null(),
        maturity: 0,
    };
}

/// `struct st_mysql_plugin` of MySQL 8.0 and later.
#[repr(C)]
pub(super) struct MysqlPlugin {
    pub(super) kind: c_int,
    pub(super) info: *const Daemon,
    pub(super) name: *const c_char,
    pub(super) author: *const c_char,
    pub(super) description: *const c_char,
    pub(super) license: c_int,
    pub(super) init: Option<Callback>,
    pub(super) check_uninstall: Option<Callback>,
    pub(super) deinit: Option<Callback>,
    /// Major and minor number, one byte each.
    pub(super) version: c_uint,
    pub(super) status_variables: *const MysqlStatus,
    pub(super) system_variables: *const *const c_void,
    pub(super) reserved: *const c_void,
    pub(super) flags: c_ulong,
}

impl MysqlPlugin {
    /// What a list of declarations ends with.
    pub(super) const END: Self = Self {
        kind: 0,
        info: ptr::null(),
        name: ptr::null(),
        author: ptr::null(),
        description: ptr::null(),
        license: 0,
        init: None,
        check_uninstall: None,
        deinit: None,
        version: 0,
        status_variables: ptr::null(),
        system_variables: ptr::null(),
        reserved: ptr::null(),
        flags: 0,
    };
}

/// `SHOW_UNDEF`: the end of a list.
pub(super) const SHOW_UNDEF: c_int = 0;

/// `SHOW_LONGLONG`, called `SHOW_ULONGLONG` by MariaDB: an unsigned 64 bit number.
pub(super) const SHOW_LONGLONG: c_int = 4;

/// `SHOW_CHAR`: a string that begins at the value's address.
pub(super) const SHOW_CHAR: c_int = 5;

/// `SHOW_SCOPE_GLOBAL` of MySQL.
pub(super) const SHOW_SCOPE_GLOBAL: c_int = 1;

/// `struct st_mysql_show_var` of MariaDB.
#[repr(C)]
pub(super) struct MariaStatus {
    pub(super) name: *const c_char,
    pub(super) value: *const c_void,
    pub(super) kind: c_int,
}

/// `struct SHOW_VAR` of MySQL 5.7 and later.
#[repr(C)]
pub(super) struct MysqlStatus {
    pub(super) name: *const c_char,
    pub(super) value: *const c_void,
    pub(super) kind: c_int,
    pub(super) scope: c_int,
}

/// `PLUGIN_VAR_BOOL`: the value is one byte.
pub(super) const VARIABLE_BOOL: c_int = 0x0001;
/// `PLUGIN_VAR_LONGLONG | PLUGIN_VAR_UNSIGNED`.
pub(super) const VARIABLE_ULONGLONG: c_int = 0x0004 | 0x0080;
/// `PLUGIN_VAR_STR`.
pub(super) const VARIABLE_STRING: c_int = 0x0005;
/// `PLUGIN_VAR_ENUM`: the value is an `unsigned long`, the index of the name.
pub(super) const VARIABLE_ENUM: c_int = 0x0006;
/// `PLUGIN_VAR_READONLY`: read from the command line and the configuration files only.
pub(super) const VARIABLE_READ_ONLY: c_int = 0x0200;
/// `PLUGIN_VAR_OPCMDARG`: `--gman-x` alone means ON.
pub(super) const VARIABLE_OPTIONAL_ARGUMENT: c_int = 0x2000;

/// `struct st_mysql_value`: the value of a SET statement.
#[repr(C)]
pub(super) struct Value {
    pub(super) value_type: unsafe extern "C" fn(*mut Value) -> c_int,
    /// Buffer, and its length in, the string's length out; NULL for NULL.
    pub(super) val_str: unsafe extern "C" fn(*mut Value, *mut c_char, *mut c_int) -> *const c_char,
    pub(super) val_real: unsafe extern "C" fn(*mut Value, *mut f64) -> c_int,
    pub(super) val_int: unsafe extern "C" fn(*mut Value, *mut c_longlong) -> c_int,
    pub(super) is_unsigned: unsafe extern "C" fn(*mut Value) -> c_int,
}

/// Decides whether a value may be set, and leaves it in `save`: session, variable, save, value.
pub(super) type Check =
    unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void, *mut Value) -> c_int;

/// Sets the value: session, variable, where the value lives, what `Check` saved.
pub(super) type Update = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void, *const c_void);

/// `MYSQL_PLUGIN_VAR_HEADER`: what every system variable begins with.
#[repr(C)]
pub(super) struct VariableHeader {
    pub(super) flags: c_int,
    /// Without the plugin's name, which the server puts in front of it.
    pub(super) name: *const c_char,
    pub(super) comment: *const c_char,
    pub(super) check: Option<Check>,
    pub(super) update: Option<Update>,
}

/// `DECLARE_MYSQL_SYSVAR_BASIC(name, char)`.
#[repr(C)]
pub(super) struct BoolVariable {
    pub(super) header: VariableHeader,
    pub(super) value: *mut bool,
    pub(super) default: bool,
}

/// `DECLARE_MYSQL_SYSVAR_BASIC(name, char *)`.
#[repr(C)]
pub(super) struct StringVariable {
    pub(super) header: VariableHeader,
    pub(super) value: *mut *mut c_char,
    pub(super) default: *const c_char,
}

/// `DECLARE_MYSQL_SYSVAR_SIMPLE(name, unsigned long long)`.
#[repr(C)]
pub(super) struct NumberVariable {
    pub(super) header: VariableHeader,
    pub(super) value: *mut c_ulonglong,
    pub(super) default: c_ulonglong,
    pub(super) min: c_ulonglong,
    pub(super) max: c_ulonglong,
    pub(super) block_size: c_ulonglong,
}

/// `DECLARE_MYSQL_SYSVAR_TYPELIB(name, unsigned long)`.
#[repr(C)]
pub(super) struct EnumVariable {
    pub(super) header: VariableHeader,
    pub(super) value: *mut c_ulong,
    pub(super) default: c_ulong,
    pub(super) names: *const Typelib,
}

/// `struct st_typelib` of `typelib.h`.
#[repr(C)]
pub(super) struct Typelib {
    /// `size_t` in MySQL, `unsigned int` and four bytes of padding in MariaDB: the same bytes on a
    /// little-endian machine.
    pub(super) count: usize,
    pub(super) title: *const c_char,
    pub(super) names: *const *const c_char,
    pub(super) lengths: *const c_uint,
    /// MariaDB 11 and later; others do not read it.
    pub(super) hidden: *const c_uint,
}

#[cfg(not(target_endian = "little"))]
compile_error!("the layout of `Typelib` holds on little-endian machines only");

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    /// The numbers are what a C compiler gives for the headers' structures on x86-64 and aarch64.
    #[test]
    fn the_declarations_have_the_layout_of_the_headers() {
        assert_eq!(size_of::<MariaPlugin>(), 104);
        assert_eq!(offset_of!(MariaPlugin, license), 40);
        assert_eq!(offset_of!(MariaPlugin, init), 48);
        assert_eq!(offset_of!(MariaPlugin, version), 64);
        assert_eq!(offset_of!(MariaPlugin, system_variables), 80);
        assert_eq!(offset_of!(MariaPlugin, maturity), 96);
        assert_eq!(size_of::<MysqlPlugin>(), 112);
        assert_eq!(offset_of!(MysqlPlugin, deinit), 64);
        assert_eq!(offset_of!(MysqlPlugin, version), 72);
        assert_eq!(offset_of!(MysqlPlugin, system_variables), 88);
        assert_eq!(offset_of!(MysqlPlugin, flags), 104);
    }

    #[test]
    fn status_variables_have_the_layout_of_the_headers() {
        assert_eq!(size_of::<MariaStatus>(), 24);
        assert_eq!(offset_of!(MariaStatus, kind), 16);
        assert_eq!(size_of::<MysqlStatus>(), 24);
        assert_eq!(offset_of!(MysqlStatus, scope), 20);
    }

    #[test]
    fn system_variables_have_the_layout_of_the_headers() {
        assert_eq!(size_of::<VariableHeader>(), 40);
        assert_eq!(offset_of!(VariableHeader, check), 24);
        assert_eq!(offset_of!(BoolVariable, value), 40);
        assert_eq!(offset_of!(BoolVariable, default), 48);
        assert_eq!(offset_of!(StringVariable, default), 48);
        assert_eq!(offset_of!(NumberVariable, block_size), 72);
        assert_eq!(offset_of!(EnumVariable, names), 56);
        assert_eq!(offset_of!(Typelib, names), 16);
        assert_eq!(size_of::<Value>(), 40);
    }
}
