//! `gman_do` and its siblings: one job from one row.

use std::num::NonZeroU8;

use udf::prelude::*;

use crate::error::Error;
use crate::functions::client::{CLIENT, limits};
use crate::functions::failure;
use crate::gearman::job::{Job, MAX_FUNCTION_BYTES, Mode, Priority};
use crate::gearman::packet::MAX_HANDLE_BYTES;
use crate::host::{args, guard};

/// Where the arguments of `gman_do*` are.
const FUNCTION: usize = 0;
const WORKLOAD: usize = 1;
const UNIQUE: usize = 2;

/// Defines an SQL function that submits one background job for each row.
macro_rules! background {
    ($type:ident, $name:tt, $priority:expr) => {
        #[doc = concat!("`", $name, "(function, workload[, unique])`: answers the job handle.")]
        struct $type {
            handle: Vec<u8>,
        }

        #[register(name = $name)]
        impl BasicUdf for $type {
            type Returns<'a> = Option<&'a [u8]>;

            fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, String> {
                guard::init(|| {
                    check_arguments(args)?;
                    describe_result(cfg, MAX_HANDLE_BYTES);
                    Ok(Self { handle: Vec::new() })
                })
            }

            fn process<'a>(
                &'a mut self,
                _cfg: &UdfCfg<Process>,
                args: &ArgList<Process>,
                _error: Option<NonZeroU8>,
            ) -> Result<Self::Returns<'a>, ProcessError> {
                guard::row($name, || {
                    let mode = Mode::Background($priority);
                    submit($name, &job(mode, args, UNIQUE)?, &mut self.handle)
                })
            }
        }
    };
}

background!(DoBackground, "gman_do_background", Priority::Normal);

/// Checks the number and types of the arguments, in the words of the C plugin.
fn check_arguments(args: &ArgList<Init>) -> Result<(), Error> {
    if !(2..=3).contains(&args.len()) {
        return Err(input("Must give two or three arguments."));
    }
    check_function(args)?;
    take_as_strings(args, &[WORKLOAD, UNIQUE]);
    Ok(())
}

/// Checks the argument that names the Gearman function.
fn check_function(args: &ArgList<Init>) -> Result<(), Error> {
    let function = args.get(FUNCTION).filter(|function| !function.maybe_null());
    match function.map(|function| function.value()) {
        Some(SqlResult::String(Some(name))) if name.len() > MAX_FUNCTION_BYTES => {
            Err(input("Function name too long."))
        }
        Some(SqlResult::String(_)) => Ok(()),
        _ => Err(input("First argument must be a string.")),
    }
}

/// Makes the server hand these arguments over as text, whatever their types.
fn take_as_strings(args: &ArgList<Init>, indexes: &[usize]) {
    for mut arg in indexes.iter().filter_map(|&index| args.get(index)) {
        arg.set_type_coercion(SqlType::String);
    }
}

/// A result that may be NULL and takes up to `max_bytes`; and a call that is made for every row,
/// also where all arguments are constants: each call is a job.
fn describe_result(cfg: &UdfCfg<Init>, max_bytes: usize) {
    cfg.set_maybe_null(true);
    cfg.set_max_len(max_bytes as u64);
    cfg.set_is_const(false);
}

/// The job that the arguments of this row describe. A NULL workload is an empty one.
fn job<'a>(mode: Mode, args: &'a ArgList<'a, Process>, unique: usize) -> Result<Job<'a>, Error> {
    let function = args::string(args, FUNCTION)?
        .ok_or_else(|| input("function is NULL, expected the name that a worker registered"))?;
    let workload = args::string(args, WORKLOAD)?.unwrap_or_default();
    let unique = match args.len() > unique {
        true => args::string(args, unique)?,
        false => None,
    };
    Job::new(mode, function, workload, unique)
}

/// Submits a background job; answers its handle.
fn submit<'a>(
    name: &str,
    job: &Job<'_>,
    handle: &'a mut Vec<u8>,
) -> Result<Option<&'a [u8]>, Error> {
    match CLIENT.submit(job, &limits()) {
        Ok(submitted) => {
            failure::note_success(name, &submitted.passed_over);
            *handle = submitted.handle;
            Ok(Some(handle))
        }
        Err(error) => failure::settle(name, error),
    }
}

fn input(problem: &str) -> Error {
    Error::Input(problem.to_owned())
}
