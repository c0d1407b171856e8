//! The option files of a MySQL or MariaDB client.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::terminal;

/// Where clients look unless they are told where; the first ones give way to those behind them.
const GLOBAL_FILES: [&str; 2] = ["/etc/my.cnf", "/etc/mysql/my.cnf"];

/// The groups that the client programs of both families read.
const GROUPS: [&str; 6] = [
    "client",
    "client-server",
    "client-mariadb",
    "mysql",
    "mariadb-client",
    "gman",
];

/// How deep `!include` may nest; a file that includes itself must end somewhere.
pub(super) const MAX_DEPTH: usize = 10;

/// Everybody may write: clients ignore such a file, as anybody could name another server in it.
const WORLD_WRITABLE: u32 = 0o002;

/// An option and its value, the name with `_` for `-`. Later ones win.
pub(super) type Setting = (String, Option<String>);

/// What the option files say to clients: `defaults_file` alone, or else the usual ones and
/// `extra_file`.
///
/// # Errors
///
/// If a file that was named cannot be read, or a line means nothing.
pub(super) fn read(
    defaults_file: Option<&Path>,
    extra_file: Option<&Path>,
) -> Result<Vec<Setting>> {
    let mut settings = Vec::new();
    if let Some(file) = defaults_file {
        read_named(file, &mut settings)?;
        return Ok(settings);
    }
    for file in GLOBAL_FILES {
        read_if_there(Path::new(file), &mut settings)?;
    }
    if let Some(file) = extra_file {
        read_named(file, &mut settings)?;
    }
    if let Some(home) = env::var_os("HOME") {
        read_if_there(&Path::new(&home).join(".my.cnf"), &mut settings)?;
    }
    Ok(settings)
}

fn read_named(file: &Path, settings: &mut Vec<Setting>) -> Result {
    let text = fs::read(file).map_err(|error| cannot_read(file, &error))?;
    parse(file, &String::from_utf8_lossy(&text), 0, settings)
}

fn read_if_there(file: &Path, settings: &mut Vec<Setting>) -> Result {
    read_included(file, 0, settings)
}

/// Passes over a file that is not there, that this account may not read, or that anybody may write.
fn read_included(file: &Path, depth: usize, settings: &mut Vec<Setting>) -> Result {
    let Ok(metadata) = fs::metadata(file) else {
        return Ok(());
    };
    if !metadata.is_file() {
        return Ok(());
    }
    if metadata.mode() & WORLD_WRITABLE != 0 {
        let file = file.display();
        terminal::say(&format!("{file} is ignored: any user can write to it"));
        return Ok(());
    }
    match fs::read(file) {
        Ok(text) => parse(file, &String::from_utf8_lossy(&text), depth, settings),
        Err(_) => Ok(()),
    }
}

fn cannot_read(file: &Path, error: &io::Error) -> Error {
    let file = file.display();
    Error::usage(format!(
        "cannot read the option file {file}: {error}; name one that this account may read"
    ))
}

pub(super) fn parse(file: &Path, text: &str, depth: usize, settings: &mut Vec<Setting>) -> Result {
    let mut group: Option<&str> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        let wrong = |expected: &str| {
            let file = file.display();
            Error::usage(format!("{file}, line {number}: expected {expected}"))
        };
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        } else if let Some(directive) = line.strip_prefix('!') {
            include(directive, depth, settings)
                .ok_or_else(|| wrong("!include FILE or !includedir FOLDER"))??;
        } else if let Some(name) = line.strip_prefix('[') {
            let (name, _) = name.split_once(']').ok_or_else(|| wrong("[group]"))?;
            group = Some(name.trim());
        } else {
            let group = group.ok_or_else(|| wrong("a [group] before the first option"))?;
            if GROUPS.contains(&group) {
                settings.push(setting(line));
            }
        }
    }
    Ok(())
}

/// `None` for an unknown directive.
fn include(directive: &str, depth: usize, settings: &mut Vec<Setting>) -> Option<Result> {
    let (name, path) = directive.split_once(char::is_whitespace)?;
    let path = Path::new(path.trim());
    let files = match name {
        "include" => vec![path.to_owned()],
        "includedir" => option_files_in(path),
        _ => return None,
    };
    if depth == MAX_DEPTH {
        return Some(Ok(()));
    }
    let mut files = files.iter();
    Some(files.try_for_each(|file| read_included(file, depth + 1, settings)))
}

