//! Sends rows again, and deletes keys without a row. Rows are locked meanwhile, as `gman load` locks them;
//! and so is the gap where the row of a key would be, so that nobody inserts it before the key is gone.

use std::io::{self, BufRead, IsTerminal, Write};

use mysql::Conn;
use mysql::prelude::Queryable;

use super::cache::Cache;
use super::options::Options;
use super::orphans;
use super::report::{Repaired, Report};
use super::second_look::SecondLook;
use crate::connections::refused;
use crate::error::{Error, Result};
use crate::load::delivery::{Delivery, Trouble};
use crate::rows::hand_over::ROW;
use crate::terminal;

/// How many rows are locked at once.
const GROUP: usize = 100;

/// How often the rows of a group are tried.
const TRIES: u32 = 30;

/// Mends what a report says, and looks again.
///
/// # Errors
///
/// If a server fails.
pub(super) fn run(
    conn: &mut Conn,
    cache: &mut Cache,
    options: &Options,
    look: &mut SecondLook<'_>,
    report: &mut Report,
) -> Result {
    let delivery = Delivery::of(conn, look.source)?;
    let places = std::mem::take(&mut report.places);
    for group in places.chunks(GROUP) {
        let conditions: Vec<String> = group
            .iter()
            .map(|place| look.source.key.is_at(place))
            .collect();
        send(
            conn,
            look,
            &delivery,
            &format!("({})", conditions.join(" OR ")),
        )?;
    }
    delivery.finish(conn)?;
    let orphans = std::mem::take(&mut report.orphans);
    let mut deleted = 0;
    let may_delete = !orphans.is_empty() && (options.yes || ask(orphans.len())?);
    for (key, condition) in orphans.iter().filter(|_| may_delete) {
        deleted += u64::from(delete(conn, cache, look, key, condition)?);
    }
    look.drain(conn, cache)?;
    let table = &look.source.name;
    let mut again = Report::new(table, None, false);
    let sent = places.len() as u64;
    look.at_rows(conn, cache, places, &mut again)?;
    report.repaired = Some(Repaired {
        sent,
        deleted,
        left: again.differing() as u64 + orphans.len() as u64 - deleted,
    });
    Ok(())
}

fn send(conn: &mut Conn, look: &SecondLook<'_>, delivery: &Delivery, condition: &str) -> Result {
    let mut tries = 0;
    loop {
        tries += 1;
        match delivery.hand_over(conn, look.source, condition) {
            Ok(_) => return Ok(()),
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Passing(reason)) if tries == TRIES => {
                return Err(Error::failed(format!("cannot send rows again: {reason}")));
            }
            Err(Trouble::Passing(_)) => {}
        }
    }
}

fn ask(keys: usize) -> Result<bool> {
    if !io::stdin().is_terminal() {
        terminal::say(&format!(
            "{keys} keys have no row; they are left, as nobody can be asked: --yes deletes them"
        ));
        return Ok(false);
    }
    let mut answer = String::new();
    let asked = write!(io::stderr(), "Delete {keys} keys that have no row? [y/N] ");
    asked
        .and_then(|()| io::stdin().lock().read_line(&mut answer))
        .map_err(|error| Error::failed(format!("cannot ask: {error}; use --yes")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Deletes a key if its row is still not there.
fn delete(
    conn: &mut Conn,
    cache: &mut Cache,
    look: &SecondLook<'_>,
    key: &str,
    condition: &str,
) -> Result<bool> {
    let what = |error: mysql::Error| refused(format!("lock the place of {key}"), &error);
    conn.query_drop("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        .map_err(what)?;
    conn.query_drop("START TRANSACTION").map_err(what)?;
    let table = look.source.name.quoted();
    conn.query_drop(format!(
        "SELECT 1 FROM {table} AS {ROW} WHERE {condition} FOR UPDATE"
    ))
    .map_err(what)?;
    let is_gone = !orphans::keys_of(conn, look, &[condition.to_owned()])?.contains(key);
    if is_gone {
        cache.delete(&[key.to_owned()])?;
    }
    conn.query_drop("COMMIT").map_err(what)?;
    Ok(is_gone)
}
