//! What can be wrong with a Redis.

use std::fmt;

use super::address::Address;
use super::answer::Refusal;

/// The errors that are counted by their names; a Redis that made some up would be counted for ever.
const COUNTED: [&str; 21] = [
    "ASK",
    "BUSY",
    "BUSYKEY",
    "CLUSTERDOWN",
    "CROSSSLOT",
    "ERR",
    "EXECABORT",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOAUTH",
    "NOPERM",
    "NOREPLICAS",
    "NOSCRIPT",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "UNKILLABLE",
    "WRONGPASS",
    "WRONGTYPE",
];

const NO_AUTH: &str = "NOAUTH";
const WRONG_PASS: &str = "WRONGPASS";

/// A Redis did not do what it was asked to.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    address: Address,
    problem: Problem,
}

#[derive(Debug, Clone)]
enum Problem {
    /// There is no connection, or none any more.
    Lost(String),
    Refused(Refusal),
}

impl Fault {
    pub(crate) fn lost(address: &Address, problem: impl ToString) -> Self {
        Self {
            address: address.clone(),
            problem: Problem::Lost(problem.to_string()),
        }
    }

    /// The first word of an error that Redis is known to have, `ERR` for any other, or `lost` without one.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.problem {
            Problem::Lost(_) => "lost",
            Problem::Refused(refusal) => COUNTED
                .into_iter()
                .find(|known| *known == refusal.code)
                .unwrap_or("ERR"),
        }
    }

    pub(crate) fn refused(address: &Address, refusal: Refusal) -> Self {
        Self {
            address: address.clone(),
            problem: Problem::Refused(refusal),
        }
    }
}

impl Refusal {
    /// Whether whoever asked is not let in.
    pub(super) fn is_about_login(&self) -> bool {
        [NO_AUTH, WRONG_PASS].contains(&self.code.as_str())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.address)?;
        match &self.problem {
            Problem::Lost(problem) => f.write_str(problem),
            Problem::Refused(refusal) if refusal.code == NO_AUTH => f.write_str(
                "it wants a password and was given none: set GMAN_REDIS to redis://:PASSWORD@HOST:PORT/",
            ),
            // A Redis without a password calls it an error of its own kind.
            Problem::Refused(refusal)
                if refusal.code == WRONG_PASS || refusal.text.contains("AUTH") =>
            {
                write!(
                    f,
                    "it refuses the password or the account: {refusal}; correct GMAN_REDIS or --redis"
                )
            }
            Problem::Refused(refusal) => refusal.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(code: &str) -> &'static str {
        let refusal = Refusal {
            code: code.to_owned(),
            text: String::new(),
        };
        Fault::refused(&Address::Unix("/s".into()), refusal).kind()
    }

    #[test]
    fn what_redis_makes_up_is_counted_as_one() {
        assert_eq!(kind("LOADING"), "LOADING");
        for code in ["", "MADEUP", "A".repeat(60_000).as_str(), "err"] {
            assert_eq!(kind(code), "ERR", "{code:.20}");
        }
    }
}
