//! A wire to the job server that flips bits, splits, delays, repeats and reorders what passes, and says what
//! nobody has asked for. The relays of the outbox and the worker meet it in files of their own.
//!
//! Every job has a number, and every number is looked for at the other end. `GMAN_TEST_FAULTS` raises how often
//! each fault comes.

mod calls;

use std::time::Duration;

use crate::support::{Fault, Gearmand, scale};

/// How long what was promised may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a busy machine may add to a bound.
const SLACK: Duration = Duration::from_millis(1500);

/// What a bad wire may cost in memory: far less than one of its answers announces.
pub(crate) const MEMORY_BYTES: u64 = 64 << 20;

/// Each fault, once in so many times.
pub(crate) const FAULTS: [(Fault, u32); 11] = [
    (Fault::FlippedAnswers, 3),
    (Fault::FlippedBits, 3),
    (Fault::Split, 1),
    (Fault::Late(Duration::from_millis(20)), 1),
    (Fault::Twice, 3),
    (Fault::Swapped, 2),
    (Fault::Unasked, 3),
    (Fault::Huge, 5),
    (Fault::EndlessData, 3),
    (Fault::EndlessStatus, 3),
    (Fault::EndlessNoops, 3),
];

/// How often each fault comes before the wire is good again.
pub(crate) fn times() -> u32 {
    scale("GMAN_TEST_FAULTS", 5)
}

/// Starts a job server again after [`Fault::FlippedBits`]: what it makes of such requests is its own business.
pub(crate) fn restart(gearmand: &mut Gearmand) {
    gearmand.kill();
    gearmand.restart();
}

/// Whether what arrives after this fault is what was sent. Gearman's packets have no checksum: a bit of a
/// request that is another makes another request.
pub(crate) fn keeps_requests(fault: Fault) -> bool {
    fault != Fault::FlippedBits
}
