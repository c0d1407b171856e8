//! What cargo builds for the tests besides the tests.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::process::run;
use super::server_kind::build_folder;

/// The package of the library and of the examples. Cargo builds what is asked for by name without the
/// features that the rest of the workspace needs of the same dependencies.
pub(super) const LIBRARY: &str = "gearman-mysql-udf";

/// How the variables begin that cargo sets for a test and not for a user.
const OF_THIS_PACKAGE: [&[u8]; 2] = [b"CARGO_MANIFEST_", b"CARGO_PKG_"];

/// Builds the example of this name, optimised for a benchmark and not for a test, and answers where
/// its program is.
pub(crate) fn example(name: &str) -> PathBuf {
    if cfg!(debug_assertions) {
        build(&["--package", LIBRARY, "--example", name], name)
    } else {
        build(
            &["--package", LIBRARY, "--release", "--example", name],
            name,
        )
    }
}

/// Builds the command `gman`, optimised for a benchmark and not for a test, and answers where its
/// program is.
pub(crate) fn gman_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let options = ["--package", "gman", "--bin", "gman"];
        if cfg!(debug_assertions) {
            return build(&options, "gman");
        }
        // Where the library is as gman needs it. Beside the one for the server, which has other features of
        // the same dependencies, each would be built anew after the other: minutes, when all is optimised.
        let folder = build_folder().join("gman");
        let folder = folder.to_str().expect("a path in UTF-8");
        build(
            &[&options[..], &["--release", "--target-dir", folder]].concat(),
            "gman",
        )
    })
}

/// Runs `cargo build` with `options` and answers where it put the file of this name.
pub(super) fn build(options: &[&str], file_name: &str) -> PathBuf {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["build", "--quiet", "--message-format=json"])
        .args(options)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    // What cargo told this process of its package is not the user's word: a dependency that looks at
    // it would be built again, now this way and then the other.
    for (name, _) in env::vars_os() {
        let name_bytes = name.as_encoded_bytes();
        if OF_THIS_PACKAGE
            .iter()
            .any(|prefix| name_bytes.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    let messages = run(&mut command);
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| {
            let files = message.get("filenames")?.as_array()?.clone();
            files
                .iter()
                .filter_map(|file| file.as_str())
                .map(PathBuf::from)
                .find(|file| file.file_name().is_some_and(|name| name == file_name))
        })
        .next_back()
        .unwrap_or_else(|| panic!("cargo built no {file_name}: {messages}"))
}
