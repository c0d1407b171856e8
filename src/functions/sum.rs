//! `gman_sum`: the sum of what workers answer to many rows.

use udf::prelude::*;

use crate::error::Error;
use crate::functions::client::{CLIENT, limits};
use crate::functions::failure;
use crate::functions::job_args::{self, Form};
use crate::gearman::delivery::foreground_batch::ForegroundBatch;
use crate::gearman::wire::job::Priority;
use crate::host::aggregate::Aggregate;
use crate::host::function::{Function, entry_points};
use crate::host::killed::Statement;

const FORM: Form = Form::Foreground(Priority::Normal);

/// `gman_sum(function, workload[, unique])`, an aggregate: submits a foreground job for every row
/// of the group, then waits, and returns the sum of the results, which are integers.
#[derive(Default)]
struct Sum {
    batch: ForegroundBatch,
    /// Of the results so far.
    total: i64,
    /// Whether a job failed, so that there is no sum.
    has_failed: bool,
}

entry_points!(Sum: Aggregate, "gman_sum");

impl Function for Sum {
    const NAME: &'static str = "gman_sum";
    type Output<'a> = i64;

    fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, Error> {
        job_args::check(FORM, args)?;
        cfg.set_maybe_null(true);
        cfg.set_is_const(false);
        Ok(Self::default())
    }
}

impl Aggregate for Sum {
    fn begin() -> Self {
        Self::default()
    }

    fn add(&mut self, args: &ArgList<Process>) -> Result<(), Error> {
        let job = job_args::job(FORM, args)?;
        let statement = Statement::with_client();
        let Self { batch, total, .. } = self;
        batch.submit(
            &CLIENT,
            &job,
            &limits(),
            &|| statement.is_unwanted(),
            &mut |result| add_to(total, result),
        )
    }

    fn finish(&mut self, failure: Option<Error>) -> Result<Option<i64>, Error> {
        if self.has_failed {
            return Ok(None);
        }
        match failure.map_or_else(|| self.total(), Err) {
            Ok(total) => Ok(Some(total)),
            Err(error) => {
                self.has_failed = true;
                failure::answer(Self::NAME, error)
            }
        }
    }
}

impl Sum {
    /// The total once all workers have answered.
    fn total(&mut self) -> Result<i64, Error> {
        let statement = Statement::with_client();
        let Self { batch, total, .. } = self;
        let passed_over = std::mem::take(batch).finish(
            &limits(),
            &|| statement.is_unwanted(),
            &mut |result| add_to(total, result),
        )?;
        failure::note_success(Self::NAME, &passed_over);
        Ok(self.total)
    }
}

/// Adds one result; white space around the digits does not matter.
fn add_to(total: &mut i64, result: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(result);
    let number: i64 = text.trim().parse().map_err(|_| {
        let shown: String = text.chars().take(SHOWN_CHARS).collect();
        format!("expected a result that is an integer, found \"{shown}\"")
    })?;
    *total = total
        .checked_add(number)
        .ok_or("expected a sum that fits into a BIGINT")?;
    Ok(())
}

/// How much of a result that is no integer goes into the message, in characters.
const SHOWN_CHARS: usize = 100;
