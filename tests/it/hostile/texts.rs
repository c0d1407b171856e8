//! Options, variables and option files whose texts are SQL, or are for a terminal. `triggers::values` is about the
//! names of tables and columns.

use std::fs;
use std::process::Command;
use std::time::Duration;

use mysql::prelude::Queryable;

use super::{assert_plain, ends_within};
use crate::support::{Gearmand, Gman, Redis, gman_command, gman_program, gman_succeeds};

/// Ends of strings, names, comments and conditions, and what comes then.
const TEXTS: [&str; 8] = [
    "x'; CREATE DATABASE pwned; -- ",
    "x\\'; CREATE DATABASE pwned; -- ",
    "x\"; CREATE DATABASE pwned; -- ",
    "x`; CREATE DATABASE pwned; -- ",
    "x*/; CREATE DATABASE pwned; /*",
    "x'$$\nCREATE DATABASE pwned$$\n",
    "\u{1b}[2J\u{1b}]0;owned\u{7}\r\ngman: all is well",
    "\u{9b}31m\u{202e}\u{2028}x",
];

/// How long a subcommand may take.
const SOON: Duration = Duration::from_secs(30);

struct Stage {
    gman: Gman,
    gearmand: Gearmand,
    redis: Redis,
    /// For what is written where it is run.
    folder: tempfile::TempDir,
}

impl Stage {
    fn start() -> Self {
        let mut stage = Self {
            gman: Gman::start(),
            gearmand: Gearmand::start(),
            redis: Redis::start(),
            folder: tempfile::tempdir().expect("a folder"),
        };
        stage.gman.set_servers(&stage.gearmand.address());
        stage
            .gman
            .execute("CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20))");
        stage.gman.execute("INSERT INTO t VALUES (1, 'sm')");
        gman_succeeds(&stage.gman.database, &["triggers", "test.t", "--create"]);
        stage
    }

    /// Runs a subcommand; whether it fails is its own affair.
    fn run(&self, arguments: &[&str]) {
        let mut command = gman_command(&self.gman.database, arguments);
        command
            .current_dir(self.folder.path())
            .env("GMAN_REDIS", self.redis.address())
            .env("GMAN_GEARMAND", self.gearmand.address());
        let ran = ends_within(SOON, &mut command);
        // What is printed for a client is SQL, byte for byte.
        let is_sql = arguments[0] == "triggers" && ran.status == Some(0);
        if !is_sql {
            assert_plain(&ran.printed);
        }
    }
}

/// The options that take a text, of every subcommand that asks a database.
fn options() -> Vec<Vec<&'static str>> {
    vec![
        vec!["triggers", "test.t", "--create", "--prefix"],
        vec!["triggers", "test.t", "--create", "--function"],
        vec!["triggers", "test.t", "--create", "--columns"],
        vec!["triggers", "test.t", "--create", "--except"],
        vec!["triggers", "test.t", "--create", "--lookup"],
        vec!["triggers", "--check"],
        // If the row is in the sample, no worker makes the difference go.
        vec!["verify", "test.t", "--sample=1", "--patience=1", "--prefix"],
        vec![
            "verify",
            "test.t",
            "--sample=1",
            "--patience=1",
            "--row-function",
        ],
        vec!["load", "test.t", "--resume"],
        vec!["install", "--library"],
        vec!["install", "--library=/bin/true", "--gearmand"],
        vec!["relay"],
    ]
}

#[test]
fn no_option_becomes_sql_or_a_command_of_the_terminal() {
    let stage = Stage::start();
    for text in TEXTS {
        for option in options() {
            let mut arguments = option.clone();
            arguments.push(text);
            stage.run(&arguments);
        }
        // Whatever the triggers are now, the rows can be written, loaded and compared.
        let mut session = stage.gman.database.connect();
        for sql in [
            "UPDATE t SET name = 'a'",
            "DELETE FROM t",
            "INSERT INTO t VALUES (1, 'sm')",
        ] {
            session
                .query_drop(sql)
                .unwrap_or_else(|error| panic!("{text:?}: {sql}: {error}"));
        }
        stage.run(&["load", "test.t", "--dry-run"]);
        stage.run(&["triggers", "--check"]);
        if text.contains(char::is_control) {
            stage.run(&["load", "test.t"]);
            stage.run(&["verify", "test.t", "--patience=1"]);
            stage.run(&["status"]);
        }
    }
    let pwned: Vec<String> = stage.gman.database.query("SHOW DATABASES LIKE 'pwned'");
    assert_eq!(pwned, Vec::<String>::new());
}

#[test]
fn no_variable_and_no_option_file_becomes_a_command_of_the_terminal() {
    let folder = tempfile::tempdir().expect("a folder");
    for text in TEXTS {
        let file = folder.path().join("my.cnf");
        let escaped = text
            .replace('\\', "\\\\")
            .replace('\n', "\\n")
            .replace('\r', "\\r");
        fs::write(
            &file,
            format!("[client]\nhost=127.0.0.1\nport=1\nuser={escaped}\nssl-ca={escaped}\n"),
        )
        .expect("room for a file");
        let broken = folder.path().join("broken.cnf");
        fs::write(&broken, format!("[client]\nport={escaped}\n")).expect("room for a file");
        let files = [&file, &broken].map(|file| format!("--defaults-file={}", file.display()));
        for option in &files {
            complains(Command::new(gman_program()).args(["status", option]), text);
        }
        for variable in [
            "GMAN_MYSQL",
            "MYSQL_HOST",
            "MYSQL_TCP_PORT",
            "MYSQL_UNIX_PORT",
            "GMAN_REDIS",
            "GMAN_GEARMAND",
            "GMAN_WORKER",
        ] {
            let mut command = Command::new(gman_program());
            command
                .args(["status", "--defaults-file=/dev/null"])
                .env("GMAN_MYSQL", "mysql://root@127.0.0.1:1")
                .env(variable, text);
            complains(&mut command, text);
        }
    }
}

#[track_caller]
fn complains(command: &mut Command, text: &str) {
    let ran = ends_within(SOON, command);
    assert!(matches!(ran.status, Some(1 | 2)), "{text:?}: {ran:?}");
    assert!(
        !ran.said.lines().any(|line| line == "gman: all is well"),
        "{}",
        ran.said
    );
}
