//! `gman_flush`: waits for what pipelined delivery has not delivered yet.

use std::time::Duration;

use udf::prelude::*;

use crate::error::Error;
use crate::functions::client::CLIENT;
use crate::functions::job_args;
use crate::host::function::{Function, PerRow, entry_points};
use crate::host::killed::Statement;
use crate::settings;

/// Digits of the longest answer.
const MAX_DIGITS: usize = 20;

/// `gman_flush([milliseconds])`: waits until a job server has every job that was accepted before
/// this call; returns how many it has not. Waits for `milliseconds` at most, or else for `gman_timeout_ms`,
/// and never longer than `gman_do_timeout_ms`, because any account may call it.
struct Flush;

entry_points!(Flush: PerRow, "gman_flush");

impl Function for Flush {
    const NAME: &'static str = "gman_flush";
    type Output<'a> = i64;

    fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, Error> {
        if args.len() > 1 {
            return Err(Error::Input("Must give no or one argument.".to_owned()));
        }
        for mut arg in args.iter() {
            arg.set_type_coercion(SqlType::Int);
        }
        job_args::describe_result(cfg, MAX_DIGITS);
        Ok(Self)
    }
}

impl PerRow for Flush {
    fn row(&mut self, args: &ArgList<Process>) -> Result<Option<i64>, Error> {
        let statement = Statement::current();
        let left = CLIENT.flush(limit(args)?, &|| statement.is_killed());
        match statement.is_killed() {
            true => Err(Error::Stopped),
            false => Ok(Some(i64::try_from(left).unwrap_or(i64::MAX))),
        }
    }
}

fn limit(args: &ArgList<Process>) -> Result<Duration, Error> {
    match args.get(0).map(|arg| arg.value()) {
        None | Some(SqlResult::Int(None)) => Ok(settings::TIMEOUT.duration()),
        Some(SqlResult::Int(Some(milliseconds))) => u64::try_from(milliseconds)
            .map(|milliseconds| {
                Duration::from_millis(milliseconds).min(settings::DO_TIMEOUT.duration())
            })
            .map_err(|_| {
                Error::Input(format!(
                    "milliseconds is {milliseconds}, expected 0 or more"
                ))
            }),
        Some(other) => Err(Error::Input(format!(
            "milliseconds must be a whole number, not {other:?}"
        ))),
    }
}
