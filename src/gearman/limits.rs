//! What bounds a call.

use std::time::Duration;

/// What bounds a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// How long opening one connection may take.
    pub connect: Duration,
    /// How long it may take until a job server has a job, all attempts together.
    pub submit: Duration,
    /// How long a foreground call may take, from the submission to the result.
    pub run: Duration,
    /// How many connections to each server submissions use at the same time.
    pub connections: usize,
    /// Pipelined delivery: how many bytes may wait for an answer.
    pub window_bytes: usize,
    /// How many bytes of jobs one transaction may hold back.
    pub transaction_bytes: usize,
}
