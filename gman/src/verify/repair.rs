//! Sends rows again, and deletes keys without a row. Rows are locked meanwhile, as `gman load` locks them;
//! and so is the gap where the row of a key would be, so that nobody inserts it before the key is gone.

use std::io::{self, BufRead, IsTerminal, Write};

use mysql::Conn;

use super::cache::Cache;
use super::options::Options;
use super::orphans;
use super::report::{Orphan, Repaired, Report};
use super::second_look::SecondLook;
use crate::connections::{Ask, refused};
use crate::error::{Error, Result};
use crate::load::delivery::{Delivery, Trouble};
use crate::rows::hand_over::ROW;
use crate::rows::place::Place;
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
    let delivery = Delivery::of(conn, look.source, 1)?;
    let places = std::mem::take(&mut report.places);
    for group in places.chunks(GROUP) {
        send(conn, look, &delivery, group)?;
    }
    delivery.finish(conn)?;
    let orphans = std::mem::take(&mut report.orphans);
    let mut deleted = 0;
    let may_delete = !orphans.is_empty() && (options.yes || ask(orphans.len())?);
    for (key, orphan) in orphans.iter().filter(|_| may_delete) {
        deleted += u64::from(delete(conn, cache, look, key, orphan)?);
    }
    look.drain(conn, cache)?;
    let table = &look.source.name;
    let mut again = Report::new(table, None, false);
    let sent = places.len() as u64;
    look.at_rows(conn, cache, places, &mut again)?;
    // A key that was not deleted though it might be has a row again, whose trigger has sent it.
    let kept = if may_delete { 0 } else { orphans.len() };
    report.repaired = Some(Repaired {
        sent,
        deleted,
        left: (again.differing() + kept) as u64,
    });
    Ok(())
}

fn send(conn: &mut Conn, look: &SecondLook<'_>, delivery: &Delivery, places: &[Place]) -> Result {
    let conditions = places.iter().map(|place| look.source.key.is_at(place));
    let condition = format!("({})", conditions.collect::<Vec<_>>().join(" OR "));
    let mut tries = 0;
    loop {
        tries += 1;
        match delivery.hand_over(conn, look.source, &condition) {
            Ok(sent) if sent.cut_at.is_some() && places.len() > 1 => {
                let (some, others) = places.split_at(places.len() / 2);
                send(conn, look, delivery, some)?;
                return send(conn, look, delivery, others);
            }
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

/// Deletes a key if its row is still not there; returns whether that is so.
fn delete(
    conn: &mut Conn,
    cache: &mut Cache,
    look: &SecondLook<'_>,
    key: &str,
    orphan: &Orphan,
) -> Result<bool> {
    let condition = &orphan.condition;
    let what = |error: mysql::Error| refused(format!("lock the place of {key}"), &error);
    conn.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        .map_err(what)?;
    conn.run("START TRANSACTION").map_err(what)?;
    let table = look.source.name.quoted();
    conn.run(format!(
        "SELECT 1 FROM {table} AS {ROW} WHERE {condition} FOR UPDATE"
    ))
    .map_err(what)?;
    let is_gone = !orphans::keys_of(conn, look, std::slice::from_ref(condition))?.contains(key);
    match &orphan.leads_to {
        _ if !is_gone => {}
        None => cache.delete(&[key.to_owned()])?,
        // Another row may have the value by now, whose place is not locked.
        Some(row) => cache.delete_if(key, row)?,
    }
    conn.run("COMMIT").map_err(what)?;
    Ok(is_gone)
}
