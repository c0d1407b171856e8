//! Where servers keep their files.

use std::path::Path;

use tempfile::{TempDir, env};

/// A folder that goes when its value is dropped. Its path is short: a socket's has 107 bytes.
pub(super) fn temporary() -> TempDir {
    temporary_in(&env::temp_dir())
}

/// As [`temporary`], in the machine's memory where it has a file system there: for files that are
/// written to the disk after every few bytes.
pub(super) fn in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        temporary_in(memory)
    } else {
        temporary()
    }
}

fn temporary_in(parent: &Path) -> TempDir {
    tempfile::Builder::new()
        .prefix("gman-")
        .tempdir_in(parent)
        .unwrap_or_else(|error| panic!("cannot make a temporary folder: {error}"))
}
