//! Ways in for tests only, behind the feature `test-switches`.

use std::num::NonZeroU8;

use udf::prelude::*;

use crate::error::Error;
use crate::host::{args, guard};
use crate::{settings, status};

/// `gman_test_set(name, value)`: changes a setting, as `SET GLOBAL` does in a server with the
/// plugin; answers 1.
struct TestSet;

#[register(name = "gman_test_set")]
impl BasicUdf for TestSet {
    type Returns<'a> = Option<i64>;

    fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, String> {
        guard::init(|| {
            for mut arg in args.iter() {
                arg.set_type_coercion(SqlType::String);
            }
            cfg.set_is_const(false);
            Ok(Self)
        })
    }

    fn process<'a>(
        &'a mut self,
        _cfg: &UdfCfg<Process>,
        args: &ArgList<Process>,
        _error: Option<NonZeroU8>,
    ) -> Result<Self::Returns<'a>, ProcessError> {
        guard::row("gman_test_set", || {
            set(&text(args, 0)?, &text(args, 1)?)?;
            Ok(Some(1))
        })
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

#[register(name = "gman_test_status")]
impl BasicUdf for TestStatus {
    type Returns<'a> = Option<i64>;

    fn init(cfg: &UdfCfg<Init>, _args: &ArgList<Init>) -> Result<Self, String> {
        guard::init(|| {
            cfg.set_is_const(false);
            Ok(Self)
        })
    }

    fn process<'a>(
        &'a mut self,
        _cfg: &UdfCfg<Process>,
        args: &ArgList<Process>,
        _error: Option<NonZeroU8>,
    ) -> Result<Self::Returns<'a>, ProcessError> {
        guard::row("gman_test_status", || {
            let name = text(args, 0)?;
            let counter = status::COUNTERS.iter().find(|counter| counter.name == name);
            let gauge = status::GAUGES.iter().find(|gauge| gauge.name == name);
            let value = counter.map(|found| found.get());
            Ok(value
                .or(gauge.map(|found| found.get()))
                .map(|value| value as i64))
        })
    }
}

fn text(args: &ArgList<Process>, index: usize) -> Result<String, Error> {
    let bytes = args::string(args, index)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// `gman_test_panic(where)`: panics in `init` for `'init'`, in the row for anything else.
struct TestPanic;

#[register(name = "gman_test_panic")]
impl BasicUdf for TestPanic {
    type Returns<'a> = Option<&'a [u8]>;

    fn init(_cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, String> {
        guard::init(|| {
            if args::string(args, 0)? == Some(b"init".as_slice()) {
                panic!("asked for in init");
            }
            Ok(Self)
        })
    }

    fn process<'a>(
        &'a mut self,
        _cfg: &UdfCfg<Process>,
        _args: &ArgList<Process>,
        _error: Option<NonZeroU8>,
    ) -> Result<Self::Returns<'a>, ProcessError> {
        guard::row("gman_test_panic", || panic!("asked for in a row"))
    }
}
