//! Ways in for tests only, behind the feature `test-switches`.

use std::num::NonZeroU8;

use udf::prelude::*;

use crate::host::{args, guard};

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
