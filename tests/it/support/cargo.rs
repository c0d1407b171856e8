//! What cargo builds for the tests besides the tests.

use std::path::PathBuf;
use std::process::Command;

use super::process::run;

/// Builds the example of this name and answers where its program is.
pub(crate) fn example(name: &str) -> PathBuf {
    build(&["--example", name], name)
}

/// Runs `cargo build` with `options` and answers where it put the file of this name.
pub(super) fn build(options: &[&str], file_name: &str) -> PathBuf {
    let messages = run(Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--message-format=json"])
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
                .find(|file| file.file_name().is_some_and(|name| name == file_name))
        })
        .next_back()
        .unwrap_or_else(|| panic!("cargo built no {file_name}: {messages}"))
}
