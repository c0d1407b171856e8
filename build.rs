//! Keeps the library mapped once loaded, and stamps the version it reports.

use std::path::Path;
use std::process::Command;

fn main() {
    // DROP FUNCTION of the last function makes the server call dlclose. Threads and
    // thread-local destructors of the library must not find their code gone then.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // Tells which build a core dump is of; not every linker does it unasked.
    println!("cargo::rustc-cdylib-link-arg=-Wl,--build-id=sha1");
    println!("cargo::rustc-env=GMAN_VERSION={}", version());
}

/// `1.2.3`, with the commit behind it when built in a git checkout: `1.2.3+4f0a9c1d2e3b`.
fn version() -> String {
    let released = env!("CARGO_PKG_VERSION");
    match commit() {
        Some(commit) => format!("{released}+{commit}"),
        None => released.to_owned(),
    }
}

/// The commit of the checkout this crate stands in; nothing in an unpacked release or where
/// the checkout belongs to another project that contains this one.
fn commit() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    for file in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", file])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned())
}
