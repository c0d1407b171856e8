//! `gman_flush`: waits for what pipelined delivery has not delivered yet.

use std::num::NonZeroU8;
use std::time::Duration;

use udf::prelude::*;

use crate::error::Error;
use crate::functions::client::CLIENT;
use crate::functions::job_args;
use crate::host::killed::Statement;
use crate::host::{diagnostics, guard};
use crate::settings;

/// Digits of the longest answer.
const MAX_DIGITS: usize = 20;

/// Nobody waits longer, whatever number is asked for: a day.
const LONGEST: Duration = Duration::from_secs(86_400);

/// `gman_flush([milliseconds])`: waits until a job server has every job that was accepted before
/// this call, for `milliseconds` at most, or else for `gman_timeout_ms`; answers how many it has not.
struct Flush;

#[register(name = "gman_flush")]
impl BasicUdf for Flush {
    type Returns<'a> = Option<i64>;

    fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, String> {
        guard::init(|| {
            if args.len() > 1 {
                return Err(Error::Input("Must give no or one argument.".to_owned()));
            }
            for mut arg in args.iter() {
                arg.set_type_coercion(SqlType::Int);
            }
            job_args::describe_result(cfg, MAX_DIGITS);
            Ok(Self)
        })
    }

    fn process<'a>(
        &'a mut self,
        _cfg: &UdfCfg<Process>,
        args: &ArgList<Process>,
        _error: Option<NonZeroU8>,
    ) -> Result<Self::Returns<'a>, ProcessError> {
        guard::row("gman_flush", || {
            let statement = Statement::current();
            let left = CLIENT.flush(limit(args)?, &|| statement.is_killed());
            match statement.is_killed() {
                true => Err(Error::Stopped),
                false => Ok(Some(i64::try_from(left).unwrap_or(i64::MAX))),
            }
        })
    }
}

/// Delivers what is left before the server goes, for `gman_timeout_ms` at most; the error log says
/// what was lost.
pub(crate) fn drain() {
    let limit = settings::TIMEOUT.duration();
    if CLIENT.flush(limit, &|| false) == 0 {
        return;
    }
    let left: Vec<String> = CLIENT
        .waiting()
        .iter()
        .map(|(function, jobs)| format!("{jobs} for {function}"))
        .collect();
    let message = format!(
        "after {} ms of waiting no job server has taken these jobs: {}",
        limit.as_millis(),
        left.join(", ")
    );
    diagnostics::log("ERROR", &message);
}

fn limit(args: &ArgList<Process>) -> Result<Duration, Error> {
    match args.get(0).map(|arg| arg.value()) {
        None | Some(SqlResult::Int(None)) => Ok(settings::TIMEOUT.duration()),
        Some(SqlResult::Int(Some(milliseconds))) => u64::try_from(milliseconds)
            .map(|milliseconds| Duration::from_millis(milliseconds).min(LONGEST))
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
