//! Triggers that do not fit their tables any more are found, and the commands that are printed mend them.

use std::process::Command;

use serde_json::Value;

use super::Path;
use crate::support::{Ran, gman_program, run_gman, unsupported};

fn check(path: &Path, scope: &[&str]) -> Ran {
    run_gman(
        &path.gman.database,
        &[&["triggers", "--check"], scope].concat(),
    )
}

/// The cases that `--json` names, with their tables.
fn cases(path: &Path, scope: &[&str]) -> Vec<(String, String)> {
    let ran = check(path, &[&["--json"], scope].concat());
    let found: Vec<Value> = serde_json::from_str(&ran.printed).expect("JSON");
    assert_eq!(ran.status, Some(i32::from(!found.is_empty())), "{ran:?}");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    found
        .iter()
        .map(|finding| (text(&finding["case"]), text(&finding["table"])))
        .collect()
}

/// Runs the commands that a check prints, loads aside, in a shell, as a user would.
fn mend(path: &Path, scope: &[&str]) {
    let ran = check(path, scope);
    let socket = path.gman.database.socket();
    let server = format!("mysql://root@localhost?socket={}", socket.display());
    let folder = gman_program()
        .parent()
        .expect("a folder")
        .display()
        .to_string();
    for line in ran.printed.lines() {
        let Some(command) = line.strip_prefix("    ") else {
            continue;
        };
        if command.starts_with("gman load") {
            continue;
        }
        let output = Command::new("sh")
            .args(["-c", command])
            .env("GMAN_MYSQL", &server)
            .env(
                "PATH",
                format!("{folder}:{}", std::env::var("PATH").expect("a PATH")),
            )
            .env_remove("HOME")
            .output()
            .expect("sh");
        assert!(output.status.success(), "{command}: {output:?}");
    }
}

/// After `change` there is the case for `test.t`, and after its commands there is none.
#[track_caller]
fn is_found_and_mended(path: &mut Path, change: &str, case: &str) {
    assert_eq!(cases(path, &["test"]), []);
    path.gman.execute(change);
    let expected = (case.to_owned(), "`test`.`t`".to_owned());
    assert_eq!(cases(path, &["test"]), [expected], "{change}");
    mend(path, &["test"]);
    assert_eq!(cases(path, &["test"]), [], "{change}");
}

#[test]
fn lanes_and_lookup_keys_stay_when_triggers_are_mended() {
    let mut path = Path::start();
    path.gman
        .execute("CREATE TABLE t (id INT PRIMARY KEY, a INT) ENGINE=InnoDB");
    path.create_triggers("test.t", &["--lanes=4", "--lookup=a"]);
    is_found_and_mended(&mut path, "ALTER TABLE t ADD COLUMN c INT", "column_added");
    let bodies: Vec<String> = path.gman.query(
        "SELECT ACTION_STATEMENT FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = 'test'",
    );
    assert_eq!(bodies.len(), 3);
    for body in bodies {
        assert!(
            body.contains(" % 4)") && body.contains("'test.t:a:'"),
            "{body}"
        );
    }
}

#[test]
fn columns_that_came_went_or_changed_are_found() {
    let mut path = Path::start();
    path.gman.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(9) CHARACTER SET utf8, b INT, secret INT) ENGINE=InnoDB",
    );
    path.create_triggers("test.t", &["--except", "secret", "--prefix", "it's:"]);
    for (change, case) in [
        ("ALTER TABLE t ADD COLUMN c INT", "column_added"),
        ("ALTER TABLE t DROP COLUMN b", "column_gone"),
        ("ALTER TABLE t CHANGE c `new name` INT", "column_gone"),
        (
            "ALTER TABLE t MODIFY a VARCHAR(9) CHARACTER SET latin1",
            "column_changed",
        ),
        ("ALTER TABLE t MODIFY a VARBINARY(9)", "column_changed"),
        (
            "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (id, a)",
            "column_changed",
        ),
        ("DROP TRIGGER t_delete_to_redis", "incomplete"),
    ] {
        is_found_and_mended(&mut path, change, case);
    }
    let job = path.job("INSERT INTO t VALUES (1, 'x', 7, 8)");
    assert_eq!(job["key"], "it's:1:78");
    assert!(job["row"].get("secret").is_none(), "{job}");
    assert_eq!(job["row"]["new name"], 8);
}

#[test]
fn a_column_that_was_left_out_is_no_finding_and_a_choice_stays_one() {
    let mut path = Path::start();
    path.gman
        .execute("CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT) ENGINE=InnoDB");
    path.create_triggers("test.t", &["--columns", "a"]);
    assert_eq!(cases(&path, &[]), []);
    path.gman.execute("ALTER TABLE t ADD COLUMN c INT");
    assert_eq!(cases(&path, &[]), []);
    let (_, said) = path.create_triggers("test.t", &["--columns", "a,c"]);
    assert!(
        said.contains("`c` with the next change of each row; gman load test.t"),
        "{said}"
    );
    path.create_triggers("test.t", &["--columns", "a"]);
    let job = path.job("INSERT INTO t VALUES (1, 2, 3, 4)");
    assert_eq!(job["row"], serde_json::json!({ "id": 1, "a": 2 }));
}

#[test]
fn a_renamed_table_and_a_swapped_one_are_found() {
    let mut path = Path::start();
    path.gman
        .execute("CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB");
    path.create_triggers("test.t", &[]);
    path.gman.execute("RENAME TABLE t TO u");
    let renamed = |table: &str| ("table_renamed".to_owned(), table.to_owned());
    assert_eq!(cases(&path, &[]), [renamed("`test`.`u`")]);
    mend(&path, &[]);
    assert_eq!(cases(&path, &[]), []);
    assert_eq!(path.job("INSERT INTO u VALUES (1)")["key"], "test.u:1");

    // As gh-ost and pt-online-schema-change do it.
    path.gman.execute("CREATE TABLE _u_new LIKE u");
    path.gman.execute("RENAME TABLE u TO _u_old, _u_new TO u");
    assert_eq!(cases(&path, &[]), [renamed("`test`.`_u_old`")]);
    let ran = check(&path, &[]);
    assert!(
        ran.printed.contains("`test`.`u` has no triggers"),
        "{ran:?}"
    );
    mend(&path, &[]);
    assert_eq!(cases(&path, &[]), []);
    assert_eq!(path.job("INSERT INTO u VALUES (2)")["key"], "test.u:2");
}

#[test]
fn a_table_that_is_named_must_have_triggers() {
    let mut path = Path::start();
    path.gman
        .execute("CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB");
    assert_eq!(cases(&path, &["test"]), []);
    let missing = ("missing".to_owned(), "`test`.`t`".to_owned());
    assert_eq!(cases(&path, &["test.t"]), [missing]);
    mend(&path, &["test.t"]);
    assert_eq!(cases(&path, &["test.t"]), []);
}

#[test]
fn triggers_of_every_style_fit() {
    let mut path = Path::start();
    if !path.create("CREATE TABLE parent (id INT PRIMARY KEY) ENGINE=InnoDB") {
        unsupported!("no InnoDB");
    }
    path.gman.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, parent INT, ts TIMESTAMP(3) NULL, bi BLOB, geo POINT, it TEXT CHARACTER SET gbk,
           FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE) ENGINE=InnoDB",
    );
    for style in [
        &["--cascade"][..],
        &["--session-time-zone", "--prefix", "", "--function", "f"],
    ] {
        path.create_triggers("test.t", style);
        assert_eq!(cases(&path, &[]), [], "{style:?}");
    }
}
