//! pt-online-schema-change under sixteen writers: the order of `docs/operations.md` leaves Redis right.

use std::process::Command;

use mysql::prelude::Queryable;

use super::Path;
use crate::support::{ROWS, Ran, gman_succeeds, ran, run_gman, unsupported, while_written};

/// Adds a column `c` by a copy of the table that takes its place.
fn add_column(path: &Path, options: &[&str]) -> Ran {
    let socket = path.gman.database.socket();
    let output = Command::new("pt-online-schema-change")
        .args([
            "--execute",
            "--alter",
            "ADD COLUMN c INT NOT NULL DEFAULT 5",
        ])
        .args([
            "--no-version-check",
            "--recursion-method=none",
            "--charset=utf8mb4",
        ])
        .args(["--chunk-size=500", "--user=root", "--socket"])
        .arg(socket)
        .args(options)
        .arg("D=test,t=t")
        .env_remove("HOME")
        .output();
    ran(output.expect("pt-online-schema-change starts"))
}

/// After a swap: the triggers, the new column, and what was written in between.
fn mend(path: &Path) {
    let database = &path.gman.database;
    gman_succeeds(database, &["triggers", "--create", "test.t"]);
    gman_succeeds(database, &["load", "test.t"]);
    let redis = format!("--redis={}", path.redis.address());
    let verify = ["verify", "test.t", &redis, "--repair", "--yes"];
    gman_succeeds(database, &verify);
}

#[track_caller]
fn has_the_column(path: &Path) {
    path.is_right();
    let id: u32 = path.gman.database.value("SELECT MIN(id) FROM t");
    let row = path.redis.hash(&format!("test.t:{id}"));
    assert_eq!(row.get("c").map(String::as_str), Some("5"));
    let ran = run_gman(&path.gman.database, &["triggers", "--check"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
}

#[test]
fn triggers_that_are_dropped_for_the_swap_are_made_up_for() {
    let mut path = Path::start();
    path.create_table(ROWS, &[]);
    let refused = add_column(&path, &[]);
    assert_ne!(refused.status, Some(0), "{refused:?}");
    assert!(refused.said.contains("has triggers"), "{refused:?}");
    let changes = while_written(&path.gman.database, false, || {
        gman_succeeds(&path.gman.database, &["triggers", "--drop", "test.t"]);
        let changed = add_column(&path, &[]);
        assert_eq!(changed.status, Some(0), "{changed:?}");
        mend(&path);
    });
    assert!(changes > 500, "{changes} changes");
    has_the_column(&path);
}

/// The tool makes our triggers on the copy, so that they fire for every row that it copies, and for what it
/// repeats there.
#[test]
fn triggers_that_the_tool_preserves_go_on_sending() {
    let mut path = Path::start();
    path.create_table(ROWS, &[]);
    let another = "CREATE TRIGGER another AFTER UPDATE ON t FOR EACH ROW SET @seen = 1";
    if path.gman.session.query_drop(another).is_err() {
        unsupported!("one trigger for an event: the tool needs its own beside ours");
    }
    path.gman.execute("DROP TRIGGER another");
    let changes = while_written(&path.gman.database, false, || {
        let changed = add_column(&path, &["--preserve-triggers"]);
        assert_eq!(changed.status, Some(0), "{changed:?}");
    });
    assert!(changes > 500, "{changes} changes");
    let ran = run_gman(&path.gman.database, &["triggers", "--check"]);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    mend(&path);
    has_the_column(&path);
}
