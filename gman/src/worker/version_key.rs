//! The name of the key that keeps the version of a row: in the slot of the row's key, so that one script
//! can use both on a cluster.

use std::sync::OnceLock;

use crate::redis_client::{SLOTS, hash_tag, slot};

/// What stands behind a row's key. It begins with a byte that no UTF-8 has: what a job names is UTF-8,
/// so no row can have such a key.
const SUFFIX: &[u8] = b"\xffversion";

/// The row's key and [`SUFFIX`]; and if that is another slot, behind it a number in braces that is in the
/// slot of the row's key.
///
/// The row's key comes first, so that an account that may use the one may use the other.
pub(crate) fn version_key(key: &[u8]) -> Vec<u8> {
    let mut name = [key, SUFFIX].concat();
    if hash_tag(key).is_some() {
        return name;
    }
    let wanted = slot(key);
    if !key.iter().any(|byte| b"{}".contains(byte)) {
        name.extend(format!("{{{}}}", tag(wanted)).into_bytes());
        return name;
    }
    // Braces that mean nothing in the key could mean something in front of others.
    let with = |number: u32| [&name, format!("{{{number}}}").as_bytes()].concat();
    (0..)
        .map(with)
        .find(|name| slot(name) == wanted)
        .unwrap_or(name)
}

/// The smallest number whose digits are in a slot.
fn tag(wanted: u16) -> u32 {
    static TAGS: OnceLock<Vec<u32>> = OnceLock::new();
    let tags = TAGS.get_or_init(|| {
        let mut tags: Vec<Option<u32>> = vec![None; SLOTS.into()];
        let mut missing = SLOTS;
        for number in 0.. {
            let place = &mut tags[usize::from(slot(number.to_string().as_bytes()))];
            if place.is_none() {
                *place = Some(number);
                missing -= 1;
            }
            if missing == 0 {
                break;
            }
        }
        tags.into_iter().flatten().collect()
    });
    tags[usize::from(wanted)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_in_the_slot_of_its_row_and_no_row_can_have_its_name() {
        let keys = [
            "test:1", "", "{user}:1", "a{b}c}", "{}x", "{", "}", "a}b{c", "{}{x}", "ä{", "{a}",
        ];
        let mut names = Vec::new();
        for key in keys {
            let name = version_key(key.as_bytes());
            assert_eq!(slot(&name), slot(key.as_bytes()), "{key}");
            assert!(std::str::from_utf8(&name).is_err(), "{key}");
            assert!(name.starts_with(key.as_bytes()), "{key}");
            assert!(!names.contains(&name), "{key}");
            names.push(name);
        }
        for number in 0..100_000 {
            let key = format!("row:{number}");
            assert_eq!(slot(&version_key(key.as_bytes())), slot(key.as_bytes()));
        }
    }
}
