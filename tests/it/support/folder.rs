//! Where servers keep their files.

use tempfile::TempDir;

/// A folder that goes when its value is dropped. Its path is short: a socket's has 107 bytes.
pub(super) fn temporary() -> TempDir {
    tempfile::Builder::new()
        .prefix("gman-")
        .tempdir()
        .unwrap_or_else(|error| panic!("cannot make a temporary folder: {error}"))
}
