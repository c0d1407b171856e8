//! The plugin interface's structures, as `plugin.h` of both servers has them.
//!
//! MariaDB took over MySQL 5.1's interface and gave the declaration two fields of its own; MySQL 8.0
//! put `check_uninstall` into its declaration and a scope into status variables.

use std::ffi::{c_char, c_int, c_longlong, c_uint, c_ulong, c_ulonglong, c_void};
use std::ptr;

/// `MYSQL_STORAGE_ENGINE_PLUGIN`.
pub(crate) const STORAGE_ENGINE_PLUGIN: c_int = 1;

/// `MYSQL_DAEMON_PLUGIN`.
pub(crate) const DAEMON_PLUGIN: c_int = 3;

/// `MYSQL_AUDIT_PLUGIN`.
pub(crate) const AUDIT_PLUGIN: c_int = 5;

/// `PLUGIN_LICENSE_BSD`, the nearest to MIT that the interface knows.
pub(crate) const LICENSE_BSD: c_int = 2;

/// `MariaDB_PLUGIN_MATURITY_STABLE`; servers refuse what is below their own maturity.
pub(crate) const MATURITY_STABLE: c_uint = 5;

/// `struct st_mysql_daemon`, and `struct st_mysql_storage_engine`, which has the same one number.
#[repr(C)]
pub(crate) struct Daemon {
    /// `MYSQL_DAEMON_INTERFACE_VERSION`, `MYSQL_HANDLERTON_INTERFACE_VERSION`: the server's version number shifted left by 8.
    pub(crate) interface_version: c_int,
}

impl Daemon {
    pub(crate) const fn of_server(version: c_int) -> Self {
        Self {
            interface_version: version << 8,
        }
    }
}

/// `MYSQL_AUDIT_INTERFACE_VERSION` of MySQL 8.0 and later.
pub(crate) const AUDIT_INTERFACE: c_int = 0x0401;

/// `MYSQL_AUDIT_PARSE_CLASS`.
pub(crate) const PARSE_CLASS: c_int = 2;

/// `MYSQL_AUDIT_PARSE_PREPARSE`, alone of its class a point where a statement can be rewritten.
pub(crate) const BEFORE_PARSING: c_int = 1;

/// `MYSQL_AUDIT_PARSE_REWRITE_PLUGIN_QUERY_REWRITTEN`.
pub(crate) const QUERY_REWRITTEN: c_int = 1;

/// Room for the masks of more classes than any server has; it reads those that it knows.
const AUDIT_CLASSES: usize = 32;

/// Called for an event: session, class, event; 0 lets the statement go on.
pub(crate) type Notify = unsafe extern "C" fn(*mut c_void, c_int, *const c_void) -> c_int;

/// `struct st_mysql_audit`.
#[repr(C)]
pub(crate) struct Audit {
    interface_version: c_int,
    release_session: Option<unsafe extern "C" fn(*mut c_void)>,
    notify: Notify,
    /// The events of each class that the plugin is told of.
    class_mask: [c_ulong; AUDIT_CLASSES],
}

impl Audit {
    /// Of a plugin that is told of statements before they are parsed.
    pub(crate) const fn before_parsing(notify: Notify) -> Self {
        let mut class_mask = [0; AUDIT_CLASSES];
        class_mask[PARSE_CLASS as usize] = BEFORE_PARSING as c_ulong;
        Self {
            interface_version: AUDIT_INTERFACE,
            release_session: None,
            notify,
            class_mask,
        }
    }
}

/// `MYSQL_LEX_CSTRING`.
#[repr(C)]
pub(crate) struct LexString {
    pub(crate) text: *const c_char,
    pub(crate) length: usize,
}

/// `struct mysql_event_parse`.
#[repr(C)]
pub(crate) struct ParseEvent {
    pub(crate) subclass: c_int,
    /// [`QUERY_REWRITTEN`], and whether the statement is being prepared.
    pub(crate) flags: *mut c_int,
    pub(crate) query: LexString,
    pub(crate) rewritten: *mut LexString,
}

/// Called with the plugin's handle when it is installed and removed; 0 is success.
pub(crate) type Callback = unsafe extern "C" fn(*mut c_void) -> c_int;

