//! How long keys stay.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Keys that were written together go one after the other, up to a tenth before their time: or they would
/// all be missed at once.
const JITTER: u64 = 10;

/// The time that a key may stay at most, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expire(pub(super) u32);

impl Expire {
    /// The time for a key, which is always the same.
    pub(super) fn milliseconds(self, key: &str) -> u64 {
        let longest = u64::from(self.0) * 1000;
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        longest - hasher.finish() % (longest / JITTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_within_the_last_tenth_and_not_all_at_once() {
        let of = |key: u32| Expire(60).milliseconds(&format!("test:{key}"));
        let times: Vec<u64> = (0..1000).map(of).collect();
        assert!(times.iter().all(|&time| (54_001..=60_000).contains(&time)));
        let early = times.iter().filter(|&&time| time < 57_000).count();
        assert!((400..600).contains(&early), "{early}");
        assert_eq!(times[0], of(0));
    }
}
