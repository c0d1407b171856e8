//! Text that claims to be JSON already: read once, without building anything.
//!
//! Nothing here allocates: the text is a row's, and a reader that copies a string to undo its escapes
//! would need as much memory again.

use super::escape::is_escaped;

/// How deep containers may be nested in a text that is taken for JSON: one level less than
/// `serde_json` reads by default, because the text ends up inside an object or an array.
const MAX_DEPTH: u8 = 126;

/// How many bytes of a string are looked at at once.
const BLOCK: usize = 64;

/// A number without an exponent is finite if it is no longer than this: a double holds 308 digits.
const FINITE_DIGITS: usize = 300;

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
    value(skip_space(text), MAX_DEPTH).map(skip_space)
}

/// White space as JSON has it (RFC 8259, section 2).
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn skip_space(text: &str) -> &str {
    text.trim_start_matches(is_space)
}

/// Skips one value, in which containers may be nested `depth_left` deep.
fn value(text: &str, depth_left: u8) -> Option<&str> {
    match text.as_bytes().first()? {
        b'"' => string(text),
        b'-' | b'0'..=b'9' => number(text),
        b'[' => container(text, ']', depth_left, value),
        b'{' => container(text, '}', depth_left, member),
        _ => ["null", "true", "false"]
            .iter()
            .find_map(|word| text.strip_prefix(word)),
    }
}

fn member(text: &str, depth_left: u8) -> Option<&str> {
    let rest = skip_space(string(text)?).strip_prefix(':')?;
    value(skip_space(rest), depth_left)
}

/// Skips a bracket, items separated by commas, and the bracket `close`.
fn container<'a>(
    text: &'a str,
    close: char,
    depth_left: u8,
    item: fn(&'a str, u8) -> Option<&'a str>,
) -> Option<&'a str> {
    let depth_left = depth_left.checked_sub(1)?;
    let mut rest = skip_space(&text[1..]);
    if let Some(empty) = rest.strip_prefix(close) {
        return Some(empty);
    }
    loop {
        rest = skip_space(item(rest, depth_left)?);
        match rest.strip_prefix(',') {
            Some(next) => rest = skip_space(next),
            None => return rest.strip_prefix(close),
        }
    }
}

fn string(text: &str) -> Option<&str> {
    let mut rest = text.strip_prefix('"')?;
    loop {
        rest = &rest[plain_bytes(rest.as_bytes())..];
        rest = match rest.as_bytes() {
            [b'"', ..] => return Some(&rest[1..]),
            [b'\\', b'u', ..] => unicode_escape(rest)?,
            [
                b'\\',
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                ..,
            ] => &rest[2..],
            _ => return None,
        };
    }
}

/// How many bytes come before a quote, a backslash or a control character.
fn plain_bytes(bytes: &[u8]) -> usize {
    let plain_blocks = bytes.chunks_exact(BLOCK).take_while(|block| {
        !block
            .iter()
            .fold(false, |any, &byte| any | is_escaped(byte))
    });
    let plain = plain_blocks.count() * BLOCK;
    let more = bytes[plain..].iter().position(|&byte| is_escaped(byte));
    more.map_or(bytes.len(), |more| plain + more)
}

/// Skips `\uXXXX`, or two of them for a character above U+FFFF; half of such a pair is none.
fn unicode_escape(text: &str) -> Option<&str> {
    let (unit, rest) = code_unit(text)?;
    match unit {
        0xd800..=0xdbff => {
            let (low, rest) = code_unit(rest)?;
            (0xdc00..=0xdfff).contains(&low).then_some(rest)
        }
        0xdc00..=0xdfff => None,
        _ => Some(rest),
    }
}

fn code_unit(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.strip_prefix("\\u")?.split_at_checked(4)?;
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let unit = is_hex.then(|| u16::from_str_radix(digits, 16).ok())?;
    Some((unit?, rest))
}

/// Skips a number that a double can hold: RFC 8259, section 6.
fn number(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('-').unwrap_or(text);
    let mut rest = match rest.strip_prefix('0') {
        Some(rest) => rest,
        None => digits(rest)?,
    };
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = digits(fraction)?;
    }
    let exponent = rest.strip_prefix(['e', 'E']);
    if let Some(exponent) = exponent {
        rest = digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))?;
    }
    let length = text.len() - rest.len();
    let is_finite = (exponent.is_none() && length <= FINITE_DIGITS)
        || text[..length].parse::<f64>().is_ok_and(f64::is_finite);
    is_finite.then_some(rest)
}

/// Skips one digit or more.
fn digits(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.len() < text.len()).then_some(rest)
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
