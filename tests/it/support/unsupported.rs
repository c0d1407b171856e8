//! Tests that the server under test cannot run.

use std::io::{self, Write};

/// Ends a test that the server under test cannot run, for the reason given as for `format!`.
///
/// Ask the server, do not go by its version: a server that learns the thing is then tested.
/// The test counts as passed to cargo, so the reason is printed even where output is captured,
/// and `scripts/matrix` shows it in place of the result.
macro_rules! unsupported {
    ($($reason:tt)+) => {{
        fn here() {}
        $crate::support::report_unsupported(std::any::type_name_of_val(&here), &format!($($reason)+));
        return;
    }};
}

pub(crate) use unsupported;

/// Prints one line, `unsupported: TEST: REASON`; `place` is the path of a function in the test.
pub(crate) fn report_unsupported(place: &str, reason: &str) {
    let test = place
        .split("::")
        .filter(|part| *part != "{{closure}}")
        .skip(1)
        .collect::<Vec<_>>();
    let test = test[..test.len().saturating_sub(1)].join("::");
    let line = format!("unsupported: {test}: {}\n", reason.replace('\n', " "));
    // Not eprint!, which a passing test keeps to itself.
    io::stderr()
        .write_all(line.as_bytes())
        .unwrap_or_else(|error| panic!("cannot say why {test} is left out: {error}"));
}
