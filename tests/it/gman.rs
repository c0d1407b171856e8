//! What every subcommand of `gman` does with bad input: one line that says what to do, and an exit
//! status of 1 or 2.

use std::fs;
use std::io;
use std::process::{Command, Stdio};

use crate::support::{Database, gman_program, product_file};

/// How a command ended, and what it said.
struct Ended {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    /// Failed with this exit status, and one line on stderr that holds all of `parts`.
    #[track_caller]
    fn assert_one_line(&self, status: i32, parts: &[&str]) {
        let Self { stdout, stderr, .. } = self;
        assert_eq!(self.status, Some(status), "{stderr}{stdout}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.starts_with("gman: "), "{stderr}");
        assert!(
            !stderr.contains('\u{1b}'),
            "no terminal, no colours: {stderr}"
        );
        for part in parts {
            assert!(stderr.contains(part), "expected {part} in {stderr}");
        }
    }
}

/// Runs gman as somebody without option files, and without a terminal.
fn gman(arguments: &[&str]) -> Ended {
    ended(
        Command::new("setsid")
            .arg("--wait")
            .arg(gman_program())
            .args(arguments),
    )
}

fn ended(command: &mut Command) -> Ended {
    let output = command
        .env("HOME", "/nowhere")
        .stdin(Stdio::null())
        .output()
        .expect("gman starts");
    Ended {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `gman install` and `gman uninstall`, which come to the database in the same way. Any file does for
/// a library until then.
fn in_database(options: &[&str]) -> [Ended; 2] {
    let library = format!("--library={}", product_file("Cargo.toml").display());
    ["install", "uninstall"].map(|subcommand| gman(&[&[subcommand, &library], options].concat()))
}

#[test]
fn a_database_that_is_unreachable_is_named() {
    for (server, place) in [
        ("/nowhere/mysqld.sock", "/nowhere/mysqld.sock"),
        ("mysql://root:secret@127.0.0.1:1", "127.0.0.1:1"),
        ("mysql://root:secret@db.invalid", "db.invalid:3306"),
    ] {
        for ended in in_database(&["--defaults-file=/dev/null", "--mysql", server]) {
            ended.assert_one_line(
                1,
                &["cannot reach the database server at", place, "--mysql"],
            );
            assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_password_that_is_wrong_is_not_shown() {
    let database = Database::start();
    let server = |account: &str| {
        let socket = database.socket().display().to_string();
        format!("--mysql=mysql://{account}@localhost?socket={socket}")
    };
    for account in ["root:mistake", "nobody%0A"] {
        for ended in in_database(&["--defaults-file=/dev/null", &server(account)]) {
            ended.assert_one_line(1, &["refuses the account", "--ask-password"]);
            assert!(!ended.stderr.contains("mistake"), "{}", ended.stderr);
        }
    }
    for ended in in_database(&[
        "--defaults-file=/dev/null",
        &server("root"),
        "--ask-password",
    ]) {
        ended.assert_one_line(1, &["cannot ask for the password", "option file"]);
    }
}

#[test]
fn an_account_and_a_socket_come_from_an_option_file_as_for_a_client() {
    let database = Database::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("my.cnf");
    let socket = database.socket().display().to_string();
    let text = format!("[mysqld]\nuser=mysql\n[client]\nsocket=\"{socket}\" # here\nuser = root\n");
    fs::write(&file, text).expect("room for a file");
    let file = format!("--defaults-file={}", file.display());
    let library = format!("--library={}", product_file("Cargo.toml").display());
    let ended = gman(&["uninstall", &library, &file]);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(
        ended.stdout.contains("plugin directory"),
        "{}",
        ended.stdout
    );
}

#[test]
fn an_option_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bad = folder.path().join("bad.cnf");
    fs::write(&bad, "port=1\n").expect("room for a file");
    let bad = bad.display().to_string();
    for (option, reason) in [
        (
            "--defaults-file=/nowhere/my.cnf",
            "/nowhere/my.cnf: No such file",
        ),
        (
            "--defaults-extra-file=/nowhere/my.cnf",
            "/nowhere/my.cnf: No such file",
        ),
        (
            &*format!("--defaults-file={bad}"),
            "line 1: expected a [group]",
        ),
    ] {
        for ended in in_database(&[option]) {
            ended.assert_one_line(2, &[reason]);
        }
    }
    for ended in in_database(&["--defaults-file=/dev/null", "--mysql=secret"]) {
        ended.assert_one_line(2, &["--mysql: expected mysql://"]);
        assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    }
}

#[test]
fn the_worker_names_the_option_that_it_cannot_use() {
    for (options, reason) in [
        (vec!["--redis=http://secret@x"], "--redis: "),
        (
            vec!["--redis=rediss://x", "--redis-ca=/nowhere/ca.pem"],
            "/nowhere/ca.pem: No such file",
        ),
        (
            vec!["--redis-ca=/nowhere/ca.pem"],
            "--redis: expected rediss://",
        ),
        (
            vec!["--function=", "--row-function="],
            "expected one of them",
        ),
    ] {
        let ended = gman(&[vec!["worker"], options].concat());
        ended.assert_one_line(2, &[reason]);
        assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    }
    for options in ["--threads=0", "--gearmand=a b", "--mode=x", "--nonsense"] {
        let ended = gman(&["worker", options]);
        assert_eq!(ended.status, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains("--help"), "{}", ended.stderr);
    }
}

#[test]
fn what_nobody_reads_any_more_is_an_error_and_no_panic() {
    let database = Database::start();
    let socket = database.socket().display().to_string();
    let library = format!("--library={}", product_file("Cargo.toml").display());
    let mysql = format!("--mysql=mysql://root@localhost?socket={socket}");
    let in_database = ["--defaults-file=/dev/null", &library, &mysql];
    for arguments in [
        vec!["completions", "bash"],
        [&["install"], in_database.as_slice()].concat(),
        [&["uninstall"], in_database.as_slice()].concat(),
    ] {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let output = Command::new(gman_program())
            .args(arguments)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .expect("gman starts");
        let ended = Ended {
            status: output.status.code(),
            stdout: String::new(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        ended.assert_one_line(1, &["stdout was closed"]);
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    gman(&["man", "/dev/null/x"]).assert_one_line(1, &["/dev/null/x: Not a directory"]);
    let ended = gman(&["install", "--library=/nowhere/lib.so"]);
    ended.assert_one_line(2, &["--library: there is no file /nowhere/lib.so"]);
}

#[test]
fn every_subcommand_has_help_a_page_and_completions() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ended = gman(&["man", &folder.path().display().to_string()]);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    let help = gman(&["--help"]).stdout;
    let script = gman(&["completions", "bash"]).stdout;
    for subcommand in ["install", "uninstall", "worker", "completions"] {
        assert!(help.contains(&format!("\n  {subcommand} ")), "{help}");
        assert!(
            gman(&[subcommand, "--help"])
                .stdout
                .contains("Usage: gman ")
        );
        assert!(folder.path().join(format!("gman-{subcommand}.1")).is_file());
        assert!(
            script.contains(&format!("gman__subcmd__{subcommand}"))
                || script.contains(&format!("gman__{subcommand}"))
        );
    }
}
