//! `--lane K/N`: one of several workers that share the jobs of a function.

use std::str::FromStr;

/// Lane K of N.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lane(u16);

impl Lane {
    /// The Gearman function of the lane; of none there is none.
    pub(super) fn function(self, function: &str) -> String {
        match function {
            "" => String::new(),
            function => format!("{function}.{}", self.0),
        }
    }
}

impl FromStr for Lane {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/');
        let numbers = numbers.and_then(|(lane, of)| Some((lane.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((lane, of)) if (1..=of).contains(&lane) => Ok(Self(lane)),
            _ => Err("expected K/N, such as 1/4: a lane, and how many there are".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_one_of_those_that_there_are() {
        let function = |text: &str| text.parse().map(|lane: Lane| lane.function("f"));
        assert_eq!(function("4/4"), Ok("f.4".to_owned()));
        for wrong in ["0/4", "5/4", "1", "/", "a/b", "1/70000"] {
            assert!(function(wrong).is_err(), "{wrong}");
        }
    }
}
