//! Names and texts in SQL statements.
//!
//! No name ever stands in a comment: a server of the other family, or a client, may end it elsewhere.

use std::fmt::Write as _;

use crate::error::{Error, Result};

/// A table, by the names that the server knows it by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TableName {
    pub(crate) database: String,
    pub(crate) table: String,
}

impl TableName {
    /// Reads `DATABASE.TABLE`, each part in backticks or without a dot and a backtick.
    ///
    /// # Errors
    ///
    /// If it is something else, or no server can have such a name.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let expected = || {
            Error::usage(format!(
                "expected DATABASE.TABLE, got {text}; a name with a dot or a backtick goes in \
                 backticks, `a.b`.`c`"
            ))
        };
        let (database, rest) = identifier(text).ok_or_else(expected)?;
        let rest = rest.strip_prefix('.').ok_or_else(expected)?;
        let (table, rest) = identifier(rest).ok_or_else(expected)?;
        if !rest.is_empty() {
            return Err(expected());
        }
        check(&database)?;
        check(&table)?;
        Ok(Self { database, table })
    }

    /// `` `database`.`table` ``
    pub(crate) fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.database), quoted(&self.table))
    }
}

/// Refuses what no server takes for a name: its tables of names hold the first 65,536 characters of
/// Unicode, without the first of all.
fn check(name: &str) -> Result {
    match name
        .chars()
        .find(|&letter| letter == '\0' || letter > '\u{ffff}')
    {
        None => Ok(()),
        Some(letter) => Err(Error::usage(format!(
            "no table can be called {name}: a server's names cannot hold the character U+{:04X}; \
             check the spelling",
            u32::from(letter)
        ))),
    }
}

/// The name at the beginning of `text`, and what comes after it.
pub(crate) fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('`') else {
        let end = text.find(['.', '`', ',']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        return (!name.is_empty()).then(|| (name.to_owned(), rest));
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let end = rest.find('`')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('`') {
            Some(more) => {
                name.push('`');
                rest = more;
            }
            None => return (!name.is_empty()).then_some((name, rest)),
        }
    }
}

/// Reads `a,b`, each in backticks or without a comma.
pub(crate) fn identifiers(text: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = text;
    loop {
        let (name, after) = identifier(rest)?;
        names.push(name);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return after.is_empty().then_some(names),
        }
    }
}

/// A name in backticks.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A string, for a session without `NO_BACKSLASH_ESCAPES`.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Adds `bytes` to a statement, as a binary string, for a session without `NO_BACKSLASH_ESCAPES`.
pub(crate) fn push_bytes(statement: &mut String, bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        statement.push_str("x'");
        for byte in bytes {
            // Writing to a String cannot fail.
            let _ = write!(statement, "{byte:02X}");
        }
        statement.push('\'');
        return;
    };
    statement.push_str("_binary'");
    let mut from = 0;
    for (at, _) in text.match_indices(['\'', '\\']) {
        statement.push_str(&text[from..at]);
        statement.push('\\');
        from = at;
    }
    statement.push_str(&text[from..]);
    statement.push('\'');
}

/// The names, in backticks and with commas between them.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut list = String::new();
    for name in names {
        let separator = if list.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(list, "{separator}{}", quoted(name));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, String) {
        let name = TableName::parse(text).expect("a name");
        (name.database, name.table)
    }

    #[test]
    fn names_are_read_with_and_without_backticks() {
        for (text, database, table) in [
            ("shop.orders", "shop", "orders"),
            ("`my.shop`.orders", "my.shop", "orders"),
            ("größe.`a``b`", "größe", "a`b"),
            ("`a\n`.`b,c`", "a\n", "b,c"),
        ] {
            assert_eq!(parsed(text), (database.to_owned(), table.to_owned()));
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "", "shop", ".", "a.", ".a", "a.b.c", "`a.b", "``.a", "`a`b.c", "a`b.c",
        ] {
            let error = TableName::parse(text).expect_err(text);
            assert!(
                error.text().starts_with("expected DATABASE.TABLE, got"),
                "{text}"
            );
        }
        for (text, letter) in [("a.😀", "U+1F600"), ("`\0`.a", "U+0000")] {
            let error = TableName::parse(text).expect_err(text);
            assert!(error.text().contains(letter), "{}", error.text());
        }
    }

    #[test]
    fn every_character_comes_back_from_backticks() {
        for letter in (1..=0xffff).filter_map(char::from_u32) {
            let name = format!("a{letter}b");
            assert_eq!(identifier(&quoted(&name)), Some((name, "")));
        }
    }

    #[test]
    fn every_byte_is_in_the_literal() {
        let mut statement = String::new();
        push_bytes(&mut statement, br#"{"a":"it's \"b\" \n"}"#);
        push_bytes(&mut statement, b"\xff\0");
        push_bytes(&mut statement, b"");
        assert_eq!(
            statement,
            r#"_binary'{"a":"it\'s \\"b\\" \\n"}'x'FF00'_binary''"#
        );
    }
}
