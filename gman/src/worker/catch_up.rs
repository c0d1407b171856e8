//! Keeps the jobs of a worker that was killed, or whose connection was lost, from being written after newer
//! ones: gearmand puts them behind all others.
//!
//! gearmand numbers jobs as they come in, so a smaller number is an older job. That holds while it runs, and
//! therefore on one connection. Once its queue was empty for the first time, every job that it had put back has
//! come, and from then on jobs come in their order. One that has a start time comes late on purpose, and
//! would look old for ever.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::change::Change;

/// How many keys are remembered at most, which takes some 20 MB; the order of others is as gearmand has it.
const MAX_KEYS: usize = 1 << 20;

/// What has come on a connection, until the queue was empty.
pub(super) struct CatchUp {
    /// The number of the newest job of each key; `None` once the queue was empty.
    newest: Option<HashMap<u64, u32>>,
    /// Keys are remembered by their hashes. Nobody can choose keys with the same one, and in a queue of a
    /// million keys two have it once in thirty million times.
    hasher: RandomState,
}

impl CatchUp {
    /// A connection has been opened.
    pub(super) fn new() -> Self {
        Self {
            newest: Some(HashMap::new()),
            hasher: RandomState::new(),
        }
    }

    /// Whether a newer job of this function and key has come before this one. Says no of a change that does
    /// not replace what is there, as what the older one says beyond the newer one would be lost; and of one
    /// with a version, which knows better.
    pub(super) fn is_overtaken(&mut self, function: &[u8], handle: &[u8], change: &Change) -> bool {
        let Some(newest) = &mut self.newest else {
            return false;
        };
        let counts = change.is_whole() && change.version.is_none();
        let Some(number) = number(handle).filter(|_| counts) else {
            return false;
        };
        let key = self.hasher.hash_one((function, &change.key));
        let known = newest.get(&key).copied();
        let is_overtaken = known.is_some_and(|known| is_newer(known, number));
        if !is_overtaken && (known.is_some() || newest.len() < MAX_KEYS) {
            newest.insert(key, number);
        }
        is_overtaken
    }

    /// The queue was empty.
    pub(super) fn end(&mut self) {
        self.newest = None;
    }
}

/// The number in a handle, `H:host:number`.
fn number(handle: &[u8]) -> Option<u32> {
    let number = handle.rsplit(|&byte| byte == b':').next()?;
    str::from_utf8(number).ok()?.parse().ok()
}

/// Whether job `one` is newer than `other`: gearmand counts in 32 bits, and then from the beginning.
fn is_newer(one: u32, other: u32) -> bool {
    (1..=u32::MAX / 2).contains(&one.wrapping_sub(other))
}

#[cfg(test)]
mod tests {
    use super::super::change::Write;
    use super::*;

    fn change(key: &str, write: Write) -> Change {
        Change {
            key: key.to_owned(),
            write,
            version: None,
            expire_ms: None,
            publish: None,
        }
    }

    #[test]
    fn an_older_job_of_a_key_is_overtaken_until_the_queue_was_empty() {
        let mut catch_up = CatchUp::new();
        let mut overtaken = |function: &[u8], handle: &[u8], key| {
            catch_up.is_overtaken(function, handle, &change(key, Write::Delete))
        };
        assert!(!overtaken(b"f", b"H:a:b:7", "k"));
        assert!(overtaken(b"f", b"H:a:b:6", "k"));
        assert!(!overtaken(b"f", b"H:a:b:6", "other"));
        assert!(!overtaken(b"g", b"H:a:b:6", "k"));
        assert!(!overtaken(b"f", b"strange", "k"));
        assert!(!overtaken(b"f", b"H:a:b:8", "k"));
        assert!(overtaken(b"f", b"H:a:b:7", "k"));
        catch_up.end();
        assert!(!catch_up.is_overtaken(b"f", b"H:a:b:6", &change("k", Write::Delete)));
    }

    #[test]
    fn a_change_of_some_fields_is_never_left_out() {
        let mut catch_up = CatchUp::new();
        for number in [2, 1] {
            let handle = format!("H:a:{number}");
            let some = change("k", Write::Merge(Default::default()));
            assert!(!catch_up.is_overtaken(b"f", handle.as_bytes(), &some));
        }
    }

    #[test]
    fn numbers_go_on_from_the_beginning() {
        assert!(is_newer(1, 0) && !is_newer(0, 1) && !is_newer(1, 1));
        assert!(is_newer(3, u32::MAX - 3) && !is_newer(u32::MAX - 3, 3));
    }
}
