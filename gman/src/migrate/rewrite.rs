//! Calls are renamed in a text of SQL, byte for byte: nothing else changes.

use gearman_mysql_udf::old_sql::names::can_call_after;
use gearman_mysql_udf::old_sql::tokens::{Dialect, Kind, Token, Tokens, is_in_word, is_space};

/// A function's old name and its new one.
pub(super) type Names = [(&'static str, &'static str)];

/// The functions of the C plugin that native ones have the names of.
pub(super) const RENAMED: [(&str, &str); 2] = [
    ("json_array", "json_array_udf"),
    ("json_object", "json_object_udf"),
];

/// A text whose calls have been renamed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rewritten {
    pub(super) text: Vec<u8>,
    pub(super) calls: usize,
    /// Lines with strings that may hold a call.
    pub(super) suspects: Vec<usize>,
}

/// Renames the calls of `names` in `text`.
///
/// A dump says itself when backslashes are no escapes: it sets `sql_mode` before it creates a thing.
pub(super) fn rewrite(text: &[u8], names: &Names, dialect: Dialect) -> Rewritten {
    let mut done = Rewritten::default();
    let mut tokens = Tokens::new(text, dialect);
    // The last token and the one before it.
    let mut before: [Option<Token<'_>>; 2] = [None; 2];
    let mut line = 1;
    // Where a name stands in the new text that may turn out to be called.
    let mut candidate: Option<(usize, &str, &str)> = None;
    while let Some(token) = tokens.next() {
        let start = done.text.len();
        done.text.extend_from_slice(token.text);
        line += token.text.iter().filter(|&&byte| byte == b'\n').count();
        if !token.counts() {
            continue;
        }
        if let Some((start, old, new)) = candidate.take()
            && token.is("(")
        {
            done.text.splice(start..start + old.len(), new.bytes());
            done.calls += 1;
        }
        if let Some(name) = token.name().filter(|_| can_call_after(before[0])) {
            let quote = usize::from(token.kind == Kind::Quoted);
            candidate = names
                .iter()
                .find(|(old, _)| name.eq_ignore_ascii_case(old.as_bytes()))
                .map(|(old, new)| (start + quote, *old, *new));
        }
        if token.kind == Kind::Text && holds_a_call(token.text, names) {
            done.suspects.push(line);
        }
        if sets_the_mode(before) {
            let mode = token.text.to_ascii_lowercase();
            tokens.set_backslash_escapes(!contains(&mode, b"no_backslash_escapes"));
        }
        before = [Some(token), before[0]];
    }
    done
}

/// Whether the last tokens are `sql_mode =`.
fn sets_the_mode([last, before]: [Option<Token<'_>>; 2]) -> bool {
    last.is_some_and(|last| last.is("=")) && before.is_some_and(|before| before.is("sql_mode"))
}

/// Whether a string looks as if a call were put together in it.
fn holds_a_call(string: &[u8], names: &Names) -> bool {
    names.iter().any(|(name, _)| {
        let name = name.as_bytes();
        let windows = string.windows(name.len()).enumerate();
        windows
            .filter(|(_, window)| window.eq_ignore_ascii_case(name))
            .any(|(at, _)| {
                let is_whole = at == 0 || !is_in_word(string[at - 1]);
                let mut after = string[at + name.len()..].iter();
                is_whole && after.find(|byte| !is_space(**byte)) == Some(&b'(')
            })
    })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use gearman_mysql_udf::old_sql::charset::Charset;

    use super::*;

    fn dialect(charset: Charset, backslash_escapes: bool) -> Dialect {
        Dialect {
            charset,
            backslash_escapes,
            ..Dialect::ANY
        }
    }

    fn rewritten(text: &str) -> String {
        let done = rewrite(text.as_bytes(), &RENAMED, dialect(Charset::Utf8, true));
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
        assert_eq!(
            rewrite(text, &RENAMED, dialect(Charset::Utf8, true)).calls,
            1
        );
        let text = br"SELECT '\', json_object(1), '\'";
        assert_eq!(
            rewrite(text, &RENAMED, dialect(Charset::Utf8, false)).calls,
            1
        );
        assert_eq!(
            rewrite(text, &RENAMED, dialect(Charset::Utf8, true)).calls,
            0
        );
    }

    #[test]
    fn the_second_byte_of_a_character_is_no_quote() {
        let text = b"SELECT '\x83\\', json_object(1)";
        assert_eq!(
            rewrite(text, &RENAMED, dialect(Charset::Sjis, true)).calls,
            1
        );
        assert_eq!(
            rewrite(text, &RENAMED, dialect(Charset::Utf8, true)).calls,
            0
        );
        let text = b"SELECT '\x81\x30\x81\x30\x84\\', json_object(1)";
        assert_eq!(
            rewrite(text, &RENAMED, dialect(Charset::Gb18030, true)).calls,
            1
        );
    }

    #[test]
    fn strings_that_look_like_calls_are_told_with_their_line() {
        let text = b"a\n'JSON_OBJECT (1)'\n'my_json_object(1)' 'json_array'\n\"x json_array(\n\"";
        let done = rewrite(text, &RENAMED, dialect(Charset::Utf8, true));
        assert_eq!((done.suspects, done.calls), (vec![2, 5], 0));
        assert_eq!(done.text, text);
    }

    #[test]
    fn only_the_names_that_are_loadable_count() {
        let done = rewrite(b"json_object(json_array(1))", &RENAMED[1..], Dialect::ANY);
        assert_eq!(done.text, b"json_object_udf(json_array(1))");
    }

    #[test]
    fn any_bytes_come_back() {
        for charset in [Charset::Utf8, Charset::Sjis, Charset::Gb18030] {
            for first in 0..=255u8 {
                for second in 0..=255u8 {
                    let text = [first, second, b'\'', second, first, b'\\', b'"'];
                    assert_eq!(rewrite(&text, &RENAMED, dialect(charset, true)).text, text);
                }
            }
        }
    }
}
