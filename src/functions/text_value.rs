//! The value of a system variable that is a text.

use crate::error::Error;
use crate::settings::MAX_TEXT_BYTES;

/// `value` as text, if a variable can hold it.
pub(super) fn checked(value: &[u8]) -> Result<&str, Error> {
    if value.len() > MAX_TEXT_BYTES {
        return Err(Error::Input(format!(
            "it is {} bytes long, expected at most {MAX_TEXT_BYTES}",
            value.len()
        )));
    }
    str::from_utf8(value).map_err(|_| Error::Input("it is not UTF-8".to_owned()))
}
