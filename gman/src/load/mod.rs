//! `gman load`: sends the rows that a table holds already, while writes go on; `docs/load.md` describes it,
//! and says why each key has its row's newest value afterwards.
//!
//! A table is taken in parts ([`crate::rows`]), in the order of its primary key. Each part's rows are
//! locked while their jobs are handed over ([`delivery`]), as a trigger's are, several rows in each
//! ([`parcels`]). How far that went is kept
//! in a file ([`progress`]).

pub(crate) mod delivery;
mod options;
mod parcels;
mod progress;
mod statements;

use std::thread;
use std::time::{Duration, Instant};

use mysql::Conn;

use self::delivery::{Delivery, Trouble};
pub(crate) use self::options::Options;
use self::progress::{Bar, Progress, State};
use crate::connections::refused;
use crate::error::{Error, Result};
use crate::rows::pace::Pace;
use crate::rows::place::Part;
use crate::rows::source::{Lock, Source};
use crate::terminal::{self, printable};

/// How long a part may fail in a row before the load gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The shortest and the longest pause before a part is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// How many rows `--dry-run` shows.
const SHOWN: u64 = 3;

/// # Errors
///
/// If a table has no triggers, or a server fails for longer than [`PATIENCE`].
pub(crate) fn run(options: &Options) -> Result {
    let tables = options.tables.names()?;
    let mut progress = Progress::open(options.resume.as_deref(), options.filter.as_deref())?;
    let mut conn = options.mysql.connect()?;
    // All of them before the first is sent.
    for table in &tables {
        Source::read(&mut conn, table, options.filter.as_deref())?;
    }
    for table in &tables {
        let source = Source::read(&mut conn, table, options.filter.as_deref())?;
        let delivery = Delivery::of(&mut conn, &source, options.rows_per_job.into())?;
        match options.dry_run {
            true => show(&mut conn, &source, &delivery)?,
            false => load(&mut conn, options, &source, &delivery, &mut progress)?,
        }
    }
    Ok(())
}

/// Says what would be sent.
fn show(conn: &mut Conn, source: &Source, delivery: &Delivery) -> Result {
    let table = source.name.quoted();
    let rows = source.estimate(conn)?;
    terminal::print(&printable(&format!(
        "{table}: about {rows} rows, {delivery}; the first jobs:"
    )))?;
    let end = source.end_of(conn, &Part::default(), SHOWN)?;
    let first = Part {
        after: None,
        up_to: end,
    };
    let rows = source
        .jobs(conn, &source.key.is_in(&first), Lock::None)
        .map_err(|error| refused(format!("read {table}"), &error))?;
    for job in rows.iter().take(SHOWN as usize).flat_map(|row| &row.jobs) {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let workload = job
            .workload
            .as_deref()
            .map_or_else(|| "NULL: the triggers refuse this row".to_owned(), text);
        terminal::print(&printable(&format!("{}\t{workload}", text(&job.function))))?;
    }
    Ok(())
}

fn load(
    conn: &mut Conn,
    options: &Options,
    source: &Source,
    delivery: &Delivery,
    progress: &mut Progress,
) -> Result {
    let mut state = match progress.state(&source.name, &source.key)? {
        Some(state) => state,
        None => State::new(source.last(conn)?),
    };
    let bar = Bar::new(&source.name, source.estimate(conn)?, state.rows);
    let mut pace = Pace::new(options.chunk.into(), options.rate.map(Into::into));
    let (began, before) = (Instant::now(), state.rows);
    while let Some(rest) = state.rest() {
        pace.wait();
        let Some(rows) = next_part(conn, source, delivery, &mut pace, &rest, &mut state)? else {
            break;
        };
        state.rows += rows;
        bar.set(state.rows);
        progress.note(&source.name, &state)?;
    }
    delivery.finish(conn)?;
    state.is_done = true;
    progress.finish(&source.name, &state)?;
    bar.clear();
    let rows = state.rows - before;
    let seconds = began.elapsed().as_secs_f64();
    terminal::print(&printable(&format!(
        "loaded {}: {rows} rows in {seconds:.1} s, {:.0} a second",
        source.name.quoted(),
        rows as f64 / seconds.max(1e-3)
    )))
}

/// Hands over the next part, however often that takes; returns how many rows it had, `None` if the
/// table has become empty.
fn next_part(
    conn: &mut Conn,
    source: &Source,
    delivery: &Delivery,
    pace: &mut Pace,
    rest: &Part,
    state: &mut State,
) -> Result<Option<u64>> {
    let (began, mut pause) = (Instant::now(), PAUSES.0);
    let mut told = String::new();
    loop {
        let Some(end) = source.end_of(conn, rest, pace.rows())? else {
            return Ok(None);
        };
        let part = Part {
            after: rest.after.clone(),
            up_to: Some(end.clone()),
        };
        let locked = Instant::now();
        let reason = match delivery.hand_over(conn, source, &source.key.is_in(&part)) {
            Ok(sent) => {
                pace.took(sent.rows, locked.elapsed());
                state.reached(sent.cut_at.unwrap_or(end));
                return Ok(Some(sent.rows));
            }
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Passing(reason)) => reason,
        };
        let table = source.name.quoted();
        if began.elapsed() > PATIENCE {
            return Err(Error::failed(format!(
                "cannot load {table}: {reason}, for {} s; try again with the same --resume",
                PATIENCE.as_secs()
            )));
        }
        // A row that somebody else holds for a moment is not worth a line.
        if pause >= PAUSES.1 && told != reason {
            terminal::say(&format!("{table}: {reason}; trying again"));
            told = reason;
        }
        pace.failed();
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSES.1);
    }
}
