//! Ways in for tests only, behind the feature `test-switches`.

use udf::prelude::*;

use crate::error::Error;
use crate::host::args;
use crate::host::function::{Function, PerRow, entry_points};
use crate::{settings, status};

/// `gman_test_set(name, value)`: changes a setting, as `SET GLOBAL` does in a server with the
/// plugin; returns 1.
struct TestSet;

entry_points!(TestSet: PerRow, "gman_test_set");

impl Function for TestSet {
    const NAME: &'static str = "gman_test_set";
    type Output<'a> = i64;

    fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, Error> {
        for mut arg in args.iter() {
            arg.set_type_coercion(SqlType::String);
        }
        cfg.set_is_const(false);
        Ok(Self)
    }
}

impl PerRow for TestSet {
    fn row(&mut self, args: &ArgList<Process>) -> Result<Option<i64>, Error> {
        set(&text(args, 0)?, &text(args, 1)?)?;
        Ok(Some(1))
    }
}

fn set(name: &str, value: &str) -> Result<(), Error> {
    let unknown = || Error::Input(format!("no setting {name} takes {value}"));
    if let Some(number) = settings::NUMBERS.iter().find(|number| number.name == name) {
        number.set(value.parse().map_err(|_| unknown())?);
    } else if let Some(choice) = settings::CHOICES.iter().find(|choice| choice.name == name) {
        let place = choice.choices.iter().position(|choice| *choice == value);
        choice.set(place.ok_or_else(unknown)?);
    } else if let Some(switch) = settings::SWITCHES.iter().find(|switch| switch.name == name) {
        switch.set(value == "ON");
    } else {
        return Err(unknown());
    }
    Ok(())
}

/// `gman_test_status(name)`: a counter or a gauge, as `SHOW GLOBAL STATUS` does in a server with the plugin.
struct TestStatus;

entry_points!(TestStatus: PerRow, "gman_test_status");

impl Function for TestStatus {
    const NAME: &'static str = "gman_test_status";
    type Output<'a> = i64;

    fn init(cfg: &UdfCfg<Init>, _args: &ArgList<Init>) -> Result<Self, Error> {
        cfg.set_is_const(false);
        Ok(Self)
    }
}

impl PerRow for TestStatus {
    fn row(&mut self, args: &ArgList<Process>) -> Result<Option<i64>, Error> {
        let name = text(args, 0)?;
        let counter = status::COUNTERS.iter().find(|counter| counter.name == name);
        let gauge = status::GAUGES.iter().find(|gauge| gauge.name == name);
        let value = counter.map(|found| found.get());
        Ok(value
            .or(gauge.map(|found| found.get()))
            .map(|value| value as i64))
    }
}

fn text(args: &ArgList<Process>, index: usize) -> Result<String, Error> {
    let bytes = args::string(args, index)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// `gman_test_fail_allocation(n)`: fails the n-th large allocation from now on, none for 0; returns 1 if
/// the one that was to fail before is still to come.
struct TestFailAllocation;

entry_points!(TestFailAllocation: PerRow, "gman_test_fail_allocation");

impl Function for TestFailAllocation {
    const NAME: &'static str = "gman_test_fail_allocation";
    type Output<'a> = i64;

    fn init(cfg: &UdfCfg<Init>, _args: &ArgList<Init>) -> Result<Self, Error> {
        cfg.set_is_const(false);
        Ok(Self)
    }
}

impl PerRow for TestFailAllocation {
    fn row(&mut self, args: &ArgList<Process>) -> Result<Option<i64>, Error> {
        let nth = match args.get(0).map(|arg| arg.value()) {
            Some(SqlResult::Int(Some(nth))) => nth.unsigned_abs(),
            other => return Err(Error::Input(format!("n must be a number, not {other:?}"))),
        };
        #[cfg(not(test))]
        return Ok(Some(crate::host::failing_allocator::fail(nth).into()));
        #[cfg(test)]
        return Ok(Some(i64::try_from(nth).unwrap_or(0)));
    }
}

/// `gman_test_panic(where)`: panics in `init` for `'init'`, in the row for anything else.
struct TestPanic;

entry_points!(TestPanic: PerRow, "gman_test_panic");

impl Function for TestPanic {
    const NAME: &'static str = "gman_test_panic";
    type Output<'a> = &'a [u8];

    fn init(_cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, Error> {
        if args::string(args, 0)? == Some(b"init".as_slice()) {
            panic!("asked for in init");
        }
        Ok(Self)
    }
}

impl PerRow for TestPanic {
    fn row(&mut self, _args: &ArgList<Process>) -> Result<Option<&[u8]>, Error> {
        panic!("asked for in a row")
    }
}
