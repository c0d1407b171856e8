//! Where a node of a cluster says that a key is.

use crate::redis_client::{Address, Refusal};

/// `MOVED 3999 10.0.0.1:6381`, or the same with `ASK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Redirect {
    /// The slot is there from now on.
    Moved { slot: u16, to: Address },
    /// The slot is on its way there; this key is there already, or is new.
    Ask { slot: u16, to: Address },
}

impl Redirect {
    /// What a refusal of the node `from` says, if it says where to go.
    pub(super) fn of(refusal: &Refusal, from: &Address) -> Option<Self> {
        let (slot, place) = refusal.text.split_once(' ')?;
        // An IPv6 address has colons too.
        let (host, port) = place.rsplit_once(':')?;
        let slot = slot.parse().ok()?;
        let to = from.seen_from(host, port.parse().ok()?);
        match refusal.code.as_str() {
            "MOVED" => Some(Self::Moved { slot, to }),
            "ASK" => Some(Self::Ask { slot, to }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Address {
        let host = host.to_owned();
        Address::Tcp { host, port }
    }

    fn redirect(code: &str, text: &str) -> Option<Redirect> {
        let refusal = Refusal {
            code: code.to_owned(),
            text: text.to_owned(),
        };
        Redirect::of(&refusal, &at("asked", 1))
    }

    #[test]
    fn a_redirect_names_a_slot_and_a_node() {
        let (slot, to) = (3999, at("10.0.0.1", 6381));
        let moved = redirect("MOVED", "3999 10.0.0.1:6381");
        assert_eq!(moved, Some(Redirect::Moved { slot, to }));
        let (slot, to) = (1, at("::1", 7));
        assert_eq!(redirect("ASK", "1 ::1:7"), Some(Redirect::Ask { slot, to }));
        let to = at("asked", 7);
        assert_eq!(redirect("ASK", "1 :7"), Some(Redirect::Ask { slot, to }));
        assert_eq!(redirect("ERR", "1 a:7"), None);
        assert_eq!(redirect("MOVED", "a"), None);
    }
}
