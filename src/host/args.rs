//! A function's arguments as safe values.
//!
//! The `udf` crate's own view takes argument names for UTF-8 and panics where the server cut one
//! inside a character; names are bytes here. Everything else is read through the crate.

use std::slice;

use udf::udf_sys::UDF_ARGS;
use udf::{ArgList, SqlResult, UdfState};

use crate::error::Error;

/// The name of argument `index`: its alias or its text in the statement, as the server passes it,
/// which is cut after 255 or 256 bytes, also inside a character. `None` where there is none.
pub(crate) fn name<'a, S: UdfState>(args: &'a ArgList<'_, S>, index: usize) -> Option<&'a [u8]> {
    let raw: *const UDF_ARGS = (&raw const *args).cast();
    if index >= args.len() {
        return None;
    }
    // SAFETY:
    // - `ArgList` is a transparent wrapper around the server's `UDF_ARGS`;
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
