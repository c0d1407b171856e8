//! The statements that replace definitions, in an order in which nothing is missed.

use gearman_mysql_udf::old_sql::charset::Charset;

use super::definitions::{Definition, Kind};
use crate::sql::quoted;

/// A definition and what it becomes.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) definition: Definition,
    pub(super) text: Vec<u8>,
    /// The table of a trigger, and the trigger that comes after it.
    pub(super) place: Option<(String, Option<String>)>,
    /// What is granted on a routine.
    pub(super) grants: Vec<String>,
}

/// Which text of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Old,
    New,
}

/// One statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) text: Vec<u8>,
    /// Whether it is a definition, which may hold semicolons.
    pub(super) is_body: bool,
    /// The definition that is missing if this fails: its place among the changes.
    pub(super) creates: Option<usize>,
}

/// What is done in one go: a routine, view or event; or all triggers of a table, because MariaDB
/// creates none beside one that it cannot read.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) statements: Vec<Statement>,
}

/// Saves the session's settings.
const BEGIN: &str = "SET @gman_saved = @@sql_mode, @gman_charset = @@character_set_client,
    @gman_collation = @@collation_connection, @gman_zone = @@time_zone;
";

const END: &str = "SET sql_mode = @gman_saved, character_set_client = @gman_charset,
    collation_connection = @gman_collation, time_zone = @gman_zone;
";

/// Before names, which are in UTF-8 whatever a definition is in.
const IN_UTF8: &str = "SET NAMES utf8mb4";

/// A script for the mysql or mariadb client.
pub(super) fn script(changes: &[Change], side: Side) -> Vec<u8> {
    let mut script = BEGIN.as_bytes().to_vec();
    for step in steps(changes, side) {
        script.push(b'\n');
        for statement in step.statements {
            // The client has to know as well, or it finds quotes and delimiters where there are none.
            if let Some(charset) = statement.client_charset() {
                script.extend_from_slice(format!("charset {charset}\n").as_bytes());
            }
            script.extend(statement.for_client());
        }
    }
    script.extend_from_slice(END.as_bytes());
    script
}

/// The steps that bring all definitions to `side`.
pub(super) fn steps(changes: &[Change], side: Side) -> Vec<Step> {
    let mut steps = Vec::new();
    let numbered: Vec<(usize, &Change)> = changes.iter().enumerate().collect();
    for group in numbered.chunk_by(|(_, a), (_, b)| a.table().is_some() && a.table() == b.table()) {
        let statements = match group[0].1.table() {
            Some(table) => triggers(&table, group, side),
            None => other(group[0], side),
        };
        steps.push(Step { statements });
    }
    steps
}

/// Nobody can write to a table while its triggers are missing. All of them go before the first comes back.
fn triggers(table: &str, group: &[(usize, &Change)], side: Side) -> Vec<Statement> {
    let mut statements = vec![
        Statement::new(IN_UTF8.to_owned()),
        Statement::new(format!("LOCK TABLES {table} WRITE")),
    ];
    for (_, change) in group {
        let name = change.definition.quoted();
        statements.push(Statement::new(format!("DROP TRIGGER {name}")));
    }
    for (number, change) in group {
        statements.extend(context(&change.definition));
        let follower = change
            .place
            .as_ref()
            .and_then(|(_, follower)| follower.as_deref());
        let text = in_order(change.side(side), follower);
        statements.push(Statement::body(text, *number));
    }
    statements.push(Statement::new("UNLOCK TABLES".to_owned()));
    statements
}

fn other((number, change): (usize, &Change), side: Side) -> Vec<Statement> {
    let definition = &change.definition;
    let mut statements = context(definition);
    if matches!(definition.kind, Kind::View | Kind::Event) {
        // In one step, with all that is granted on it.
        statements.push(Statement::body(altered(change.side(side)), number));
        return statements;
    }
    let drop = format!(
        "DROP {} {}",
        definition.kind.word(),
        quoted(&definition.name)
    );
    statements.push(Statement::new(drop));
    statements.push(Statement::body(change.side(side).to_vec(), number));
    statements.push(Statement::new(IN_UTF8.to_owned()));
    statements.extend(change.grants.iter().cloned().map(Statement::new));
    statements
}

/// What the server keeps with the text of a definition.
fn context(definition: &Definition) -> Vec<Statement> {
    let mut statements = vec![
        IN_UTF8.to_owned(),
        format!("USE {}", quoted(&definition.schema)),
        format!(
            "SET character_set_client = {}, collation_connection = {}",
            definition.charset, definition.collation
        ),
    ];
    if let Some(mode) = &definition.sql_mode {
        statements.push(format!("SET sql_mode = '{mode}'"));
    }
    if let Some(zone) = &definition.time_zone {
        statements.push(format!("SET time_zone = '{zone}'"));
    }
    statements.into_iter().map(Statement::new).collect()
}

impl Change {
    pub(super) fn side(&self, side: Side) -> &[u8] {
        match side {
            Side::Old => &self.definition.text,
            Side::New => &self.text,
        }
    }

    fn table(&self) -> Option<String> {
        let (table, _) = self.place.as_ref()?;
        Some(format!(
            "{}.{}",
            quoted(&self.definition.schema),
            quoted(table)
        ))
    }
}

impl Statement {
    fn new(text: String) -> Self {
        Self {
            text: text.into_bytes(),
            is_body: false,
            creates: None,
        }
    }

    fn body(text: Vec<u8>, number: usize) -> Self {
        Self {
            text,
            is_body: true,
            creates: Some(number),
        }
    }

