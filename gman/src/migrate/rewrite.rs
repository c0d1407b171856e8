//! Calls are renamed in a text of SQL, byte for byte: nothing else changes.

use std::iter;

/// A function's old name and its new one.
pub(super) type Names = [(&'static str, &'static str)];

/// The functions of the C plugin that native ones have the names of.
pub(super) const RENAMED: [(&str, &str); 2] = [
    ("json_array", "json_array_udf"),
    ("json_object", "json_object_udf"),
];

/// What stands before a name that is followed by a parenthesis and still no call.
const NO_CALL_AFTER: [&[u8]; 22] = [
    b".",
    b"@",
    b"function",
    b"procedure",
    b"call",
    b"table",
    b"view",
    b"into",
    b"insert",
    b"replace",
    b"ignore",
    b"low_priority",
    b"high_priority",
    b"delayed",
    b"exists",
    b"index",
    b"key",
    b"unique",
    b"fulltext",
    b"spatial",
    b"references",
    b"trigger",
];

/// How many bytes a character has, where the second one can look like a quote or a backslash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    /// Every byte that looks like ASCII is ASCII.
    Plain,
    /// big5, gbk, sjis, cp932: after a byte of the upper half comes another one.
    Pairs,
    /// As gbk, and four bytes if the second one is a digit.
    Gb18030,
}

impl Charset {
    pub(super) fn named(name: &str) -> Self {
        match name {
            "big5" | "gbk" | "sjis" | "cp932" => Self::Pairs,
            "gb18030" => Self::Gb18030,
            _ => Self::Plain,
        }
    }

    /// The length of the character at the beginning of `text`, which is not empty.
    fn length(self, text: &[u8]) -> usize {
        let is_lead = text[0] > 0x80 && text[0] != 0xff;
        let length = match (self, text.get(1)) {
            (Self::Gb18030, Some(b'0'..=b'9')) if is_lead => 4,
            // Half-width kana are single bytes in sjis; whatever follows them is no ASCII either way.
            (Self::Pairs | Self::Gb18030, Some(0x40..)) if is_lead => 2,
            _ => 1,
        };
        length.min(text.len())
    }
}

/// A text whose calls have been renamed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rewritten {
    pub(super) text: Vec<u8>,
    pub(super) calls: usize,
    /// Lines with strings that may hold a call.
    pub(super) suspects: Vec<usize>,
}

/// Renames the calls of `names` in `text`. `escapes`: whether a backslash escapes what follows it.
pub(super) fn rewrite(text: &[u8], names: &Names, charset: Charset, escapes: bool) -> Rewritten {
    let mut done = Rewritten::default();
    let (mut before, mut line) = (Vec::new(), 1);
    // Where a name stands in the new text that may turn out to be called.
    let mut candidate: Option<(usize, &str, &str)> = None;
    for Token { kind, text } in tokens(text, charset, escapes) {
        let place = done.text.len();
        done.text.extend_from_slice(text);
        line += text.iter().filter(|&&byte| byte == b'\n').count();
        if matches!(kind, Kind::Space | Kind::Comment) {
            continue;
        }
        if let Some((place, old, new)) = candidate.take()
            && text == b"("
        {
            done.text.splice(place..place + old.len(), new.bytes());
            done.calls += 1;
        }
        match kind {
            Kind::Word | Kind::Quoted if !NO_CALL_AFTER.contains(&before.as_slice()) => {
                let quote = usize::from(kind == Kind::Quoted);
                let name = &text[quote..text.len() - quote];
                candidate = names
                    .iter()
                    .find(|(old, _)| name.eq_ignore_ascii_case(old.as_bytes()))
                    .map(|(old, new)| (place + quote, *old, *new));
            }
            Kind::Text if holds_a_call(text, names) => done.suspects.push(line),
            _ => {}
        }
        before = text.to_ascii_lowercase();
    }
    done
}

