//! Frees the names of native functions, so that functions of a library can bear them.
//!
//! MariaDB finds a native function by its name in a hash that it reads without a lock, so a name is
//! freed only while the server starts and nobody else runs. MySQL keeps its table to itself; there
//! `gman_legacy` renames the calls.

use std::ffi::{CStr, c_void};
use std::mem;

use crate::host::diagnostics;
use crate::host::symbols::symbol;
use crate::plugin::legacy;
use crate::settings;

/// The names that the C plugin used and that are native functions now.
const NAMES: [&CStr; 2] = [c"JSON_OBJECT", c"JSON_ARRAY"];

/// The tables that hold them; the second one is for `sql_mode=ORACLE`, since MariaDB 10.6.
const TABLES: [&CStr; 2] = [c"native_functions_hash", c"native_functions_hash_oracle"];

/// `my_hash_search` of MariaDB's `mysys/hash.c`: table, key, length of the key; the record or NULL.
type Search = unsafe extern "C" fn(*const c_void, *const u8, usize) -> *mut u8;

/// `my_hash_delete`: table, record; true when it was not there.
type Delete = unsafe extern "C" fn(*mut c_void, *mut u8) -> bool;

/// Frees the names where `gman_legacy_json_names` is on, or writes to the error log why not.
pub(crate) fn free_names_if_asked() {
    if !settings::LEGACY_JSON_NAMES.get() {
        return;
    }
    if legacy::is_possible() {
        diagnostics::log(
            "Note",
            "gman_legacy_json_names is ON: while the plugin gman_legacy is installed, it renames the calls of json_object and json_array that the native functions cannot mean",
        );
        return;
    }
    match free_names() {
        Ok(()) => diagnostics::log(
            "Note",
            "JSON_OBJECT and JSON_ARRAY are free for loadable functions; the native ones are gone until the next start without gman_legacy_json_names",
        ),
        Err(reason) => diagnostics::log(
            "ERROR",
            &format!(
                "gman_legacy_json_names has no effect: {reason}; use json_object_udf and json_array_udf"
            ),
        ),
    }
}

fn free_names() -> Result<(), &'static str> {
    const UNKNOWN: &str = "this server keeps its native functions to itself, and its interface for rewriting statements is not known";
    let search = symbol(c"my_hash_search").ok_or(UNKNOWN)?;
    let delete = symbol(c"my_hash_delete").ok_or(UNKNOWN)?;
    let started = symbol(c"mysqld_server_started").ok_or(UNKNOWN)?;
    symbol(TABLES[0]).ok_or(UNKNOWN)?;
    // SAFETY: MariaDB's `my_bool mysqld_server_started`, one byte (an `int` in older versions,
    // whose low byte comes first), written before the first connection is served.
    if unsafe { *started.cast::<u8>() } != 0 {
        return Err(
            "the names can be freed only while the server starts; put plugin-load-add=libgearman_mysql_udf.so into the configuration and restart",
        );
    }
    for table in TABLES.iter().filter_map(|table| symbol(table)) {
        for name in NAMES {
            // SAFETY:
            // - the symbols have these signatures in every MariaDB that exports the table;
            // - no other thread reads the table, as the server is still starting.
            unsafe {
                let search = mem::transmute::<*mut c_void, Search>(search);
                let delete = mem::transmute::<*mut c_void, Delete>(delete);
                let key = name.to_bytes();
                let record = search(table, key.as_ptr(), key.len());
                if !record.is_null() {
                    delete(table, record);
                }
            }
        }
    }
    Ok(())
}
