//! What is done before the server shuts down.

use crate::functions::client::CLIENT;
use crate::host::diagnostics;
use crate::settings;

/// Delivers what is left before the server shuts down, for `gman_timeout_ms` at most; the error log says
/// what was lost.
pub(crate) fn drain() {
    let limit = settings::TIMEOUT.duration();
    if CLIENT.flush(limit, &|| false) == 0 {
        return;
    }
    let left: Vec<String> = CLIENT
        .waiting()
        .iter()
        .map(|(function, jobs)| format!("{jobs} for {function}"))
        .collect();
    let message = format!(
        "after {} ms of waiting no job server has taken these jobs: {}",
        limit.as_millis(),
        left.join(", ")
    );
    diagnostics::log("ERROR", &message);
}
