//! What every subcommand of `gman` does with bad input: one line that says what to do, and an exit
//! status of 1 or 2.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;

use crate::support::{Database, Gman, Port, Redis, gman_program, gman_succeeds, product_file};

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

/// Every subcommand that comes to the database and ends by itself. Any file does for a library until then.
fn in_database(options: &[&str]) -> Vec<Ended> {
    let library = format!("--library={}", product_file("Cargo.toml").display());
    let subcommands: [&[&str]; 7] = [
        &["install", &library],
        &["uninstall", &library],
        &["migrate"],
        &["triggers", "test.t"],
        &["load", "test.t"],
        &["verify", "test.t"],
        &["status"],
    ];
    let run = |subcommand: &&[&str]| gman(&[*subcommand, options].concat());
    subcommands.iter().map(run).collect()
}

/// As [`in_database`], with `gman relay`, which waits for a server that is unreachable and for nothing else.
fn in_database_or_relay(options: &[&str]) -> Vec<Ended> {
    let mut ended = in_database(options);
    ended.push(gman(&[&["relay", "test"], options].concat()));
    ended
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
        for ended in in_database_or_relay(&["--defaults-file=/dev/null", &server(account)]) {
            ended.assert_one_line(1, &["refuses the account", "--ask-password"]);
            assert!(!ended.stderr.contains("mistake"), "{}", ended.stderr);
        }
    }
    for ended in in_database_or_relay(&[
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
        for ended in in_database_or_relay(&[option]) {
            ended.assert_one_line(2, &[reason]);
        }
    }
    for ended in in_database_or_relay(&["--defaults-file=/dev/null", "--mysql=secret"]) {
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
fn a_table_or_a_database_that_is_not_there_is_named() {
    let database = Database::start();
    let server = format!("--mysql={}", url(&database));
    let in_server = ["--defaults-file=/dev/null", server.as_str()];
    for subcommand in ["triggers", "load", "verify"] {
        let ended = gman(&[&[subcommand, "test.missing"], in_server.as_slice()].concat());
        ended.assert_one_line(1, &["no table `test`.`missing`", "GRANT SELECT, TRIGGER"]);
        let ended = gman(&[&[subcommand, "missing"], in_server.as_slice()].concat());
        ended.assert_one_line(2, &["expected DATABASE.TABLE"]);
    }
    for (name, reason) in [
        ("missing", "Unknown database 'missing'"),
        ("test", "outbox-plain.sql or outbox.sql makes"),
    ] {
        let ended = gman(&[&["relay", name], in_server.as_slice()].concat());
        ended.assert_one_line(1, &[reason]);
    }
}

#[test]
fn a_redis_that_is_unreachable_ends_a_comparison() {
    let installed = with_triggers();
    let (server, redis) = (url(&installed.database), Port::free().number().to_string());
    let ended = gman(&[
        "verify",
        "test.t",
        "--defaults-file=/dev/null",
        &format!("--mysql={server}"),
        &format!("--redis=redis://:secret@127.0.0.1:{redis}"),
    ]);
    ended.assert_one_line(1, &["cannot read Redis", &redis, "--redis"]);
    assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
}

#[test]
fn an_address_where_no_numbers_can_be_served_is_named() {
    let taken = Port::free();
    let listener = TcpListener::bind(("127.0.0.1", taken.number())).expect("a free port");
    let metrics = format!("--metrics=127.0.0.1:{}", taken.number());
    for subcommand in [&["worker"][..], &["relay", "test"]] {
        let ended = gman(&[subcommand, &[metrics.as_str()]].concat());
        ended.assert_one_line(1, &["--metrics: cannot listen on", "choose another port"]);
    }
    drop(listener);
}

#[test]
fn the_relay_names_the_option_that_it_cannot_use() {
    let missing = "--gearmand-ca=/nowhere/ca.pem";
    gman(&["relay", "test", missing]).assert_one_line(2, &["--gearmand-ca", "No such file"]);
    for options in ["--batch=0", "--gearmand=a b", "--poll-ms=x", "--nonsense"] {
        let ended = gman(&["relay", "test", options]);
        assert_eq!(ended.status, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains("--help"), "{}", ended.stderr);
    }
}

#[test]
fn nobody_is_well_where_no_worker_or_relay_is() {
    let address = format!("127.0.0.1:{}", Port::free().number());
    let ended = gman(&["health", &address]);
    ended.assert_one_line(1, &[&address, "does not answer", "--metrics"]);

    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("an address").to_string();
    let ended = gman(&["health", &address, "--timeout-ms=50"]);
    ended.assert_one_line(1, &[&address, "does not answer"]);

    let another = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = another.local_addr().expect("an address").to_string();
    let served = thread::spawn(move || -> io::Result<()> {
        let (mut client, _) = another.accept()?;
        let _ = client.read(&mut [0; 1024])?;
        client.write_all(b"HTTP/1.0 404 Not Found\r\n\r\n")
    });
    let ended = gman(&["health", &address]);
    ended.assert_one_line(1, &[&address, "is no worker or relay of gman"]);
    served.join().expect("no panic").expect("an answer");

    let ended = gman(&["health", "nowhere"]);
    assert_eq!(ended.status, Some(2), "{}", ended.stderr);
}

/// A table `test.t` with triggers and without rows.
fn with_triggers() -> Gman {
    let mut gman = Gman::start();
    gman.execute("CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB");
    gman_succeeds(&gman.database, &["triggers", "--create", "test.t"]);
    gman
}

fn url(database: &Database) -> String {
    format!(
        "mysql://root@localhost?socket={}",
        database.socket().display()
    )
}

/// Runs gman with a stdout that nobody reads any more.
fn unread(arguments: &[&str]) -> Ended {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    let output = Command::new(gman_program())
        .args(arguments)
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .expect("gman starts");
    Ended {
        status: output.status.code(),
        stdout: String::new(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn what_nobody_reads_any_more_is_an_error_and_no_panic() {
    let (database, with_triggers, redis) = (Database::start(), with_triggers(), Redis::start());
    let library = format!("--library={}", product_file("Cargo.toml").display());
    let mysql = |database| format!("--mysql={}", url(database));
    let (bare, with_rows) = (mysql(&database), mysql(&with_triggers.database));
    let redis = format!("--redis={}", redis.address());
    let defaults = "--defaults-file=/dev/null";
    for arguments in [
        &["completions", "bash"][..],
        &["install", defaults, &library, &bare],
        &["uninstall", defaults, &library, &bare],
        &["triggers", "test.t", defaults, &with_rows],
        &["load", "test.t", "--dry-run", defaults, &with_rows],
        &["verify", "test.t", defaults, &with_rows, &redis],
        &["status", defaults, &with_rows, &redis],
        &["status", "--json", defaults, &with_rows, &redis],
    ] {
        unread(arguments).assert_one_line(1, &["stdout was closed"]);
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