fn option_files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "cnf"))
        .collect();
    files.sort();
    files
}

/// Reads `name`, `name=value`, `name = "value" # comment`.
fn setting(line: &str) -> Setting {
    let line = without_comment(line);
    let (name, value) = match line.split_once('=') {
        Some((name, value)) => (name, Some(unescape(unquote(value.trim())))),
        None => (line, None),
    };
    let name = name.trim().replace('-', "_");
    let name = name.strip_prefix("loose_").unwrap_or(&name);
    (name.to_owned(), value)
}

/// A `#` outside quotes begins a comment.
fn without_comment(line: &str) -> &str {
    let (mut quote, mut escaped) = (None, false);
    for (at, letter) in line.char_indices() {
        match (quote, letter) {
            (None, '#') => return &line[..at],
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if open == letter && !escaped => quote = None,
            _ => {}
        }
        escaped = quote.is_some() && letter == '\\' && !escaped;
    }
    line
}

fn unquote(value: &str) -> &str {
    ['\'', '"']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(value)
}

fn unescape(value: &str) -> String {
    let mut letters = value.chars();
    let mut unescaped = String::with_capacity(value.len());
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            unescaped.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => unescaped.push('\n'),
            Some('t') => unescaped.push('\t'),
            Some('r') => unescaped.push('\r'),
            Some('b') => unescaped.push('\u{8}'),
            Some('s') => unescaped.push(' '),
            Some(quoted @ ('\\' | '"' | '\'')) => unescaped.push(quoted),
            Some(other) => unescaped.extend(['\\', other]),
            None => unescaped.push('\\'),
        }
    }
    unescaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Vec<Setting> {
        let mut settings = Vec::new();
        parse(Path::new("my.cnf"), text, 0, &mut settings).expect("an option file");
        settings
    }

    fn value(line: &str) -> Option<String> {
        settings(&format!("[client]\n{line}")).remove(0).1
    }

    #[test]
    fn the_groups_of_clients_are_read_and_others_are_not() {
        let text = "[mysqld]\nport=1\n[client]\nport = 2\n[mysql]\nssl-ca=a\n[mysqldump]\nport=3";
        let expected = [("port", "2"), ("ssl_ca", "a")];
        let expected = expected.map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
        assert_eq!(settings(text), expected);
    }

    #[test]
    fn values_are_read_as_clients_read_them() {
        assert_eq!(value("password"), None);
        assert_eq!(value("password=").as_deref(), Some(""));
        assert_eq!(value("password = a b # c").as_deref(), Some("a b"));
        assert_eq!(value(r##"password="a#b" # c"##).as_deref(), Some("a#b"));
        assert_eq!(value(r"password='it\'s'").as_deref(), Some("it's"));
        assert_eq!(value(r"password=a\sb\\c\d").as_deref(), Some(r"a b\c\d"));
        assert_eq!(value(r#"password="a=b""#).as_deref(), Some("a=b"));
    }

    #[test]
    fn a_line_that_means_nothing_is_named() {
        for (text, expected) in [
            (
                "port=1",
                "my.cnf, line 1: expected a [group] before the first option",
            ),
            ("\n[client", "my.cnf, line 2: expected [group]"),
            (
                "!load x",
                "my.cnf, line 1: expected !include FILE or !includedir FOLDER",
            ),
        ] {
            let error = parse(Path::new("my.cnf"), text, 0, &mut Vec::new());
            assert_eq!(error.expect_err("a refusal").text(), expected);
        }
    }

    #[test]
    fn included_files_are_read_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, port) in [("b.cnf", 2), ("a.cnf", 1), ("c.txt", 3)] {
            let text = format!("[client]\nport={port}");
            fs::write(folder.path().join(name), text).expect("room for a file");
        }
        let found = settings(&format!("!includedir {}", folder.path().display()));
        let ports: Vec<_> = found
            .iter()
            .filter_map(|(_, port)| port.as_deref())
            .collect();
        assert_eq!(ports, ["1", "2"]);
    }

    #[test]
    fn a_file_that_includes_itself_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("my.cnf");
        let text = format!("[client]\nport=1\n!include {}", file.display());
        fs::write(&file, text).expect("room for a file");
        let found = read(Some(&file), None).expect("an option file");
        assert_eq!(found.len(), MAX_DEPTH + 1);
    }
}