/// `struct st_maria_plugin` of MariaDB.
#[repr(C)]
pub(crate) struct MariaPlugin {
    pub(crate) kind: c_int,
    /// What the kind of plugin says of itself: [`Daemon`] or [`Audit`].
    pub(crate) info: *const c_void,
    pub(crate) name: *const c_char,
    pub(crate) author: *const c_char,
    pub(crate) description: *const c_char,
    pub(crate) license: c_int,
    pub(crate) init: Option<Callback>,
    pub(crate) deinit: Option<Callback>,
    /// Major and minor number, one byte each.
    pub(crate) version: c_uint,
    pub(crate) status_variables: *const MariaStatus,
    pub(crate) system_variables: *const *const c_void,
    pub(crate) version_text: *const c_char,
    pub(crate) maturity: c_uint,
}

impl MariaPlugin {
    /// What a list of declarations ends with.
    pub(crate) const END: Self = Self {
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
pub(crate) struct MysqlPlugin {
    pub(crate) kind: c_int,
    /// What the kind of plugin says of itself: [`Daemon`] or [`Audit`].
    pub(crate) info: *const c_void,
    pub(crate) name: *const c_char,
    pub(crate) author: *const c_char,
    pub(crate) description: *const c_char,
    pub(crate) license: c_int,
    pub(crate) init: Option<Callback>,
    pub(crate) check_uninstall: Option<Callback>,
    pub(crate) deinit: Option<Callback>,
    /// Major and minor number, one byte each.
    pub(crate) version: c_uint,
    pub(crate) status_variables: *const MysqlStatus,
    pub(crate) system_variables: *const *const c_void,
    pub(crate) reserved: *const c_void,
    pub(crate) flags: c_ulong,
}

impl MysqlPlugin {
    /// What a list of declarations ends with.
    pub(crate) const END: Self = Self {
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
pub(crate) const SHOW_UNDEF: c_int = 0;

/// `SHOW_LONGLONG`, called `SHOW_ULONGLONG` by MariaDB: an unsigned 64 bit number.
pub(crate) const SHOW_LONGLONG: c_int = 4;

/// `SHOW_CHAR`: a string that begins at the value's address.
pub(crate) const SHOW_CHAR: c_int = 5;

/// `SHOW_FUNC`: a [`ShowFunction`].
pub(crate) const SHOW_FUNCTION: c_int = 8;

/// `mysql_show_var_func`: makes the variable one of another kind. Session, the variable, and a buffer for
/// its value; MariaDB passes more, which is of no interest.
pub(crate) type ShowFunction =
    unsafe extern "C" fn(*mut c_void, *mut MariaStatus, *mut c_char) -> c_int;

/// `SHOW_SCOPE_GLOBAL` of MySQL.
pub(crate) const SHOW_SCOPE_GLOBAL: c_int = 1;

/// `struct st_mysql_show_var` of MariaDB.
#[repr(C)]
pub(crate) struct MariaStatus {
    pub(crate) name: *const c_char,
    pub(crate) value: *const c_void,
    pub(crate) kind: c_int,
}

/// `struct SHOW_VAR` of MySQL 5.7 and later.
#[repr(C)]
pub(crate) struct MysqlStatus {
    pub(crate) name: *const c_char,
    pub(crate) value: *const c_void,
    pub(crate) kind: c_int,
    pub(crate) scope: c_int,
}

/// `PLUGIN_VAR_BOOL`: the value is one byte.
pub(crate) const VARIABLE_BOOL: c_int = 0x0001;
/// `PLUGIN_VAR_LONGLONG | PLUGIN_VAR_UNSIGNED`.
pub(crate) const VARIABLE_ULONGLONG: c_int = 0x0004 | 0x0080;
/// `PLUGIN_VAR_STR`.
pub(crate) const VARIABLE_STRING: c_int = 0x0005;
/// `PLUGIN_VAR_ENUM`: the value is an `unsigned long`, the index of the name.
pub(crate) const VARIABLE_ENUM: c_int = 0x0006;
/// `PLUGIN_VAR_READONLY`: read from the command line and the configuration files only.
pub(crate) const VARIABLE_READ_ONLY: c_int = 0x0200;
/// `PLUGIN_VAR_OPCMDARG`: `--gman-x` alone means ON.
pub(crate) const VARIABLE_OPTIONAL_ARGUMENT: c_int = 0x2000;

/// `MYSQL_VALUE_TYPE_STRING`.
pub(crate) const VALUE_STRING: c_int = 0;

/// `struct st_mysql_value`: the value of a SET statement.
#[repr(C)]
pub(crate) struct Value {
    pub(crate) value_type: unsafe extern "C" fn(*mut Value) -> c_int,
    /// Buffer, and its length in, the string's length out; NULL for NULL.
    pub(crate) val_str: unsafe extern "C" fn(*mut Value, *mut c_char, *mut c_int) -> *const c_char,
    pub(crate) val_real: unsafe extern "C" fn(*mut Value, *mut f64) -> c_int,
    pub(crate) val_int: unsafe extern "C" fn(*mut Value, *mut c_longlong) -> c_int,
    pub(crate) is_unsigned: unsafe extern "C" fn(*mut Value) -> c_int,
}

/// Decides whether a value may be set, and leaves it in `save`: session, variable, save, value.
pub(crate) type Check =
    unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void, *mut Value) -> c_int;

/// Sets the value: session, variable, where the value lives, what `Check` saved.
pub(crate) type Update = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void, *const c_void);

/// `MYSQL_PLUGIN_VAR_HEADER`: what every system variable begins with.
#[repr(C)]
pub(crate) struct VariableHeader {
    pub(crate) flags: c_int,
    /// Without the plugin's name, which the server puts in front of it.
    pub(crate) name: *const c_char,
    pub(crate) comment: *const c_char,
    pub(crate) check: Option<Check>,
    pub(crate) update: Option<Update>,
}

/// `DECLARE_MYSQL_SYSVAR_BASIC(name, char)`.
#[repr(C)]
pub(crate) struct BoolVariable {
    pub(crate) header: VariableHeader,
    pub(crate) value: *mut bool,
    pub(crate) default: bool,
}

/// `DECLARE_MYSQL_SYSVAR_BASIC(name, char *)`.
#[repr(C)]
pub(crate) struct StringVariable {
    pub(crate) header: VariableHeader,
    pub(crate) value: *mut *mut c_char,
    pub(crate) default: *const c_char,
}

/// `DECLARE_MYSQL_SYSVAR_SIMPLE(name, unsigned long long)`.
#[repr(C)]
pub(crate) struct NumberVariable {
    pub(crate) header: VariableHeader,
    pub(crate) value: *mut c_ulonglong,
    pub(crate) default: c_ulonglong,
    pub(crate) min: c_ulonglong,
    pub(crate) max: c_ulonglong,
    pub(crate) block_size: c_ulonglong,
}

/// `DECLARE_MYSQL_SYSVAR_TYPELIB(name, unsigned long)`.
#[repr(C)]
pub(crate) struct EnumVariable {
    pub(crate) header: VariableHeader,
    pub(crate) value: *mut c_ulong,
    pub(crate) default: c_ulong,
    pub(crate) names: *const Typelib,
}

/// `struct st_typelib` of `typelib.h`.
#[repr(C)]
pub(crate) struct Typelib {
    /// `size_t` in MySQL, `unsigned int` and four bytes of padding in MariaDB: the same bytes on a
    /// little-endian machine.
    pub(crate) count: usize,
    pub(crate) title: *const c_char,
    pub(crate) names: *const *const c_char,
    pub(crate) lengths: *const c_uint,
    /// MariaDB 11 and later; others do not read it.
    pub(crate) hidden: *const c_uint,
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
    fn audit_events_have_the_layout_of_the_headers() {
        assert_eq!(offset_of!(Audit, notify), 16);
        assert_eq!(offset_of!(Audit, class_mask), 24);
        assert_eq!(offset_of!(ParseEvent, flags), 8);
        assert_eq!(offset_of!(ParseEvent, query), 16);
        assert_eq!(offset_of!(ParseEvent, rewritten), 32);
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
