//! Which name an expression gives its member.

use crate::error::Error;

/// The member name in the alias or text of an expression: its part after the last dot, up to the
/// first white space. Parts may stand between backticks, as servers pass them in a trigger.
///
/// A name holds ASCII letters, digits, `_`, `$` and letters outside ASCII, and does not begin with
/// a digit. The messages for names that do not are those of `lib_mysqludf_json`.
pub fn member_name(expression: &[u8]) -> Result<&str, Error> {
    let mut rest = valid_part(expression);
    let is_cut = rest.len() < expression.len();
    let name = loop {
        let (name, after) = match rest.strip_prefix('`').and_then(|text| text.split_once('`')) {
            Some((quoted, after)) => (member_name(quoted.as_bytes())?, after),
            None if rest.is_empty() && is_cut => break rest,
            None => plain_part(rest)?,
        };
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.starts_with(char::is_whitespace) => return Ok(name),
            None => match after.chars().next() {
                Some(c) => return Err(invalid(&format!("name cannot contain '{c}'"))),
                None => break name,
            },
        }
    };
    if is_cut {
        // Servers show as little as 80 characters of a message.
        return Err(invalid(
            "name ends inside a character: give it a shorter one",
        ));
    }
    Ok(name)
}

/// The member name in a constant string: its part after the last dot. White space ends the part
/// that is checked, not the name.
pub fn constant_name(text: &str) -> Result<&str, Error> {
    let mut rest = text;
    while let Some(next) = plain_part(rest)?.1.strip_prefix('.') {
        rest = next;
    }
    Ok(rest)
}

/// `expression` up to the first byte that is not UTF-8.
fn valid_part(expression: &[u8]) -> &str {
    let mut chunks = expression.utf8_chunks();
    chunks.next().map_or("", |chunk| chunk.valid())
}

/// The name that `text` begins with, and what follows it: nothing, a dot, or white space.
fn plain_part(text: &str) -> Result<(&str, &str), Error> {
    let is_end = |c: char| c == '.' || c.is_whitespace();
    let (name, after) = text.split_at(text.find(is_end).unwrap_or(text.len()));
    match text.chars().next() {
        None => return Err(invalid("name cannot be empty")),
        Some(c) if !can_start(c) => return Err(invalid(&format!("name cannot start with '{c}'"))),
        Some(_) => {}
    }
    match name.chars().find(|&c| !can_continue(c)) {
        Some(c) => Err(invalid(&format!("name cannot contain '{c}'"))),
        None => Ok((name, after)),
    }
}

fn can_start(c: char) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '_' | '$') || (!c.is_ascii() && c.is_alphabetic())
}

/// Outside ASCII also the marks that many scripts write their words with, such as Thai tones.
fn can_continue(c: char) -> bool {
    can_start(c)
        || c.is_ascii_digit()
        || (!c.is_ascii() && unicode_ident::is_xid_continue(c) && !c.is_numeric())
}

fn invalid(problem: &str) -> Error {
    Error::Input(format!("Invalid json member name - {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(expression: &[u8]) -> String {
        let message = member_name(expression).unwrap_err().to_string();
        message
            .strip_prefix("Invalid json member name - ")
            .expect(&message)
            .to_owned()
    }

    #[test]
    fn the_name_is_the_last_part_up_to_the_first_white_space() {
        for (expression, name) in [
            ("id", "id"),
            ("t.id", "id"),
            ("db.t.id", "id"),
            ("$a_1", "$a_1"),
            ("a b-c", "a"),
            ("NEW.`name`", "name"),
            ("`new`.`a b`", "a"),
            ("`a`", "a"),
            ("`t`.id /* c */", "id"),
            ("a.b c.d", "b"),
            ("名称", "名称"),
            ("é", "é"),
            ("e\u{301}", "e\u{301}"),
            ("ชื่อ", "ชื่อ"),
        ] {
            assert_eq!(member_name(expression.as_bytes()).unwrap(), name);
        }
    }

    #[test]
    fn a_constant_name_keeps_its_white_space_but_no_qualifier() {
        for (text, name) in [
            ("a", "a"),
            ("a b", "a b"),
            ("t.a b-c", "a b-c"),
            ("a b.c", "a b.c"),
        ] {
            assert_eq!(constant_name(text).unwrap(), name);
        }
        for text in ["", " a", "1a", "a-b", "`a`", "t."] {
            assert!(constant_name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_offending_character_is_named() {
        for (expression, problem) in [
            ("", "name cannot be empty"),
            ("t.", "name cannot be empty"),
            ("1", "name cannot start with '1'"),
            ("'a'", "name cannot start with '''"),
            (" a", "name cannot start with ' '"),
            (".a", "name cannot start with '.'"),
            ("a..b", "name cannot start with '.'"),
            ("`a", "name cannot start with '`'"),
            ("``", "name cannot be empty"),
            ("`a`b", "name cannot contain 'b'"),
            ("a`b`", "name cannot contain '`'"),
            ("a.1", "name cannot start with '1'"),
            ("a-b", "name cannot contain '-'"),
            ("a-b.c", "name cannot contain '-'"),
            ("a(b)", "name cannot contain '('"),
            ("a😀", "name cannot contain '😀'"),
            ("a，b", "name cannot contain '，'"),
        ] {
            assert_eq!(refusal(expression.as_bytes()), problem);
        }
    }

    #[test]
    fn a_name_that_was_cut_inside_a_character_is_refused() {
        let name = "名称".as_bytes();
        assert!(refusal(&name[..5]).contains("ends inside a character"));
        assert!(refusal(b"\xff").contains("ends inside a character"));
        assert_eq!(member_name(b"a \xff").unwrap(), "a");
    }
}
