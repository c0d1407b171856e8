//! A function's arguments as safe values.
//!
//! The `udf` crate's own view takes argument names for UTF-8 and panics where the server cut one
//! inside a character; names are bytes here. Everything else is read through the crate.

use std::ffi::c_int;
use std::slice;

use once_cell::sync::OnceCell;
use udf::udf_sys::{Item_result, UDF_ARGS};
use udf::{ArgList, Init, SqlResult, SqlType, UdfState};

use crate::error::Error;
use crate::host::symbols::symbol;

/// The name of argument `index`: its alias or its text in the statement, as the server passes it,
/// which is cut after 255 or 256 bytes, also inside a character. `None` if there is none.
pub(crate) fn name<'a, S: UdfState>(args: &'a ArgList<'_, S>, index: usize) -> Option<&'a [u8]> {
    if index >= args.len() {
        return None;
    }
    let raw = raw(args);
    // SAFETY:
    // - `attributes` and `attribute_lengths` have `arg_count` entries, and `index` is below it;
    // - the server keeps the names alive for as long as it lends us the list.
    unsafe {
        let attributes = (*raw).attributes;
        let lengths = (*raw).attribute_lengths;
        if attributes.is_null() || lengths.is_null() {
            return None;
        }
        let text = *attributes.add(index);
        if text.is_null() {
            return None;
        }
        let length = usize::try_from(*lengths.add(index)).ok()?;
        Some(slice::from_raw_parts(text.cast(), length))
    }
}

/// Whether `name` has the length at which the server cuts names, so that it may not be whole.
///
/// MySQL cuts after 256 bytes, wherever that is. MariaDB cuts after the last whole character within
/// 255 bytes; a character of a name has up to three.
pub(crate) fn may_be_cut(name: &[u8]) -> bool {
    static LONGEST_WHOLE: OnceCell<usize> = OnceCell::new();
    // Only MariaDB exports its table of native functions.
    let is_mariadb = || symbol(c"native_functions_hash").is_some();
    name.len() > *LONGEST_WHOLE.get_or_init(|| if is_mariadb() { 252 } else { 255 })
}

/// Whether argument `index` is a `?` of a prepared statement, of which nothing is certain before the
/// first row: a server may know neither its type nor that it is not NULL.
pub(crate) fn is_placeholder<S: UdfState>(args: &ArgList<'_, S>, index: usize) -> bool {
    name(args, index) == Some(b"?")
}

/// The type that the server finds argument `index` to have.
pub(crate) fn kind(args: &ArgList<Init>, index: usize) -> Option<SqlType> {
    if index >= args.len() {
        return None;
    }
    // SAFETY: `arg_types` has `arg_count` entries, and `index` is below it. They are read as
    // integers, because the crate keeps marks in them while a coercion is pending.
    let number = unsafe { *(*raw(args)).arg_types.cast::<c_int>().add(index) };
    SqlType::try_from(Item_result::try_from(number).ok()?).ok()
}

/// How many characters the server would show argument `index` in at most, as far as it knows before
/// the first row.
pub(crate) fn width(args: &ArgList<Init>, index: usize) -> usize {
    if index >= args.len() {
        return 0;
    }
    // SAFETY: `lengths` has `arg_count` entries, and `index` is below it.
    let length = unsafe { *(*raw(args)).lengths.add(index) };
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// The value of argument `index` where it is a string that is known before the first row.
pub(crate) fn constant_string<'a>(args: &'a ArgList<'a, Init>, index: usize) -> Option<&'a [u8]> {
    if kind(args, index) != Some(SqlType::String) {
        return None;
    }
    match args.get(index)?.value() {
        SqlResult::String(value) => value,
        _ => None,
    }
}

/// Asks the server to pass argument `index` as the text that it would show.
pub(crate) fn ask_for_text(args: &ArgList<Init>, index: usize) {
    if let Some(mut arg) = args.get(index) {
        arg.set_type_coercion(SqlType::String);
    }
}

/// The value of argument `index` of a function that asked for strings; `None` for NULL.
pub(crate) fn string<'a, S: UdfState>(
    args: &'a ArgList<'a, S>,
    index: usize,
) -> Result<Option<&'a [u8]>, Error> {
    match args.get(index).map(|arg| arg.value()) {
        Some(SqlResult::String(value)) => Ok(value),
        other => Err(Error::Input(format!(
            "argument {} must be a string, not {other:?}",
            index + 1
        ))),
    }
}

/// The server's own structure, of which `ArgList` is a transparent wrapper with interior
/// mutability.
pub(super) fn raw<S: UdfState>(args: &ArgList<'_, S>) -> *mut UDF_ARGS {
    (&raw const *args).cast_mut().cast()
}
