//! The gearmand of a benchmark.

use std::env;

use crate::support::Gearmand;

/// The environment variable that chooses its options: `default`, or `tuned` as docs/gearmand.md has them.
const OPTIONS: &str = "GMAN_BENCH_GEARMAND";

/// Starts one, tuned unless the environment says otherwise.
pub(crate) fn start() -> Gearmand {
    match env::var(OPTIONS).as_deref() {
        Ok("default") => Gearmand::start(),
        Ok("tuned") | Err(_) => Gearmand::start_tuned(),
        Ok(other) => panic!("{OPTIONS}={other}: expected default or tuned"),
    }
}
