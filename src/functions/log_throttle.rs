//! At most one line of each job server in the error log per second, and a count of the rest.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::host::diagnostics;

/// The error log gets one line per server in this time.
const LOG_EVERY: Duration = Duration::from_secs(1);

static THROTTLE: LazyLock<Mutex<Throttle>> = LazyLock::new(Mutex::default);

/// Whether the throttle has left anything out that no line has counted yet.
static LEFT_OUT: AtomicBool = AtomicBool::new(false);

fn throttle() -> MutexGuard<'static, Throttle> {
    // Nothing in here panics half way.
    THROTTLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes `message` about `server` to the error log, unless the server had its line already.
pub(super) fn log(server: &str, message: &str) {
    let verdict = throttle().judge(server, Instant::now());
    match verdict {
        None => LEFT_OUT.store(true, Ordering::Relaxed),
        Some(0) => diagnostics::log("Warning", message),
        Some(left_out) => diagnostics::log(
            "Warning",
            &format!("{message} ({left_out} more failures since the line before)"),
        ),
    }
}

/// Writes down what is owed, once all goes well again; costs one load if nothing is.
pub(super) fn report_left_out() {
    if LEFT_OUT.load(Ordering::Relaxed) {
        log_what_was_left_out();
    }
}

#[cold]
fn log_what_was_left_out() {
    let mut throttle = throttle();
    let left_out_lines = throttle.take_left_out(Instant::now());
    LEFT_OUT.store(throttle.owes(), Ordering::Relaxed);
    drop(throttle);
    for (server, left_out) in left_out_lines {
        let message = format!("{server}: {left_out} more failures since the line before");
        diagnostics::log("Warning", &message);
    }
}

/// Decides which failures get a line.
#[derive(Debug, Default)]
struct Throttle {
    servers: HashMap<String, Lines>,
}

#[derive(Debug)]
struct Lines {
    last: Instant,
    left_out: u64,
}

impl Throttle {
    /// Whether a failure of `server` gets a line now; if so, how many went without since the last.
    fn judge(&mut self, server: &str, now: Instant) -> Option<u64> {
        let Some(lines) = self.servers.get_mut(server) else {
            let first = Lines {
                last: now,
                left_out: 0,
            };
            self.servers.insert(server.to_owned(), first);
            return Some(0);
        };
        if now.duration_since(lines.last) < LOG_EVERY {
            lines.left_out += 1;
            return None;
        }
        lines.last = now;
        Some(std::mem::take(&mut lines.left_out))
    }

    /// What is owed and may be logged now, by server.
    fn take_left_out(&mut self, now: Instant) -> Vec<(String, u64)> {
        let mut left_out_lines = Vec::new();
        for (server, lines) in &mut self.servers {
            if lines.left_out > 0 && now.duration_since(lines.last) >= LOG_EVERY {
                lines.last = now;
                left_out_lines.push((server.clone(), std::mem::take(&mut lines.left_out)));
            }
        }
        left_out_lines
    }

    fn owes(&self) -> bool {
        self.servers.values().any(|lines| lines.left_out > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn one_line_per_server_and_second_with_a_count_of_the_rest() {
        let mut throttle = Throttle::default();
        let now = Instant::now();
        assert_eq!(throttle.judge("a", now), Some(0));
        assert_eq!(throttle.judge("b", now), Some(0));
        for ms in 0..999 {
            assert_eq!(throttle.judge("a", now + ms * MS), None);
        }
        assert_eq!(throttle.judge("a", now + 1000 * MS), Some(999));
        assert_eq!(throttle.judge("a", now + 2000 * MS), Some(0));
    }

    #[test]
    fn what_was_left_out_last_is_still_counted() {
        let mut throttle = Throttle::default();
        let now = Instant::now();
        throttle.judge("a", now);
        throttle.judge("a", now + MS);
        assert!(throttle.take_left_out(now + 999 * MS).is_empty());
        assert!(throttle.owes());
        assert_eq!(
            throttle.take_left_out(now + 1000 * MS),
            [("a".to_owned(), 1)]
        );
        assert!(!throttle.owes());
    }
}
