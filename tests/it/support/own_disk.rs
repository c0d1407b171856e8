//! A disk that only one server sees, and that can be full: a file system in memory, in a mount namespace of its own.

use std::path::Path;
use std::process::Command;

use mysql::Conn;
use mysql::prelude::Queryable;

use super::process::run;

/// Room on a disk that an outbox soon fills.
pub(crate) const LITTLE_ROOM: u64 = 4 << 20;

/// Room enough for everything.
pub(crate) const PLENTY_OF_ROOM: u64 = 1 << 30;

/// Mounts it, puts a data directory on it and becomes the server. Blocks that a sparse copy left out would need
/// room later.
const START: &str = r#"
    data=$1 seed=$2
    shift 2
    mkdir "$data"
    mount -t tmpfs gman "$data"
    cp -a --sparse=never "$seed/." "$data"
    exec "$@"
"#;

/// Why there can be no such disk here; `None` if there can.
pub(crate) fn problem() -> Option<String> {
    let output = Command::new("unshare")
        .args(["--mount", "mount", "-t", "tmpfs", "gman", "/mnt"])
        .output();
    match output {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    }
}

/// Writes rows to the outbox until the disk is full; returns how many there are.
pub(crate) fn fill_outbox(session: &mut Conn) -> u32 {
    let mut written = 0;
    loop {
        // What is too large for its page needs more room to be rolled back: for want of it MariaDB aborts.
        let workload = format!("{written} {}", "x".repeat(1_000));
        let insert =
            format!("INSERT INTO gman_outbox (`function`, workload) VALUES ('f', '{workload}')");
        match session.query_drop(insert) {
            Ok(()) => written += 1,
            Err(error) => {
                println!("{written} rows fit: {error}");
                return written;
            }
        }
    }
}

/// `server` with the folder `data` on such a disk, which begins as a copy of `seed`.
pub(super) fn starting(server: &Command, data: &Path, seed: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-ec", START, "sh"])
        .args([data, seed])
        .arg(server.get_program())
        .args(server.get_args());
    for (name, value) in server.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command
}

/// Makes the disk at `data` of process `pid` so large that `bytes` are free.
pub(super) fn leave_room(pid: u32, data: &Path, bytes: u64) {
    let within = || {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={pid}")).arg("--mount");
        command
    };
    let used = run(within()
        .args(["df", "--block-size=1", "--output=used"])
        .arg(data));
    let used: u64 = used
        .lines()
        .last()
        .and_then(|line| line.trim().parse().ok())
        .unwrap_or_else(|| panic!("df: {used}"));
    let size = format!("remount,size={}", used + bytes);
    run(within().args(["mount", "-o", &size]).arg(data));
}
