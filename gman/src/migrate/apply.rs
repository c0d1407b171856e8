//! The definitions are replaced, after the old ones have been put into a file.

use std::fs::OpenOptions;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use mysql::Conn;

use super::script::{Change, Side, Step, script, steps};
use crate::connections::{Ask, refused};
use crate::error::{Error, Result};
use crate::terminal;

/// The lines that change, of all definitions.
pub(super) fn difference(changes: &[Change]) -> String {
    let mut difference = String::new();
    for change in changes {
        difference += &format!("{}\n", terminal::printable(&change.definition.label()));
        let lines = |side| String::from_utf8_lossy(change.side(side)).into_owned();
        let (old, new) = (lines(Side::Old), lines(Side::New));
        // Names change, and no line ends.
        for (old, new) in old.lines().zip(new.lines()).filter(|(old, new)| old != new) {
            for (mark, line) in [('-', old), ('+', new)] {
                difference += &format!("{mark} {}\n", terminal::printable(line));
            }
        }
    }
    difference
}

/// Whether the user says yes.
///
/// # Errors
///
/// If there is nobody to ask.
pub(super) fn confirm(question: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Error::usage(
            "--apply: there is no terminal to ask on; look at the difference above, then give --yes",
        ));
    }
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Error::failed(format!("cannot read the answer: {error}; give --yes")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Puts the old definitions into a new file, as a script that brings them back.
///
/// # Errors
///
/// If there is such a file, or it cannot be written to the disk.
pub(super) fn keep(changes: &[Change], file: &Path) -> Result {
    let mut options = OpenOptions::new();
    // Definitions may hold secrets.
    options.write(true).create_new(true).mode(0o600);
    let kept = options.open(file).and_then(|mut file| {
        file.write_all(&script(changes, Side::Old))?;
        file.sync_all()
    });
    kept.map_err(|error| {
        Error::failed(format!(
            "cannot keep the old definitions in {}: {error}; name another file with --keep",
            file.display()
        ))
    })
}

/// Replaces the definitions; returns those that this program cannot send.
///
/// # Errors
///
/// If the server refuses one; what was replaced before stays so.
pub(super) fn apply(conn: &mut Conn, changes: &[Change]) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for (step, back) in steps(changes, Side::New)
        .iter()
        .zip(steps(changes, Side::Old))
    {
        match (texts(step), texts(&back)) {
            (Some(new), Some(old)) => run(conn, (step, &new), (&back, &old), changes)?,
            _ => left.extend(
                step.statements
                    .iter()
                    .filter_map(|statement| Some(changes[statement.creates?].definition.label())),
            ),
        }
    }
    Ok(left)
}

/// The statements as text; `None` if a definition is in another character set than UTF-8.
fn texts(step: &Step) -> Option<Vec<&str>> {
    step.statements
        .iter()
        .map(|statement| std::str::from_utf8(&statement.text).ok())
        .collect()
}

fn run(
    conn: &mut Conn,
    (step, new): (&Step, &[&str]),
    (back, old): (&Step, &[&str]),
    changes: &[Change],
) -> Result {
    for (at, sql) in new.iter().enumerate() {
        let Err(error) = conn.run(sql) else {
            continue;
        };
        let creates = step.statements[at].creates;
        let what = match creates {
            Some(number) => format!("replace {}", changes[number].definition.label()),
            None => "prepare a replacement".to_owned(),
        };
        let failed = refused(what, &error);
        // Those of the old ones that have gone come back; the others are there, and say so.
        let restored = old
            .iter()
            .zip(&back.statements)
            .filter(|(sql, _)| !sql.starts_with("DROP ") && !sql.starts_with("LOCK "))
            .filter(|(sql, statement)| conn.run(sql).is_err() && statement.creates == creates)
            .count();
        let _ = conn.run("UNLOCK TABLES");
        return Err(match restored {
            _ if creates.is_none() => failed,
            0 => Error::failed(format!("{}; the old definition is in force", failed.text())),
            _ => Error::failed(format!(
                "{}; it has been dropped: restore it from the file with the old definitions",
                failed.text()
            )),
        });
    }
    Ok(())
}
