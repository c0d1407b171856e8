//! Every setting: its name, default, unit, range and current value. Nothing else holds a default.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

/// A whole number that can be changed while the server runs.
pub struct Number {
    /// The name in SQL, with its unit: `_ms` for milliseconds, `_bytes` for bytes.
    pub name: &'static str,
    /// The value without any configuration.
    pub default: u64,
    /// The smallest value that is accepted.
    pub min: u64,
    /// The largest value that is accepted.
    pub max: u64,
    current: AtomicU64,
}

impl Number {
    const fn new(name: &'static str, default: u64, min: u64, max: u64) -> Self {
        Self {
            name,
            default,
            min,
            max,
            current: AtomicU64::new(default),
        }
    }

    /// The value in force.
    pub fn get(&self) -> u64 {
        self.current.load(Ordering::Relaxed)
    }

    /// The value in force of a setting in milliseconds.
    pub fn duration(&self) -> Duration {
        Duration::from_millis(self.get())
    }

    /// Changes the value; one outside the range becomes the nearest end of it.
    pub fn set(&self, value: u64) {
        self.current
            .store(value.clamp(self.min, self.max), Ordering::Relaxed);
    }
}

/// What happens to the statement when a job could not be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum OnFailure {
    /// The function answers NULL, as the C plugin did.
    Null,
    /// NULL, a warning where the server lets us, and a line in the error log.
    Warning,
    /// The statement fails.
    Error,
}

/// One of [`OnFailure`]'s values, by name in SQL.
pub struct OnFailureSetting {
    current: AtomicU8,
}

impl OnFailureSetting {
    /// The names in SQL, in the order of [`OnFailure`]'s values.
    pub const NAMES: [&str; 3] = ["null", "warning", "error"];

    /// The value in force.
    pub fn get(&self) -> OnFailure {
        match self.current.load(Ordering::Relaxed) {
            0 => OnFailure::Null,
            1 => OnFailure::Warning,
            _ => OnFailure::Error,
        }
    }

    /// Changes the value.
    pub fn set(&self, value: OnFailure) {
        self.current.store(value as u8, Ordering::Relaxed);
    }
}

/// `gman_connect_timeout_ms`: how long opening one connection may take.
pub static CONNECT_TIMEOUT: Number = Number::new("gman_connect_timeout_ms", 250, 1, 60_000);

/// `gman_timeout_ms`: how long a background submission may take, all attempts together.
pub static TIMEOUT: Number = Number::new("gman_timeout_ms", 1_000, 1, 3_600_000);

/// `gman_max_idle`: idle connections kept per server.
pub static MAX_IDLE: Number = Number::new("gman_max_idle", 16, 0, 10_000);

/// `gman_on_failure`.
pub static ON_FAILURE: OnFailureSetting = OnFailureSetting {
    current: AtomicU8::new(OnFailure::Warning as u8),
};
