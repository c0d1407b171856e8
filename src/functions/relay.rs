//! `gman_relay` and `gman_relay_error`: the rows of an outbox table become jobs.

use std::cell::RefCell;

use udf::prelude::*;

use crate::error::Error;
use crate::functions::client::{CLIENT, limits};
use crate::functions::failure;
use crate::functions::job_args::{self, Form};
use crate::gearman::delivery::background_batch::BackgroundBatch;
use crate::gearman::delivery::batch_outcome::Outcome;
use crate::gearman::delivery::confirmed_batch::ConfirmedBatch;
use crate::gearman::limits::Limits;
use crate::gearman::wire::job::Job;
use crate::host::aggregate::Aggregate;
use crate::host::function::{Function, PerRow, entry_points};
use crate::host::killed::Statement;
use crate::memory;

/// Longest answer of `gman_relay_error`, in bytes; more is cut off.
const MAX_ERROR_BYTES: usize = 4096;

thread_local! {
    /// Why the last `gman_relay` of this thread stopped before its last row. A server runs all
    /// statements of a procedure on one thread.
    static LAST_ERROR: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// `gman_relay(id, function, workload[, unique[, confirm]])`, an aggregate: submits a job for every
/// row of the group, in the order of the calls, which has to be that of the ids. Returns the id up
/// to which every row was acknowledged, or done by a worker if `confirm` is `'worker'`; NULL if none was.
/// Never fails because of the network or a job server: the rows are still where they came from, and
/// `gman_relay_error` gives the reason.
#[derive(Default)]
struct Relay {
    batch: Batch,
    /// The rows so far.
    ids: Vec<i64>,
}

/// The jobs of a group.
enum Batch {
    Acknowledged(BackgroundBatch),
    Confirmed(ConfirmedBatch),
}

entry_points!(Relay: Aggregate, "gman_relay");

impl Function for Relay {
    const NAME: &'static str = "gman_relay";
    type Output<'a> = i64;

    fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, Error> {
        job_args::check(Form::Relay, args)?;
        cfg.set_maybe_null(true);
        cfg.set_is_const(false);
        Ok(Self::default())
    }
}

impl Aggregate for Relay {
    fn begin() -> Self {
        LAST_ERROR.set(None);
        Self::default()
    }

    fn add(&mut self, args: &ArgList<Process>) -> Result<(), Error> {
        let id = job_args::id(args)?;
        if let Some(&last) = self.ids.last()
            && id <= last
        {
            return Err(Error::Input(format!(
                "id {id} comes after {last}, expected rows in the order of their ids"
            )));
        }
        if self.ids.is_empty() && job_args::is_confirmed_by_worker(args)? {
            self.batch = Batch::Confirmed(ConfirmedBatch::default());
        }
        memory::push(&mut self.ids, id)?;
        let statement = Statement::current();
        let job = job_args::job(Form::Relay, args);
        self.batch.submit(job, &limits(), &|| statement.is_killed());
        Ok(())
    }

    fn finish(&mut self, mistake: Option<Error>) -> Result<Option<i64>, Error> {
        let statement = Statement::current();
        let Self { batch, ids } = std::mem::take(self);
        let outcome = batch.finish(&limits(), &|| statement.is_killed());
        if let Some(mistake) = mistake {
            return Err(mistake);
        }
        if statement.is_killed() {
            return Err(Error::Stopped);
        }
        failure::note_success(Self::NAME, &outcome.passed_over);
        let trouble = outcome.failure.map(|error| {
            failure::note_kept(Self::NAME, &error);
            match ids.get(outcome.acknowledged) {
                Some(id) if outcome.refused => format!("refused {id}: {error}"),
                Some(id) if error.is_of_an_attempt() => format!("failed {id}: {error}"),
                _ => error.to_string(),
            }
        });
        LAST_ERROR.set(trouble);
        let last = outcome.acknowledged.checked_sub(1);
        Ok(last.map(|last| ids[last]))
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::Acknowledged(BackgroundBatch::default())
    }
}

impl Batch {
    fn submit(
        &mut self,
        job: Result<Job<'_>, Error>,
        limits: &Limits,
        should_stop: &dyn Fn() -> bool,
    ) {
        match self {
            Self::Acknowledged(batch) => batch.submit(&CLIENT, job, limits, should_stop),
            Self::Confirmed(batch) => batch.submit(&CLIENT, job, limits, should_stop),
        }
    }

    /// Waits for acknowledgements, or for workers as long as they finish a job every
    /// [`Limits::run`].
    fn finish(self, limits: &Limits, should_stop: &dyn Fn() -> bool) -> Outcome {
        let mut batch = match self {
            Self::Acknowledged(batch) => return batch.finish(limits, should_stop),
            Self::Confirmed(batch) => batch,
        };
        loop {
            let before = batch.confirmed();
            let is_over = batch.wait(limits.run, limits, should_stop);
            if is_over {
                return batch.finish();
            }
            if batch.confirmed() == before {
                return batch.give_up(limits.run);
            }
        }
    }
}

/// `gman_relay_error()`: why the last `gman_relay` of this procedure stopped before its last row;
/// NULL when it did not. `refused ID: ...` if the row itself is the reason, `failed ID: ...` if it may
/// be: a job server was connected, and did not answer.
#[derive(Default)]
struct RelayError {
    message: Vec<u8>,
}

entry_points!(RelayError: PerRow, "gman_relay_error");

impl Function for RelayError {
    const NAME: &'static str = "gman_relay_error";
    type Output<'a> = &'a [u8];

    fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, Error> {
        if !args.is_empty() {
            return Err(Error::Input("Must give no argument.".to_owned()));
        }
        job_args::describe_result(cfg, MAX_ERROR_BYTES);
        Ok(Self::default())
    }
}

impl PerRow for RelayError {
    fn row(&mut self, _args: &ArgList<Process>) -> Result<Option<&[u8]>, Error> {
        let Some(mut message) = LAST_ERROR.with_borrow(Clone::clone) else {
            return Ok(None);
        };
        message.truncate(message.floor_char_boundary(MAX_ERROR_BYTES));
        self.message = message.into_bytes();
        Ok(Some(self.message.as_slice()))
    }
}