/// Whether a string looks as if a call were put together in it.
fn holds_a_call(string: &[u8], names: &Names) -> bool {
    names.iter().any(|(name, _)| {
        let name = name.as_bytes();
        let windows = string.windows(name.len()).enumerate();
        windows
            .filter(|(_, window)| window.eq_ignore_ascii_case(name))
            .any(|(at, _)| {
                let is_whole = at == 0 || !is_word(string[at - 1]);
                let mut after = string[at + name.len()..].iter();
                is_whole && after.find(|byte| !is_space(**byte)) == Some(&b'(')
            })
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Comment,
    /// Also the marks of a comment whose text some servers execute.
    Space,
    /// A string.
    Text,
    /// A name in backticks.
    Quoted,
    Word,
    Other,
}

struct Token<'a> {
    kind: Kind,
    text: &'a [u8],
}

/// The tokens of a text; joined they are the text again.
///
/// A dump says itself when backslashes are no escapes: it sets `sql_mode` before it creates a thing.
fn tokens(text: &[u8], charset: Charset, mut escapes: bool) -> impl Iterator<Item = Token<'_>> {
    let mut rest = text;
    let mut last: [Vec<u8>; 2] = Default::default();
    iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (kind, length) = token(rest, charset, escapes);
        let (text, after) = rest.split_at(length);
        rest = after;
        if !matches!(kind, Kind::Space | Kind::Comment) {
            let word = text.to_ascii_lowercase();
            if last[0] == b"sql_mode" && last[1] == b"=" {
                escapes = !contains(&word, b"no_backslash_escapes");
            }
            last.rotate_left(1);
            last[1] = word;
        }
        Some(Token { kind, text })
    })
}

/// The kind and the length of the token at the beginning of `text`, which is not empty.
fn token(text: &[u8], charset: Charset, escapes: bool) -> (Kind, usize) {
    let line = || {
        text.iter()
            .position(|&byte| byte == b'\n')
            .unwrap_or(text.len())
    };
    match text {
        [b'-', b'-', rest @ ..] if rest.first().is_none_or(|&byte| is_space(byte) || byte == 0) => {
            (Kind::Comment, line())
        }
        [b'#', ..] => (Kind::Comment, line()),
        [b'*', b'/', ..] => (Kind::Space, 2),
        [b'/', b'*', rest @ ..] => {
            let executed = rest.strip_prefix(b"M").unwrap_or(rest);
            if let Some(version) = executed.strip_prefix(b"!") {
                let digits = version
                    .iter()
                    .take_while(|byte| byte.is_ascii_digit())
                    .count();
                return (Kind::Space, text.len() - version.len() + digits);
            }
            match rest.windows(2).position(|end| end == b"*/") {
                Some(end) => (Kind::Comment, end + 4),
                None => (Kind::Other, 1),
            }
        }
        // What does not end is left alone to the last byte.
        [quote @ (b'\'' | b'"'), ..] => {
            let end = end_of_string(text, *quote, charset, escapes);
            (Kind::Text, end.unwrap_or(text.len()))
        }
        [b'`', ..] => match end_of_string(text, b'`', charset, false) {
            Some(end) => (Kind::Quoted, end),
            None => (Kind::Other, text.len()),
        },
        [byte, ..] if is_space(*byte) => {
            let spaces = text.iter().take_while(|byte| is_space(**byte)).count();
            (Kind::Space, spaces)
        }
        _ => match word(text, charset) {
            0 => (Kind::Other, 1),
            length => (Kind::Word, length),
        },
    }
}

/// How long the string is that `text` begins with; `None` if it does not end.
fn end_of_string(text: &[u8], quote: u8, charset: Charset, escapes: bool) -> Option<usize> {
    let mut at = 1;
    loop {
        let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
        at += match rest {
            [b'\\', next, ..] if escapes => {
                1 + charset.length(&rest[1..]).max(usize::from(*next > 0))
            }
            [first, second, ..] if *first == quote && *second == quote => 2,
            [first, ..] if *first == quote => return Some(at + 1),
            rest => charset.length(rest),
        };
    }
}

