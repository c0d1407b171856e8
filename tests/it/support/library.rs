//! The shared library under test, built by cargo once for each test run.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::cargo;
use super::server_kind::build_folder;

/// The name of the library in a plugin directory, as CREATE FUNCTION has it.
pub(crate) const FILE_NAME: &str = "libgearman_mysql_udf.so";

/// A built library.
#[derive(Debug)]
pub(crate) struct Library {
    path: PathBuf,
}

impl Library {
    /// The library as it is shipped. `GMAN_TEST_LIBRARY` names another one to test.
    pub(crate) fn release() -> &'static Self {
        static LIBRARY: OnceLock<Library> = OnceLock::new();
        LIBRARY.get_or_init(|| Self::from_environment("GMAN_TEST_LIBRARY", &["--release"]))
    }

    /// With the SQL functions of `functions/test_switches.rs`, and with debug assertions.
    /// `GMAN_TEST_LIBRARY_SWITCHES` names another one to test.
    pub(crate) fn with_switches() -> &'static Self {
        static LIBRARY: OnceLock<Library> = OnceLock::new();
        LIBRARY.get_or_init(|| {
            // A folder of its own, or the two features would overwrite each other's library.
            let target = build_folder().join("test-switches").display().to_string();
            Self::from_environment(
                "GMAN_TEST_LIBRARY_SWITCHES",
                &["--features=test-switches", "--target-dir", &target],
            )
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn from_environment(variable: &str, build_options: &[&str]) -> Self {
        let path = env::var_os(variable).map_or_else(
            || {
                let options = [&["--package", cargo::LIBRARY, "--lib"], build_options].concat();
                cargo::build(&options, FILE_NAME)
            },
            PathBuf::from,
        );
        assert!(
            path.is_file(),
            "{variable}: no library at {}",
            path.display()
        );
        Self { path }
    }
}
