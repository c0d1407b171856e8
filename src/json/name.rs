//! Which name an expression gives its member.

use crate::error::Error;

/// The longest name, in bytes: servers cut what is longer, so a longer one is not whole.
const MAX_NAME_BYTES: usize = 255;

/// The member name in the alias or text of an expression: its part after the last dot, up to the
/// first white space.
///
/// A name holds ASCII letters, digits, `_`, `$` and letters outside ASCII, and does not begin with
/// a digit. The messages for names that do not are those of `lib_mysqludf_json`.
pub fn member_name(expression: &[u8]) -> Result<&str, Error> {
    let text = valid_part(expression);
    let start = last_part(text)?;
    let name = &text[start..];
    match name.find(char::is_whitespace) {
        Some(end) => Ok(&name[..end]),
        None if text.len() < expression.len() => Err(invalid(&format!(
            "name is not UTF-8 after '{text}', or was cut there for its length; \
             write expression AS `name`"
        ))),
        None if name.len() > MAX_NAME_BYTES => Err(invalid(&format!(
            "name is longer than {MAX_NAME_BYTES} bytes"
        ))),
        None => Ok(name),
    }
}

/// The member name in a constant string: its part after the last dot. White space ends the part
/// that is checked, not the name.
pub fn constant_name(text: &str) -> Result<&str, Error> {
    last_part(text).map(|start| &text[start..])
}

/// `expression` up to the first byte that is not UTF-8.
fn valid_part(expression: &[u8]) -> &str {
    expression
        .utf8_chunks()
        .next()
        .map_or("", |chunk| chunk.valid())
}

/// Where the unqualified name begins in `text`, once everything up to its end is checked.
fn last_part(text: &str) -> Result<usize, Error> {
    let mut start = 0;
    for (at, c) in text.char_indices() {
        match c {
            _ if at == start && !can_start(c) => {
                return Err(invalid(&format!("name cannot start with '{c}'")));
            }
            _ if c.is_whitespace() => return Ok(start),
            '.' => start = at + 1,
            _ if !can_continue(c) => return Err(invalid(&format!("name cannot contain '{c}'"))),
            _ => {}
        }
    }
    if start == text.len() {
        return Err(invalid("name cannot be empty"));
    }
    Ok(start)
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
    fn the_offending_character_is_named() {
        for (expression, problem) in [
            ("", "name cannot be empty"),
            ("t.", "name cannot be empty"),
            ("1", "name cannot start with '1'"),
            ("'a'", "name cannot start with '''"),
            (" a", "name cannot start with ' '"),
            (".a", "name cannot start with '.'"),
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
    fn a_name_that_was_cut_is_refused() {
        let name = "名".repeat(85);
        assert_eq!(member_name(name.as_bytes()).unwrap(), name);
        let longer = format!("a{name}");
        assert!(refusal(longer.as_bytes()).contains("longer than 255 bytes"));
        assert!(refusal(&longer.as_bytes()[..255]).contains("was cut there"));
        assert_eq!(member_name(b"a \xff").unwrap(), "a");
    }
}
