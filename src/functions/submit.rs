//! `gman_do` and its siblings: one job from one row.

use std::sync::Arc;

use udf::prelude::*;

use crate::error::Error;
use crate::functions::client::{CLIENT, limits};
use crate::functions::failure;
use crate::functions::job_args::{self, Form};
use crate::functions::transaction;
use crate::gearman::wire::job::{Job, Mode, Priority};
use crate::gearman::wire::packet::{MAX_DATA_BYTES, MAX_HANDLE_BYTES};
use crate::host::function::{Function, PerRow, entry_points};
use crate::host::killed::Statement;
use crate::settings::{self, Delivery};

/// Defines an SQL function that submits one job for each row: its type, its name, and the form of
/// its arguments.
macro_rules! submits {
    ($type:ident, $name:literal, $form:expr) => {
        #[doc = concat!("`", $name, "`.")]
        struct $type {
            answer: Vec<u8>,
        }

        entry_points!($type: PerRow, $name);

        impl Function for $type {
            const NAME: &'static str = $name;
            type Output<'a> = &'a [u8];
            const IS_UTF8: bool = false;

            fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, Error> {
                job_args::check($form, args)?;
                job_args::describe_result(cfg, longest_answer($form));
                Ok(Self { answer: Vec::new() })
            }
        }

        impl PerRow for $type {
            fn row(&mut self, args: &ArgList<Process>) -> Result<Option<&[u8]>, Error> {
                let job = job_args::job($form, args)?;
                submit($name, &job, &mut self.answer)
            }
        }
    };
}

submits!(Do, "gman_do", Form::Foreground(Priority::Normal));
submits!(DoHigh, "gman_do_high", Form::Foreground(Priority::High));
submits!(DoLow, "gman_do_low", Form::Foreground(Priority::Low));
submits!(
    DoBackground,
    "gman_do_background",
    Form::Background(Priority::Normal)
);
submits!(
    DoHighBackground,
    "gman_do_high_background",
    Form::Background(Priority::High)
);
submits!(
    DoLowBackground,
    "gman_do_low_background",
    Form::Background(Priority::Low)
);
submits!(DoEpoch, "gman_do_epoch", Form::Epoch);

fn longest_answer(form: Form) -> usize {
    match form {
        Form::Foreground(_) => MAX_DATA_BYTES,
        Form::Background(_) | Form::Epoch | Form::Relay => MAX_HANDLE_BYTES,
    }
}

/// Submits `job` for the SQL function `name`; returns its result or its handle.
fn submit<'a>(
    name: &str,
    job: &Job<'_>,
    answer: &'a mut Vec<u8>,
) -> Result<Option<&'a [u8]>, Error> {
    let outcome = match job.mode() {
        Mode::Foreground(_) => run(job),
        Mode::Background(_) | Mode::Epoch(_) => hand_over(job),
    };
    match outcome {
        Ok((answered, passed_over)) => {
            failure::note_success(name, &passed_over);
            *answer = answered;
            Ok(Some(answer))
        }
        Err(error) => failure::answer(name, error),
    }
}

/// What a call that ended well returns, and what failed before.
type Outcome = Result<(Vec<u8>, Vec<Arc<Error>>), Error>;

/// Nobody but the client wants the result: the call ends with it.
fn run(job: &Job<'_>) -> Outcome {
    let statement = Statement::with_client();
    let completed = CLIENT.run(job, &limits(), &|| statement.is_unwanted())?;
    Ok((completed.result, completed.passed_over))
}

/// The write is wanted even if its client has gone.
fn hand_over(job: &Job<'_>) -> Outcome {
    let statement = Statement::current();
    let should_stop = || statement.is_killed();
    match settings::delivery() {
        Delivery::Acked => {
            let submitted = CLIENT.submit(job, &limits(), &should_stop)?;
            Ok((submitted.handle, submitted.passed_over))
        }
        Delivery::Pipelined => {
            CLIENT.submit_later(job, &limits(), &should_stop)?;
            Ok((job.unique().to_vec(), Vec::new()))
        }
        Delivery::Committed => {
            let unique = transaction::hold(job, &should_stop)?;
            Ok((unique, Vec::new()))
        }
    }
}
