//! `gman_outbox_written` and `gman_outbox_wait`: the commit of a transaction that wrote to an outbox wakes
//! the relay.

use std::thread;
use std::time::Duration;

use udf::prelude::*;

use crate::error::Error;
use crate::functions::outboxes::{Outbox, UNTOLD};
use crate::functions::transaction;
use crate::host::args;
use crate::host::function::{Function, PerRow, entry_points};
use crate::host::killed::Statement;

/// The longest wait, whatever was asked for.
const LONGEST: Duration = Duration::from_secs(1);

/// `gman_outbox_written(schema)`: the session has written to the outbox of `schema`, and its commit
/// shall wake the relay. Returns 1, or 0 if the plugin `gman_commit` is not installed, without which the
/// relay looks for itself.
#[derive(Default)]
struct Written;

entry_points!(Written: PerRow, "gman_outbox_written");

impl Function for Written {
    const NAME: &'static str = "gman_outbox_written";
    type Output<'a> = i64;

    fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, Error> {
        if args.len() != 1 {
            return Err(Error::Input("Must give one argument.".to_owned()));
        }
        args::ask_for_text(args, 0);
        cfg.set_is_const(false);
        Ok(Self)
    }
}

impl PerRow for Written {
    fn row(&mut self, args: &ArgList<Process>) -> Result<Option<i64>, Error> {
        let schema = args::string(args, 0)?.unwrap_or_default();
        let Some(outbox) = Outbox::of(schema) else {
            return Ok(Some(0));
        };
        let is_told = transaction::wake_at_commit(&outbox);
        if is_told {
            outbox.is_told();
        }
        Ok(Some(i64::from(is_told)))
    }
}

/// `gman_outbox_wait(schema, milliseconds)`: waits for a commit that wrote to the outbox of `schema`,
/// for a second at most. Returns 1 if there was one since the last wait, 0 if there was none, and NULL
/// after 50 ms if no session tells of its rows.
struct Wait;

entry_points!(Wait: PerRow, "gman_outbox_wait");

impl Function for Wait {
    const NAME: &'static str = "gman_outbox_wait";
    type Output<'a> = i64;

    fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, Error> {
        if args.len() != 2 {
            return Err(Error::Input("Must give two arguments.".to_owned()));
        }
        args::ask_for_text(args, 0);
        if let Some(mut milliseconds) = args.get(1) {
            milliseconds.set_type_coercion(SqlType::Int);
        }
        cfg.set_maybe_null(true);
        cfg.set_is_const(false);
        Ok(Self)
    }
}

impl PerRow for Wait {
    fn row(&mut self, args: &ArgList<Process>) -> Result<Option<i64>, Error> {
        let schema = args::string(args, 0)?.unwrap_or_default();
        let milliseconds = match args.get(1).map(|arg| arg.value()) {
            Some(SqlResult::Int(Some(milliseconds))) => u64::try_from(milliseconds).unwrap_or(0),
            _ => 0,
        };
        let limit = Duration::from_millis(milliseconds).min(LONGEST);
        let statement = Statement::current();
        let woken = match Outbox::of(schema) {
            Some(outbox) => outbox.wait(limit, &|| statement.is_killed()),
            None => {
                thread::sleep(limit.min(UNTOLD));
                None
            }
        };
        match statement.is_killed() {
            true => Err(Error::Stopped),
            false => Ok(woken.map(i64::from)),
        }
    }
}
