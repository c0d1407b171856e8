//! `gman migrate`: calls of `json_object` and `json_array` of the C plugin `lib_mysqludf_json` get the
//! names that a server with native functions of these names lets us have.
//!
//! - [`rewrite`]: renames calls in a text;
//! - [`definitions`]: what a server has that may call them;
//! - [`findings`]: the same for who parses;
//! - [`script`]: the statements that replace it;
//! - [`apply`]: replaces it.

mod apply;
mod definitions;
mod findings;
mod rewrite;
mod script;

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use gearman_mysql_udf::old_sql::tokens::Dialect;
use mysql::Conn;

use self::definitions::{Definition, Kind};
use self::findings::{Finding, Findings};
use self::rewrite::RENAMED;
use self::script::{Change, Side};
use crate::connections::MysqlOptions;
use crate::error::{Error, Result};
use crate::terminal;

/// Find and rewrite calls of the C plugin's json_object and json_array
///
/// Servers with native functions of these names (MySQL 5.7.8, MariaDB 10.2.3 and later) refuse such
/// calls or give them another meaning. json_object_udf and json_array_udf are the same functions under
/// names that every server accepts.
///
/// Asks a server which triggers, routines, views and events call the functions, and prints statements
/// that replace them, for the mysql or mariadb client with --comments. Without --apply nothing
/// changes. Only names that the server has as loadable functions are considered. The account must be able to
/// read everything: SELECT on all schemas and on mysql.*, TRIGGER, SHOW VIEW, EVENT.
///
/// Only calls are renamed. Strings, comments, tables, columns, variables, other functions and names
/// with a schema stay as they are. Strings that may hold a call are reported. The report goes to
/// stderr. If a definition cannot be read, the others are still done, and the exit status is 1.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rewrite a dump instead, from stdin to stdout; make one with --no-data if it is large
    #[arg(long, conflicts_with_all = ["apply", "yes", "keep"])]
    dump: bool,

    /// Print what was found as JSON, with the statements in it
    #[arg(long, conflicts_with_all = ["dump", "apply"])]
    json: bool,

    /// Replace the definitions, after showing the difference and asking
    #[arg(long)]
    apply: bool,

    /// Do not ask
    #[arg(long, requires = "apply")]
    yes: bool,

    /// The file to which --apply first writes the old definitions [default: gman-migrate-SECONDS.sql]
    #[arg(long, value_name = "FILE", requires = "apply")]
    keep: Option<PathBuf>,

    #[command(flatten)]
    mysql: MysqlOptions,
}

/// # Errors
///
/// If the server cannot be asked, something could not be read, or a definition cannot be replaced.
pub(crate) fn run(options: &Options) -> Result {
    if options.dump {
        return rewrite_dump();
    }
    let mut conn = options.mysql.connect()?;
    let loadable = definitions::loadable(&mut conn)?;
    let is_loadable = |name: &str| loadable.iter().any(|loadable| loadable == name);
    let names: Vec<(&'static str, &'static str)> = RENAMED
        .into_iter()
        .filter(|(old, _)| is_loadable(old))
        .collect();
    if names.is_empty() {
        terminal::say(
            "neither json_object nor json_array is a loadable function here: nothing calls one",
        );
        return match options.json {
            true => Findings::default().print(&[]),
            false => Ok(()),
        };
    }
    let missing = names.iter().map(|(_, new)| *new);
    let mut findings = Findings {
        missing_functions: missing
            .filter(|new| !is_loadable(new))
            .map(str::to_owned)
            .collect(),
        ..Findings::default()
    };
    let found = definitions::find(&mut conn)?;
    findings.unreadable = found.unreadable;
    findings.columns = definitions::columns(&mut conn)?;
    let mut changes = Vec::new();
    for definition in found.definitions {
        let (finding, change) = examine(&mut conn, definition, &names)?;
        findings.definitions.extend(finding);
        changes.extend(change);
    }
    let unread = findings.unreadable.len();
    if options.json {
        findings.print(&changes)?;
    } else {
        report(&findings, changes.len());
        if options.apply {
            if let Some(name) = findings.missing_functions.first() {
                return Err(Error::failed(format!(
                    "nothing was changed: {name} is missing; run gman install or sql/install.sql first"
                )));
            }
            replace(&mut conn, &changes, options)?;
        } else {
            terminal::print_bytes(&script::script(&changes, Side::New))?;
        }
    }
    match unread {
        0 => Ok(()),
        unread => Err(Error::failed(format!(
            "{} could not be read; see above",
            counted(unread, "definition")
        ))),
    }
}

