//! `gman verify`: compares tables with Redis while writes go on; `docs/verify.md` describes it, and says why it
//! reports lasting differences only.
//!
//! - [`options`]: the options;
//! - [`cache`]: what Redis has;
//! - [`compare`]: a row's job, and what Redis has of it;
//! - [`first_look`]: every row once, and which of them differ;
//! - [`drain`]: waits until what was sent before has arrived;
//! - [`second_look`]: which of them differ still, although nothing has changed;
//! - [`key_text`]: from a key in Redis back to the row that it would be of;
//! - [`orphans`]: keys without a row;
//! - [`repair`]: sends rows again, and deletes keys;
//! - [`report`]: what was found.

mod cache;
mod compare;
mod drain;
mod first_look;
mod key_text;
mod options;
mod orphans;
mod repair;
mod report;
mod second_look;

use std::collections::BTreeSet;
use std::time::Instant;

use self::cache::Cache;
use self::compare::Reader;
use self::drain::Drain;
pub(crate) use self::options::Options;
use self::report::{Report, Reports};
use self::second_look::SecondLook;
use crate::error::{Error, Result};
use crate::rows::source::Source;
use crate::sql::TableName;
use crate::terminal;

/// # Errors
///
/// If something differs and was not repaired, or a server fails.
pub(crate) fn run(options: &Options) -> Result {
    let tables = options.tables.names()?;
    let mut reports = Reports::default();
    for table in &tables {
        let report = verify(options, table)?;
        if !options.json {
            for line in report.lines() {
                terminal::print(&terminal::printable(&line))?;
            }
        }
        reports.tables.push(report);
    }
    if options.json {
        let text = serde_json::to_string_pretty(&reports).map_err(Error::failed)?;
        terminal::print(&text)?;
    }
    reports.outcome()
}

fn verify(options: &Options, table: &TableName) -> Result<Report> {
    let began = Instant::now();
    let mut conn = options.mysql.connect()?;
    let source = Source::read(&mut conn, table, options.filter.as_deref())?;
    let mut cache = Cache::connect(&options.redis)?;
    let reader = Reader::new(options.rows.format(), &options.rows.row_function);
    let drain = Drain::new(options, &source);
    let mut report = Report::new(table, options.sample, options.expires);
    let mut look = SecondLook {
        source: &source,
        reader: &reader,
        drain: &drain,
        functions: BTreeSet::from([options.rows.row_function.clone().into_bytes()]),
    };
    let seen = first_look::run(&mut conn, &mut cache, options, &mut look, &mut report)?;
    orphans::find(
        &mut conn,
        &mut cache,
        options,
        &mut look,
        &seen,
        &mut report,
    )?;
    if options.repair && report.differs() {
        repair::run(&mut conn, &mut cache, options, &mut look, &mut report)?;
    }
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}