/// How long the word is that `text` begins with.
fn word(text: &[u8], charset: Charset) -> usize {
    let mut at = 0;
    while at < text.len() && is_word(text[at]) {
        at += charset.length(&text[at..]);
    }
    at
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(text: &str) -> String {
        let done = rewrite(text.as_bytes(), &RENAMED, Charset::Plain, true);
        String::from_utf8(done.text).expect("UTF-8")
    }

    #[test]
    fn calls_are_renamed() {
        for (old, new) in [
            ("json_object(1)", "json_object_udf(1)"),
            (
                "SELECT JSON_Object (json_array(1))",
                "SELECT json_object_udf (json_array_udf(1))",
            ),
            ("`json_array`(1)", "`json_array_udf`(1)"),
            ("json_object/* a ' */ (1)", "json_object_udf/* a ' */ (1)"),
            ("json_object -- '\n(1)", "json_object_udf -- '\n(1)"),
            (
                "/*!50003 json_object(1) */",
                "/*!50003 json_object_udf(1) */",
            ),
            (
                "/*M!100302 json_object(1) */",
                "/*M!100302 json_object_udf(1) */",
            ),
            ("'a'json_object('b')", "'a'json_object_udf('b')"),
            ("1-json_object(1)", "1-json_object_udf(1)"),
        ] {
            assert_eq!(rewritten(old), new);
        }
    }

    #[test]
    fn all_else_stays() {
        for text in [
            "",
            "json_object",
            "json_object_udf(1)",
            "my_json_object(1)",
            "json_object$(1)",
            "éjson_object(1)",
            "a.json_object(1)",
            "a . json_object (1)",
            "@json_object (1)",
            "INSERT INTO json_object (a) VALUES (1)",
            "CREATE FUNCTION json_object (a INT)",
            "KEY json_array (a)",
            "'json_object(1)'",
            "\"json_object(1)\"",
            "'it''s \\' json_object(1)'",
            "-- json_object(1)",
            "# json_object(1)",
            "/* json_object(1) */",
            "`a``json_object`(1)",
            "'json_object(1)",
            "/* json_object 1",
        ] {
            assert_eq!(rewritten(text), text);
        }
    }

    #[test]
    fn a_backslash_is_none_where_the_mode_says_so() {
        let text = br"SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT '\', json_object(1), '\'";
        assert_eq!(rewrite(text, &RENAMED, Charset::Plain, true).calls, 1);
        let text = br"SELECT '\', json_object(1), '\'";
        assert_eq!(rewrite(text, &RENAMED, Charset::Plain, false).calls, 1);
        assert_eq!(rewrite(text, &RENAMED, Charset::Plain, true).calls, 0);
    }

    #[test]
    fn the_second_byte_of_a_character_is_no_quote() {
        let text = b"SELECT '\x83\\', json_object(1)";
        assert_eq!(rewrite(text, &RENAMED, Charset::Pairs, true).calls, 1);
        assert_eq!(rewrite(text, &RENAMED, Charset::Plain, true).calls, 0);
        let text = b"SELECT '\x81\x30\x81\x30\x84\\', json_object(1)";
        assert_eq!(rewrite(text, &RENAMED, Charset::Gb18030, true).calls, 1);
    }

    #[test]
    fn strings_that_look_like_calls_are_told_with_their_line() {
        let text = b"a\n'JSON_OBJECT (1)'\n'my_json_object(1)' 'json_array'\n\"x json_array(\n\"";
        let done = rewrite(text, &RENAMED, Charset::Plain, true);
        assert_eq!((done.suspects, done.calls), (vec![2, 5], 0));
        assert_eq!(done.text, text);
    }

    #[test]
    fn only_the_names_that_are_loadable_count() {
        let done = rewrite(
            b"json_object(json_array(1))",
            &RENAMED[1..],
            Charset::Plain,
            true,
        );
        assert_eq!(done.text, b"json_object_udf(json_array(1))");
    }

    #[test]
    fn any_bytes_come_back() {
        for charset in [Charset::Plain, Charset::Pairs, Charset::Gb18030] {
            for first in 0..=255u8 {
                for second in 0..=255u8 {
                    let text = [first, second, b'\'', second, first, b'\\', b'"'];
                    assert_eq!(rewrite(&text, &RENAMED, charset, true).text, text);
                }
            }
        }
    }
}