/// Says what was found, for people.
fn report(findings: &Findings, changes: usize) {
    for name in &findings.missing_functions {
        terminal::say(&format!(
            "the server has no {name} yet: run gman install or sql/install.sql before the printed statements"
        ));
    }
    for unreadable in &findings.unreadable {
        terminal::say(unreadable);
    }
    for column in &findings.columns {
        terminal::say(&format!(
            "column {column}: look at its definition; ALTER TABLE changes it"
        ));
    }
    for finding in &findings.definitions {
        let label = finding.label();
        for line in &finding.suspect_lines {
            terminal::say(&format!(
                "{label}: look at its line {line}: a string may hold a call; it is as it was"
            ));
        }
        if finding.calls > 0 {
            terminal::say(&format!("{label}: {}", counted(finding.calls, "call")));
        }
    }
    terminal::say(&format!("{} to be replaced", counted(changes, "thing")));
}

/// What there is to say of a definition, and what becomes of it if it calls one of the functions.
fn examine(
    conn: &mut Conn,
    definition: Definition,
    names: &rewrite::Names,
) -> Result<(Option<Finding>, Option<Change>)> {
    let done = definition.rewritten(names);
    let is_worth_saying = done.calls > 0 || !done.suspects.is_empty();
    let finding = is_worth_saying.then(|| Finding {
        kind: definition.kind,
        schema: definition.schema.clone(),
        name: definition.name.clone(),
        calls: done.calls,
        suspect_lines: done.suspects,
    });
    if done.calls == 0 {
        return Ok((finding, None));
    }
    let (mut place, mut grants) = (None, Vec::new());
    match definition.kind {
        Kind::Trigger => place = Some(definitions::place(conn, &definition)?),
        Kind::Procedure | Kind::Function => grants = definitions::grants(conn, &definition)?,
        Kind::View | Kind::Event => {}
    }
    let change = Change {
        text: done.text,
        definition,
        place,
        grants,
    };
    Ok((finding, Some(change)))
}

fn replace(conn: &mut Conn, changes: &[Change], options: &Options) -> Result {
    if changes.is_empty() {
        return Ok(());
    }
    terminal::print_bytes(apply::difference(changes).as_bytes())?;
    let question = format!("Replace {}?", counted(changes.len(), "thing"));
    if !options.yes && !apply::confirm(&question)? {
        return Err(Error::failed("nothing was changed"));
    }
    let file = options.keep.clone().unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        PathBuf::from(format!(
            "gman-migrate-{}.sql",
            now.map_or(0, |now| now.as_secs())
        ))
    });
    apply::keep(changes, &file)?;
    terminal::say(&format!("the old definitions are in {}", file.display()));
    let left = apply::apply(conn, changes)?;
    if left.is_empty() {
        return Ok(());
    }
    Err(Error::failed(format!(
        "{} cannot be sent by gman, as the text is in another character set than UTF-8: print the \
         statements without --apply, and run them with the client",
        left.join(", ")
    )))
}

fn rewrite_dump() -> Result {
    let mut dump = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut dump)
        .map_err(|error| Error::failed(format!("cannot read the dump from stdin: {error}")))?;
    let done = rewrite::rewrite(&dump, &RENAMED, Dialect::ANY);
    terminal::print_bytes(&done.text)?;
    terminal::say(&format!("{} renamed", counted(done.calls, "call")));
    for line in done.suspects {
        terminal::say(&format!(
            "line {line}: look at this string, which may hold a call; it is as it was"
        ));
    }
    Ok(())
}

fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
