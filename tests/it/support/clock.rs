//! A clock that can be set, for the processes that are started with it.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::folder;

/// Where Debian's libfaketime has the library for programs with threads, below the folder of the architecture.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// The time of day of some processes. How long they wait and measure is not changed by it, as it is not when an
/// operator sets the clock of a machine.
#[derive(Debug)]
pub(crate) struct Clock {
    library: PathBuf,
    folder: TempDir,
}

impl Clock {
    /// One that shows the right time; or why there is none.
    pub(crate) fn new() -> Result<Self, String> {
        let folders = fs::read_dir("/usr/lib").map_err(|error| format!("/usr/lib: {error}"))?;
        let library = folders
            .flatten()
            .map(|folder| folder.path().join(LIBRARY))
            .find(|library| library.exists())
            .ok_or_else(|| format!("there is no /usr/lib/*/{LIBRARY}; scripts/deps installs it"))?;
        let clock = Self {
            library,
            folder: folder::temporary(),
        };
        clock.set(0);
        Ok(clock)
    }

    /// Sets it to so many seconds from the right time.
    pub(crate) fn set(&self, seconds: i64) {
        let unfinished = self.folder.path().join("new");
        fs::write(&unfinished, format!("{seconds:+}s\n"))
            .and_then(|()| fs::rename(&unfinished, self.file()))
            .expect("a file in a temporary folder");
    }

    /// What makes a process go by it: libfaketime(1).
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }
}
