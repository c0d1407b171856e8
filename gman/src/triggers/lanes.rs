//! Over which Gearman functions a trigger spreads its jobs, as [`script`](super::script) writes it.

use super::copies;

/// `FUNCTION.1` to `FUNCTION.COUNT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lanes {
    pub(crate) function: String,
    pub(crate) count: u16,
}

impl Lanes {
    /// Reads `IFNULL(CONCAT('FUNCTION.', 1 + CRC32(KEY) % COUNT), '')` in the body of a trigger.
    pub(crate) fn of(body: &str) -> Option<Self> {
        let (_, rest) = body.split_once("IFNULL(CONCAT('")?;
        let (_, after) = rest.split_once(", 1 + CRC32(")?;
        let counts = after.split(") % ").skip(1);
        let mut counts = counts.filter_map(|after| after.split_once("), '')")?.0.parse().ok());
        Some(Self {
            function: copies::text(rest).strip_suffix('.')?.to_owned(),
            count: counts.next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_read_whatever_the_key_begins_with() {
        let body = "DO gman_do_background(IFNULL(CONCAT('it''s.', 1 + CRC32(CONCAT('a) % b:', NEW.`id`)) % 4), ''), \
                    json_object_udf('key', 1))";
        let expected = Lanes {
            function: "it's".to_owned(),
            count: 4,
        };
        assert_eq!(Lanes::of(body), Some(expected));
        for none in [
            "DO gman_do_background('f', 1)",
            "IFNULL(CONCAT('f', 2), '')",
        ] {
            assert_eq!(Lanes::of(none), None);
        }
    }
}
