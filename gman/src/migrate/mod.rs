//! `gman migrate`: calls of `json_object` and `json_array` of the C plugin `lib_mysqludf_json` get the
//! names that a server with native functions of these names lets us have.
//!
//! - [`rewrite`]: renames calls in a text;
//! - [`definitions`]: what a server has that may call them;
//! - [`script`]: the statements that replace it;
//! - [`apply`]: replaces it.

mod apply;
mod definitions;
mod rewrite;
mod script;

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use gearman_mysql_udf::old_sql::tokens::Dialect;
use mysql::Conn;

use self::definitions::{Definition, Kind};
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
        return Ok(());
    }
    let missing: Vec<&str> = names
        .iter()
        .map(|(_, new)| *new)
        .filter(|new| !is_loadable(new))
        .collect();
    for name in &missing {
        terminal::say(&format!(
            "the server has no {name} yet: run gman install or sql/install.sql before the printed statements"
        ));
    }
    let found = definitions::find(&mut conn)?;
    for unreadable in &found.unreadable {
        terminal::say(unreadable);
    }
    for column in definitions::columns(&mut conn)? {
        terminal::say(&format!(
            "column {column}: look at its definition; ALTER TABLE changes it"
        ));
    }
    let mut changes = Vec::new();
    for definition in found.definitions {
        changes.extend(change(&mut conn, definition, &names)?);
    }
    terminal::say(&format!(
        "{} to be replaced",
        counted(changes.len(), "thing")
    ));
    if options.apply {
        if let Some(name) = missing.first() {
            return Err(Error::failed(format!(
                "nothing was changed: {name} is missing; run gman install or sql/install.sql first"
            )));
        }
        replace(&mut conn, &changes, options)?;
    } else {
        terminal::print_bytes(&script::script(&changes, Side::New))?;
    }
    match found.unreadable.len() {
        0 => Ok(()),
        unread => Err(Error::failed(format!(
            "{} could not be read; see above",
            counted(unread, "definition")
        ))),
    }
}

/// What a definition becomes, if it calls one of the functions.
fn change(
    conn: &mut Conn,
    definition: Definition,
    names: &rewrite::Names,
) -> Result<Option<Change>> {
    let label = definition.label();
    let done = definition.rewritten(names);
    for line in done.suspects {
        terminal::say(&format!(
            "{label}: look at its line {line}: a string may hold a call; it is as it was"
        ));
    }
    if done.calls == 0 {
        return Ok(None);
    }
    terminal::say(&format!("{label}: {}", counted(done.calls, "call")));
    let (mut place, mut grants) = (None, Vec::new());
    match definition.kind {
        Kind::Trigger => place = Some(definitions::place(conn, &definition)?),
        Kind::Procedure | Kind::Function => grants = definitions::grants(conn, &definition)?,
        Kind::View | Kind::Event => {}
    }
    Ok(Some(Change {
        text: done.text,
        definition,
        place,
        grants,
    }))
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
