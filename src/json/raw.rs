//! Text that claims to be JSON already: checked by `serde_json` without building a tree.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// How deep containers may be nested in a text that is taken for JSON: one level less than
/// `serde_json` reads by default, because the text ends up inside an object or an array.
const MAX_DEPTH: u8 = 126;

/// Whether `text` is one complete JSON value.
pub fn is_value(text: &str) -> bool {
    after_value(text).is_some_and(str::is_empty)
}

/// Whether `text` is a list of members as between the braces of an object, possibly empty.
pub fn is_members(text: &str) -> bool {
    is_list(text, |item| {
        let item = item.trim_start_matches(is_space);
        if !item.starts_with('"') {
            return None;
        }
        after_value(after_value(item)?.strip_prefix(':')?)
    })
}

/// Whether `text` is a list of values as between the brackets of an array, possibly empty.
pub fn is_values(text: &str) -> bool {
    is_list(text, after_value)
}

/// Whether `text` is blank, or items separated by commas; `after` skips one item.
fn is_list(text: &str, after: impl Fn(&str) -> Option<&str>) -> bool {
    if text.chars().all(is_space) {
        return true;
    }
    let mut rest = text;
    loop {
        rest = match after(rest) {
            None => return false,
            Some("") => return true,
            Some(more) => match more.strip_prefix(',') {
                None => return false,
                Some(next) => next,
            },
        };
    }
}

/// What follows the value at the beginning of `text` and the white space after it; `None` where
/// there is no value.
fn after_value(text: &str) -> Option<&str> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Checked>();
    values.next()?.ok()?;
    Some(text[values.byte_offset()..].trim_start_matches(is_space))
}

/// White space as JSON has it (RFC 8259, section 2).
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// A JSON value that was read and found good; nothing of it is kept.
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let depth_left = MAX_DEPTH;
        Check { depth_left }.deserialize(deserializer)
    }
}

/// Reads a value as `serde_json::Value` would, so that numbers out of range and halves of surrogate
/// pairs are found too, which `IgnoredAny` lets pass.
#[derive(Clone, Copy)]
struct Check {
    depth_left: u8,
}

impl Check {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left }),
            None => Err(E::custom("nested too deep")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Check {
    type Value = Checked;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Checked, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check {
    type Value = Checked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_str<E>(self, _: &str) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Checked, A::Error> {
        let inner = self.deeper()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(Checked)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Checked, A::Error> {
        let inner = self.deeper()?;
        while members.next_key_seed(inner)?.is_some() {
            members.next_value_seed(inner)?;
        }
        Ok(Checked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_complete_json_text() {
        for text in [
            "{}",
            " [1, 2]\n",
            "5",
            "-0.5e3",
            "\"x\"",
            "true",
            "null",
            r#""\ud83d\ude00""#,
            r#"{"":{"a":[]}}"#,
        ] {
            assert!(is_value(text), "{text}");
        }
        for text in [
            "",
            " ",
            "x",
            "01",
            "1.",
            "+1",
            "NaN",
            "nul",
            "[1,]",
            "{\"a\"}",
            "{a:1}",
            "[1] [2]",
            "1,2",
            "\"a\":1",
            "'x'",
            "\"\t\"",
            "\u{feff}1",
            "truefalse",
        ] {
            assert!(!is_value(text), "{text}");
        }
    }

    #[test]
    fn what_readers_of_json_stumble_over_is_not_taken_for_json() {
        assert!(!is_value("1e999"), "a number that no double holds");
        assert!(!is_value(r#""\ud800""#), "half of a surrogate pair");
    }

    #[test]
    fn members_are_what_stands_between_the_braces_of_an_object() {
        for text in [
            "",
            "  ",
            r#""a":1"#,
            r#" "a" : [ 1 ] , "a":"b" "#,
            r#""":null"#,
        ] {
            assert!(is_members(text), "{text}");
        }
        for text in [
            ",",
            r#""a":1,"#,
            r#""a":1 "b":2"#,
            r#""a""#,
            "a:1",
            "1:2",
            r#"{"a":1}"#,
            r#""a":"#,
        ] {
            assert!(!is_members(text), "{text}");
        }
    }

    #[test]
    fn values_are_what_stands_between_the_brackets_of_an_array() {
        for text in ["", "1", r#"1 , "a",null,[2]"#] {
            assert!(is_values(text), "{text}");
        }
        for text in [",", "1,", ",1", "1 2", r#""a":1"#] {
            assert!(!is_values(text), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_within_the_stack_of_a_server_thread() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let depth = usize::from(MAX_DEPTH);
        std::thread::Builder::new()
            .stack_size(256 << 10)
            .spawn(move || {
                assert!(is_value(&nested(depth)));
                assert!(!is_value(&nested(depth + 1)));
                assert!(!is_value(&nested(10_000)));
                assert!(!is_value(&"[".repeat(10_000)));
                assert!(!is_value(&"{\"a\":".repeat(10_000)));
                assert!(!is_members(&format!("\"a\":{}", nested(10_000))));
            })
            .unwrap()
            .join()
            .unwrap();
    }
}
