//! `gman_do` and its siblings: one job from one row.

use std::num::NonZeroU8;

use udf::prelude::*;

use crate::error::Error;
use crate::functions::client::{CLIENT, limits};
use crate::functions::failure;
use crate::functions::job_args::{self, Form};
use crate::functions::transaction;
use crate::gearman::wire::job::{Job, Mode, Priority};
use crate::gearman::wire::packet::{MAX_DATA_BYTES, MAX_HANDLE_BYTES};
use crate::host::guard;
use crate::host::killed::Statement;
use crate::settings::{self, Delivery};

/// Defines an SQL function that submits one job for each row: its type, its name, and the form of
/// its arguments.
macro_rules! submits {
    ($type:ident, $name:tt, $form:expr) => {
        #[doc = concat!("`", $name, "`.")]
        struct $type {
            answer: Vec<u8>,
        }

        #[register(name = $name)]
        impl BasicUdf for $type {
            type Returns<'a> = Option<&'a [u8]>;

            fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, String> {
                guard::init(|| {
                    job_args::check($form, args)?;
                    job_args::describe_result(cfg, longest_answer($form));
                    Ok(Self { answer: Vec::new() })
                })
            }

            fn process<'a>(
                &'a mut self,
                _cfg: &UdfCfg<Process>,
                args: &ArgList<Process>,
                _error: Option<NonZeroU8>,
            ) -> Result<Self::Returns<'a>, ProcessError> {
                guard::row($name, || {
                    let job = job_args::job($form, args)?;
                    submit($name, &job, &mut self.answer)
                })
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

/// Submits `job` for the SQL function `name`; answers its result or its handle.
fn submit<'a>(
    name: &str,
    job: &Job<'_>,
    answer: &'a mut Vec<u8>,
) -> Result<Option<&'a [u8]>, Error> {
    let outcome = match job.mode() {
        Mode::Foreground(_) => {
            let statement = Statement::current();
            CLIENT
                .run(job, &limits(), &|| statement.is_killed())
                .map(|completed| (completed.result, completed.passed_over))
        }
        Mode::Background(_) | Mode::Epoch(_) => match settings::delivery() {
            Delivery::Acked => CLIENT
                .submit(job, &limits())
                .map(|submitted| (submitted.handle, submitted.passed_over)),
            Delivery::Pipelined => CLIENT
                .submit_later(job, &limits())
                .map(|()| (job.unique().to_vec(), Vec::new())),
            Delivery::Committed => {
                transaction::hold(job).map(|()| (job.unique().to_vec(), Vec::new()))
            }
        },
    };
    match outcome {
        Ok((answered, passed_over)) => {
            failure::note_success(name, &passed_over);
            *answer = answered;
            Ok(Some(answer))
        }
        Err(error) => failure::settle(name, error),
    }
}
