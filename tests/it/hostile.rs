//! Servers and people that mean harm: what `gman` does then stays bounded, and says so in one clear line.

mod database;
mod files;
mod redis;
mod results;
mod texts;

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Ran, ran};

/// What every message has at its end at most: nothing that a terminal obeys.
#[track_caller]
fn assert_plain(text: &str) {
    let harmful = |letter: char| letter.is_control() && letter != '\n' && letter != '\t';
    assert!(!text.contains(harmful), "{text:?}");
}

/// Runs a command to its end, which has to come in time and in order, and returns what it printed and said.
#[track_caller]
fn ends_within(limit: Duration, command: &mut Command) -> Ran {
    let began = Instant::now();
    let ran = ran(command.output().expect("gman starts"));
    let took = began.elapsed();
    println!("{took:?}: {}", ran.said);
    assert!(took < limit, "{took:?}");
    assert!(matches!(ran.status, Some(0..=2)), "{ran:?}");
    assert_plain(&ran.said);
    ran
}

/// As [`ends_within`], for what has to fail.
#[track_caller]
fn fails_within(limit: Duration, command: &mut Command) -> Ran {
    let ran = ends_within(limit, command);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    ran
}
