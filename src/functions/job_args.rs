//! The arguments that describe a job, and what is said about the result.

use udf::prelude::*;

use crate::error::Error;
use crate::functions::{allowed, callers};
use crate::gearman::wire::job::{Job, MAX_FUNCTION_BYTES, Mode, Priority};
use crate::host::args;

/// Where a row's id is, in the form that has one.
const ID: usize = 0;

/// Where it says whose word is waited for, in the form that may.
const CONFIRM: usize = 4;

/// What the arguments are, and how the job is run.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// `(function, workload[, unique])`: returns the worker's result.
    Foreground(Priority),
    /// `(function, workload[, unique])`: returns the job handle.
    Background(Priority),
    /// `(function, workload, epoch[, unique])`: returns the job handle.
    Epoch,
    /// `(id, function, workload[, unique[, confirm]])`: returns an id.
    Relay,
}

impl Form {
    /// Where the function's name is.
    fn function(self) -> usize {
        match self {
            Self::Foreground(_) | Self::Background(_) | Self::Epoch => 0,
            Self::Relay => ID + 1,
        }
    }

    /// Where the workload is.
    fn workload(self) -> usize {
        self.function() + 1
    }

    /// Where the time is.
    fn epoch(self) -> Option<usize> {
        match self {
            Self::Foreground(_) | Self::Background(_) | Self::Relay => None,
            Self::Epoch => Some(self.workload() + 1),
        }
    }

    /// Where the unique id is, which is the last argument and may be left out.
    fn unique(self) -> usize {
        self.epoch().unwrap_or(self.workload()) + 1
    }

    /// How many arguments there may be at most.
    fn most(self) -> usize {
        match self {
            Self::Foreground(_) | Self::Background(_) | Self::Epoch => self.unique() + 1,
            Self::Relay => CONFIRM + 1,
        }
    }
}

/// Checks the caller and the arguments before the first row; in the words of the C plugin, if it had any.
pub(super) fn check(form: Form, args: &ArgList<Init>) -> Result<(), Error> {
    callers::check()?;
    let unique = form.unique();
    if args.len() < unique || args.len() > form.most() {
        return Err(input(match form {
            Form::Foreground(_) | Form::Background(_) => "Must give two or three arguments.",
            Form::Epoch => "Must give three or four arguments.",
            Form::Relay => "Must give three to five arguments.",
        }));
    }
    match form {
        Form::Foreground(_) | Form::Background(_) | Form::Epoch => check_function(form, args)?,
        // A column, whose name is checked with its row: one bad row must not stop the others.
        Form::Relay => {
            ask_for_id(args);
            args::ask_for_text(args, form.function());
            args::ask_for_text(args, CONFIRM);
        }
    }
    if let Some(epoch) = form.epoch() {
        check_epoch(epoch, args)?;
    }
    args::ask_for_text(args, form.workload());
    args::ask_for_text(args, unique);
    Ok(())
}

fn check_function(form: Form, args: &ArgList<Init>) -> Result<(), Error> {
    let function = form.function();
    let may_be_null = !args::is_placeholder(args, function)
        && args.get(function).is_none_or(|arg| arg.maybe_null());
    if may_be_null || args::kind(args, function) != Some(SqlType::String) {
        return Err(input("First argument must be a string."));
    }
    match args::constant_string(args, function) {
        Some(name) if name.len() > MAX_FUNCTION_BYTES => Err(input("Function name too long.")),
        _ => Ok(()),
    }
}

/// A string would be a date more often than not, of which the server makes the number 2026. What is bound to a
/// placeholder stays one, and is read with its row.
fn check_epoch(index: usize, args: &ArgList<Init>) -> Result<(), Error> {
    if args::kind(args, index) == Some(SqlType::String) {
        if args::is_placeholder(args, index) {
            return Ok(());
        }
        return Err(input(
            "Third argument must be a Unix time in seconds, such as UNIX_TIMESTAMP() + 60.",
        ));
    }
    if let Some(mut epoch) = args.get(index) {
        epoch.set_type_coercion(SqlType::Int);
    }
    Ok(())
}

fn ask_for_id(args: &ArgList<Init>) {
    if let Some(mut id) = args.get(ID) {
        id.set_type_coercion(SqlType::Int);
    }
}

/// The id of this row. A `BIGINT UNSIGNED` arrives as its bits, so one above 2^63-1 is negative here; it could
/// not be returned either, as loadable functions return signed integers.
pub(super) fn id(args: &ArgList<Process>) -> Result<i64, Error> {
    match args.get(ID).map(|id| id.value()) {
        Some(SqlResult::Int(Some(id))) if id >= 0 => Ok(id),
        Some(SqlResult::Int(Some(_))) => Err(input(
            "id is negative or above 9223372036854775807, expected a whole number from 0 to that",
        )),
        _ => Err(input("id is NULL, expected a whole number")),
    }
}

/// Whose word this row waits for: `true` if it is the worker's.
pub(super) fn is_confirmed_by_worker(args: &ArgList<Process>) -> Result<bool, Error> {
    if args.len() <= CONFIRM {
        return Ok(false);
    }
    match args::string(args, CONFIRM)? {
        None | Some(b"gearmand") => Ok(false),
        Some(b"worker") => Ok(true),
        Some(_) => Err(input("confirm must be 'gearmand' or 'worker'.")),
    }
}

/// A result that may be NULL and takes up to `max_bytes`; and a call that is made for every row,
/// even if all arguments are constants: each call counts.
pub(super) fn describe_result(cfg: &UdfCfg<Init>, max_bytes: usize) {
    cfg.set_maybe_null(true);
    cfg.set_max_len(max_bytes as u64);
    cfg.set_is_const(false);
}

/// The job of this row. A NULL workload is an empty one, a NULL unique id is none.
pub(super) fn job<'a>(form: Form, args: &'a ArgList<'a, Process>) -> Result<Job<'a>, Error> {
    let function = args::string(args, form.function())?
        .ok_or_else(|| input("function is NULL, expected the name that a worker registered"))?;
    allowed::check(function)?;
    let workload = args::string(args, form.workload())?.unwrap_or_default();
    let unique = match args.len() > form.unique() {
        true => args::string(args, form.unique())?,
        false => None,
    };
    Job::new(mode(form, args)?, function, workload, unique)
}

fn mode(form: Form, args: &ArgList<Process>) -> Result<Mode, Error> {
    match form {
        Form::Foreground(priority) => Ok(Mode::Foreground(priority)),
        Form::Background(priority) => Ok(Mode::Background(priority)),
        Form::Relay => Ok(match is_confirmed_by_worker(args)? {
            false => Mode::Background(Priority::Normal),
            true => Mode::Foreground(Priority::Normal),
        }),
        Form::Epoch => {
            let epoch = form.epoch().and_then(|index| args.get(index));
            match epoch.map(|epoch| epoch.value()) {
                Some(SqlResult::Int(Some(seconds))) => u64::try_from(seconds).ok(),
                Some(SqlResult::String(Some(digits))) => str::from_utf8(digits)
                    .ok()
                    .and_then(|text| text.parse().ok()),
                _ => None,
            }
            .map(Mode::Epoch)
            .ok_or_else(|| {
                input("epoch is NULL, negative or no number, expected a Unix time in seconds")
            })
        }
    }
}

fn input(problem: &str) -> Error {
    Error::Input(problem.to_owned())
}
