//! A database server that means harm to whoever connects.

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::{assert_plain, ends_within, fails_within};
use crate::support::{FakeDatabase, Replies, gman_program};

/// How long a subcommand may take that ends with the first answer.
const SOON: Duration = Duration::from_secs(30);

/// Every subcommand that asks a database server.
fn subcommands() -> Vec<Vec<&'static str>> {
    vec![
        vec!["status"],
        vec!["status", "--json"],
        vec!["triggers", "shop.users"],
        vec!["triggers", "shop.users", "--create"],
        vec!["triggers", "shop.users", "--drop"],
        vec!["triggers", "--check"],
        vec!["load", "shop.users"],
        vec!["verify", "shop.users"],
        vec!["migrate"],
        vec!["install", "--library=/bin/true"],
        vec!["uninstall"],
    ]
}

fn gman(server: &FakeDatabase, arguments: &[&str]) -> Command {
    let mut command = Command::new(gman_program());
    command
        .args(arguments)
        .args(["--defaults-file=/dev/null", "--mysql", &server.url()]);
    command
}

#[test]
fn no_file_of_the_client_is_sent_to_a_server_that_asks_for_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    fs::write(&file, "the contents of a secret file").expect("room for a file");
    for arguments in subcommands() {
        let server = FakeDatabase::start(Replies::WantsFile(file.display().to_string()));
        ends_within(SOON, &mut gman(&server, &arguments));
        let received = String::from_utf8_lossy(&server.received()).into_owned();
        assert!(
            received.contains("SELECT") || received.contains("SET"),
            "{received}"
        );
        assert!(
            !received.contains("secret file"),
            "{arguments:?}: {received}"
        );
    }
}

#[test]
fn what_a_server_says_does_nothing_to_a_terminal() {
    let text = "\u{1b}]0;owned\u{7}\u{1b}[2J\r\ngman: all is well\u{9b}31m\u{202e}";
    for replies in [
        Replies::Error(text.to_owned()),
        Replies::Text(text.to_owned()),
    ] {
        for arguments in subcommands() {
            let server = FakeDatabase::start(replies.clone());
            let ran = ends_within(SOON, &mut gman(&server, &arguments));
            for text in [&ran.printed, &ran.said] {
                assert_plain(text);
                assert!(!text.contains('\u{202e}'), "{arguments:?}: {text:?}");
                assert!(
                    !text.lines().any(|line| line == "gman: all is well"),
                    "{arguments:?}: {text}"
                );
            }
        }
    }
}

#[test]
fn rows_without_end_end_the_subcommand() {
    for arguments in [&["status"][..], &["install", "--library=/bin/true"]] {
        let server = FakeDatabase::start(Replies::Endless);
        let ran = fails_within(SOON, &mut gman(&server, arguments));
        assert!(ran.said.contains("rows without end"), "{ran:?}");
    }
}
