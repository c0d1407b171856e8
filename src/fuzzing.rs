//! What fuzzers reach that is nobody else's business; compiled for them alone.

use crate::error::Error;
use crate::functions::allowed;

/// Whether `gman_allowed_functions` can have this value.
///
/// # Errors
///
/// What was expected.
pub fn check_allowed_functions(list: &[u8]) -> Result<(), Error> {
    allowed::check_list(list)
}
