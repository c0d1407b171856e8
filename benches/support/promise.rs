//! What was promised, and whether it was kept.

use std::process::ExitCode;

/// One bar of a benchmark.
pub(crate) struct Promise {
    pub(crate) promised: String,
    pub(crate) found: String,
    pub(crate) kept: bool,
}

/// Prints the promises; a failure if one was missed.
pub(crate) fn judge(promises: &[Promise]) -> ExitCode {
    println!("\n| promised | found | |\n|---|---|---|");
    for Promise {
        promised,
        found,
        kept,
    } in promises
    {
        let verdict = if *kept { "kept" } else { "MISSED" };
        println!("| {promised} | {found} | {verdict} |");
    }
    match promises.iter().all(|promise| promise.kept) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
