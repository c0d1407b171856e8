//! The shared library under test, built by cargo once for each test run.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::process::run;
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

    /// With the SQL functions of `functions/switches.rs`, and with debug assertions.
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
        let path = env::var_os(variable).map_or_else(|| build(build_options), PathBuf::from);
        assert!(
            path.is_file(),
            "{variable}: no library at {}",
            path.display()
        );
        Self { path }
    }
}

/// Builds the library and answers where cargo says that it put it.
fn build(options: &[&str]) -> PathBuf {
    let messages = run(Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--lib", "--message-format=json"])
        .args(options)
        .current_dir(env!("CARGO_MANIFEST_DIR")));
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| {
            let files = message.get("filenames")?.as_array()?.clone();
            files
                .iter()
                .filter_map(|file| file.as_str())
                .map(PathBuf::from)
                .find(|file| file.file_name().is_some_and(|name| name == FILE_NAME))
        })
        .next_back()
        .unwrap_or_else(|| panic!("cargo built no {FILE_NAME}: {messages}"))
}