    /// What the client is told before this statement.
    fn client_charset(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.text).ok()?;
        if text == IN_UTF8 {
            return Some("utf8mb4");
        }
        let charset = text.strip_prefix("SET character_set_client = ")?;
        let charset = charset.split(',').next().unwrap_or_default();
        Some(match Charset::named(charset.as_bytes()) {
            Charset::Utf8 | Charset::Other => "utf8mb4",
            Charset::Big5 | Charset::Gbk | Charset::Gb18030 | Charset::Sjis => charset,
        })
    }

    fn for_client(&self) -> Vec<u8> {
        if !self.is_body {
            return [&self.text, b";\n".as_slice()].concat();
        }
        let mut delimiter = b"$$".to_vec();
        while contains(&self.text, &delimiter) {
            delimiter.push(b'$');
        }
        [
            b"DELIMITER ".as_slice(),
            &delimiter,
            b"\n",
            &self.text,
            b" ",
            &delimiter,
            b"\nDELIMITER ;\n",
        ]
        .concat()
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// `CREATE ...` or `CREATE OR REPLACE ...` as `ALTER ...`.
fn altered(text: &[u8]) -> Vec<u8> {
    let mut rest = text.trim_ascii_start();
    for word in ["CREATE", "OR", "REPLACE"] {
        match after_word(rest, word) {
            Some(after) => rest = after.trim_ascii_start(),
            None => break,
        }
    }
    [b"ALTER ", rest].concat()
}

/// What comes after a word, if `text` begins with it.
fn after_word<'a>(text: &'a [u8], word: &str) -> Option<&'a [u8]> {
    let (first, rest) = text.split_at_checked(word.len())?;
    let ends = rest
        .first()
        .is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    (first.eq_ignore_ascii_case(word.as_bytes()) && ends).then_some(rest)
}

/// Has a trigger come before `follower`; triggers are created from the last one to the first.
fn in_order(text: &[u8], follower: Option<&str>) -> Vec<u8> {
    let Some(head) = end_of_head(text) else {
        return text.to_vec();
    };
    let (head, mut body) = text.split_at(head);
    let after = body.trim_ascii_start();
    let named = ["FOLLOWS", "PRECEDES"]
        .iter()
        .find_map(|word| after_word(after, word));
    if let Some(named) = named {
        body = after_name(named.trim_ascii_start());
    }
    let precedes = follower.map_or_else(String::new, |name| format!(" PRECEDES {}", quoted(name)));
    [head, precedes.as_bytes(), body].concat()
}

/// Where `FOR EACH ROW` ends. The names before it stand in backticks or have no spaces.
fn end_of_head(text: &[u8]) -> Option<usize> {
    let mut rest = text;
    while !rest.is_empty() {
        if rest[0] == b'`' {
            rest = after_name(rest);
            continue;
        }
        let mut words = Some(rest);
        for word in ["FOR", "EACH", "ROW"] {
            words = words
                .map(<[u8]>::trim_ascii_start)
                .and_then(|words| after_word(words, word));
        }
        if let Some(body) = words.filter(|_| !rest[0].is_ascii_whitespace()) {
            return Some(text.len() - body.len());
        }
        let word = rest
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_')
            .count();
        rest = &rest[word.max(1)..];
    }
    None
}

/// What comes after the name, in backticks or not, that `text` begins with.
fn after_name(text: &[u8]) -> &[u8] {
    if text.first() != Some(&b'`') {
        let length = text
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..))
            .count();
        return &text[length..];
    }
    let mut at = 1;
    while at < text.len() {
        match &text[at..] {
            [b'`', b'`', ..] => at += 2,
            [b'`', ..] => return &text[at + 1..],
            _ => at += 1,
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(text: &str, follower: Option<&str>) -> String {
        String::from_utf8(in_order(text.as_bytes(), follower)).expect("UTF-8")
    }

    #[test]
    fn a_trigger_is_put_before_the_one_that_came_after_it() {
        for (text, follower, expected) in [
            (
                "CREATE TRIGGER a AFTER INSERT ON t FOR EACH ROW SET @a = 1",
                Some("b`c"),
                "CREATE TRIGGER a AFTER INSERT ON t FOR EACH ROW PRECEDES `b``c` SET @a = 1",
            ),
            (
                "create trigger `FOR EACH ROW` after insert on t for\neach  row FOLLOWS `x y` begin end",
                None,
                "create trigger `FOR EACH ROW` after insert on t for\neach  row begin end",
            ),
            (
                "CREATE TRIGGER a AFTER INSERT ON t FOR EACH ROW PRECEDES x SET @a = 'FOR EACH ROW'",
                Some("y"),
                "CREATE TRIGGER a AFTER INSERT ON t FOR EACH ROW PRECEDES `y` SET @a = 'FOR EACH ROW'",
            ),
        ] {
            assert_eq!(ordered(text, follower), expected);
        }
    }

    #[test]
    fn what_creates_a_view_alters_it() {
        for text in [
            "CREATE VIEW v AS SELECT 1",
            " create or replace VIEW v AS SELECT 1",
        ] {
            assert_eq!(altered(text.as_bytes()), b"ALTER VIEW v AS SELECT 1");
        }
    }

    #[test]
    fn a_delimiter_is_none_of_the_text() {
        let statement = Statement::body(b"BEGIN SELECT '$$'; END".to_vec(), 0);
        let expected = b"DELIMITER $$$\nBEGIN SELECT '$$'; END $$$\nDELIMITER ;\n";
        assert_eq!(statement.for_client(), expected);
    }
}
