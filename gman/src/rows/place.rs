//! Places in the order of a primary key, and the conditions that say which rows lie between them.
//!
//! A value is kept as a literal of SQL that compares as the value does: strings byte by byte in the
//! character set of their column, so that its collation decides, and numbers with all digits.

use super::hand_over::ROW;
use crate::sql::{literal, quoted};
use crate::triggers::table::Column;

/// The values of a primary key, as literals, one for each of its columns.
pub(crate) type Place = Vec<String>;

/// A primary key.
#[derive(Debug, Clone)]
pub(crate) struct Key(Vec<Column>);

/// The rows behind one place, up to another and with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) after: Option<Place>,
    pub(crate) up_to: Option<Place>,
}

impl Key {
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self(columns.to_vec())
    }

    /// Whether its order depends on the time zone of the session.
    pub(crate) fn has_timestamp(&self) -> bool {
        self.0.iter().any(|column| column.kind == "timestamp")
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.0
    }

    /// The expressions whose values [`Key::place`] makes literals of.
    pub(crate) fn texts(&self) -> String {
        let texts: Vec<String> = self.0.iter().map(text).collect();
        texts.join(", ")
    }

    /// The place of a row, by the values of [`Key::texts`].
    pub(crate) fn place(&self, texts: impl IntoIterator<Item = String>) -> Place {
        let values = self.0.iter().zip(texts);
        values.map(|(column, text)| value(column, &text)).collect()
    }

    /// Whether a place that was written down somewhere can be one of this key: nothing else may get into a
    /// statement.
    pub(crate) fn can_be(&self, place: &Place) -> bool {
        place.len() == self.0.len()
            && self
                .0
                .iter()
                .zip(place)
                .all(|(column, literal)| is_value(column, literal))
    }

    /// The columns, for ORDER BY.
    pub(crate) fn order(&self, direction: &str) -> String {
        let columns: Vec<String> = self
            .0
            .iter()
            .map(|column| format!("{} {direction}", name(column)))
            .collect();
        columns.join(", ")
    }

    /// The rows of a part.
    pub(crate) fn is_in(&self, part: &Part) -> String {
        let conditions = [
            part.after.as_ref().map(|place| self.beyond(place, ">")),
            part.up_to.as_ref().map(|place| self.beyond(place, "<=")),
        ];
        let conditions: Vec<String> = conditions.into_iter().flatten().collect();
        match conditions.is_empty() {
            true => "TRUE".to_owned(),
            false => conditions.join(" AND "),
        }
    }

    /// The one row at a place.
    pub(crate) fn is_at(&self, place: &Place) -> String {
        let equal: Vec<String> = self
            .0
            .iter()
            .zip(place)
            .map(|(column, value)| format!("{} = {value}", name(column)))
            .collect();
        format!("({})", equal.join(" AND "))
    }

    /// `a > 1 OR (a = 1 AND b > 2)`: servers find no range for a comparison of rows. `a >= 1` before
    /// it says the same again, for those that find none for OR either.
    fn beyond(&self, place: &Place, last: &str) -> String {
        let strict = &last[..1];
        let columns: Vec<String> = self.0.iter().map(name).collect();
        let Some(end) = columns.len().checked_sub(1) else {
            return "TRUE".to_owned();
        };
        let mut condition = format!("{} {last} {}", columns[end], place[end]);
        for at in (0..end).rev() {
            let (column, value) = (&columns[at], &place[at]);
            condition = format!(
                "{column} {strict}= {value} AND ({column} {strict} {value} OR ({column} = {value} AND {condition}))"
            );
        }
        format!("({condition})")
    }
}

fn name(column: &Column) -> String {
    format!("{ROW}.{}", quoted(&column.name))
}

fn text(column: &Column) -> String {
    let name = name(column);
    match column.kind.as_str() {
        // Their order is that of their numbers.
        "bit" | "enum" | "set" => format!("CAST({name} AS UNSIGNED)"),
        // A FLOAT as the DOUBLE that it is compared as.
        "float" | "double" => format!("CONCAT({name} + 0e0)"),
        _ if column.charset.is_some() || column.is_binary() => format!("HEX({name})"),
        _ => format!("CONCAT({name})"),
    }
}

fn value(column: &Column, text: &str) -> String {
    match column.kind.as_str() {
        "bit" | "enum" | "set" | "tinyint" | "smallint" | "mediumint" | "int" | "bigint"
        | "decimal" | "year" => text.to_owned(),
        // With an exponent it is a DOUBLE.
        "float" | "double" if text.contains('e') => text.to_owned(),
        "float" | "double" => format!("{text}e0"),
        _ if column.is_binary() => format!("_binary x'{text}'"),
        _ => match &column.charset {
            Some(charset) => format!("_{charset} x'{text}'"),
            None => literal(text),
        },
    }
}

/// Whether a literal is one that [`value`] makes.
fn is_value(column: &Column, literal: &str) -> bool {
    let text = match column.kind.as_str() {
        "float" | "double" => literal.strip_suffix("e0").unwrap_or(literal).to_owned(),
        _ => match literal.split_once('\'') {
            None => literal.to_owned(),
            Some(("", rest)) => {
                let inner = rest.strip_suffix('\'').unwrap_or_default();
                inner.replace("''", "'").replace("\\\\", "\\")
            }
            Some((_, rest)) => rest.trim_end_matches('\'').to_owned(),
        },
    };
    let allowed = match column.kind.as_str() {
        _ if literal.starts_with('\'') => |_: char| true,
        _ if literal.ends_with('\'') => |letter: char| letter.is_ascii_hexdigit(),
        _ => |letter: char| letter.is_ascii_digit() || ".-+e".contains(letter),
    };
    text.chars().all(allowed) && !literal.is_empty() && value(column, &text) == literal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(columns: &[(&str, &str, Option<&str>)]) -> Key {
        let column = |(name, kind, charset): &(&str, &str, Option<&str>)| Column {
            name: (*name).to_owned(),
            kind: (*kind).to_owned(),
            charset: charset.map(str::to_owned),
            precision: 0,
        };
        Key(columns.iter().map(column).collect())
    }

    #[test]
    fn rows_beyond_a_place_are_those_of_its_order() {
        let key = key(&[("a", "int", None), ("b", "int", None)]);
        let place = key.place(["1".to_owned(), "2".to_owned()]);
        let part = Part {
            after: Some(place.clone()),
            up_to: Some(place.clone()),
        };
        assert_eq!(
            key.is_in(&part),
            "(gman_row.`a` >= 1 AND (gman_row.`a` > 1 OR (gman_row.`a` = 1 AND gman_row.`b` > 2))) AND \
             (gman_row.`a` <= 1 AND (gman_row.`a` < 1 OR (gman_row.`a` = 1 AND gman_row.`b` <= 2)))"
        );
        assert_eq!(key.is_at(&place), "(gman_row.`a` = 1 AND gman_row.`b` = 2)");
        assert_eq!(key.is_in(&Part::default()), "TRUE");
    }

    #[test]
    fn values_are_literals_that_compare_as_they_do() {
        let key = key(&[
            ("a", "varchar", Some("gbk")),
            ("b", "binary", None),
            ("c", "double", None),
            ("d", "float", None),
            ("e", "datetime", None),
            ("f", "enum", Some("utf8mb4")),
        ]);
        let texts = ["BABA", "00", "0.5", "1e-10", "2024-02-29 00:00:00", "3"];
        assert_eq!(
            key.place(texts.map(str::to_owned)),
            [
                "_gbk x'BABA'",
                "_binary x'00'",
                "0.5e0",
                "1e-10",
                "'2024-02-29 00:00:00'",
                "3"
            ]
        );
    }

    #[test]
    fn nothing_but_the_values_of_its_columns_can_be_a_place() {
        let of = |kind, charset| key(&[("a", kind, charset)]);
        let is = |kind, charset, literal: &str| of(kind, charset).can_be(&vec![literal.to_owned()]);
        let utf8 = Some("utf8mb4");
        for (kind, charset, text) in [
            ("int", None, "-7"),
            ("decimal", None, "12.50"),
            ("double", None, "0.5"),
            ("float", None, "1e-10"),
            ("varchar", utf8, "BABA"),
            ("varchar", utf8, ""),
            ("binary", None, "00"),
            ("datetime", None, "2024-02-29 00:00:00"),
            ("inet6", None, "it's a \\ \\' '' quote"),
        ] {
            let literal = value(&of(kind, charset).0[0], text);
            assert!(is(kind, charset, &literal), "{kind} {literal}");
        }
        for (kind, charset, literal) in [
            ("int", None, ""),
            ("int", None, "1 OR 1"),
            ("int", None, "SLEEP(9)"),
            ("int", None, "'1'"),
            ("double", None, "1"),
            ("double", None, "(1)e0"),
            ("varchar", utf8, "_utf8mb4 x'41' OR 1 OR x'41'"),
            ("varchar", utf8, "_latin1 x'41'"),
            ("varchar", utf8, "'a'"),
            ("datetime", None, "'2024' OR '1'"),
            ("datetime", None, "'a\\' OR 1 -- '"),
            ("datetime", None, "'"),
        ] {
            assert!(!is(kind, charset, literal), "{kind} {literal}");
        }
        assert!(!of("int", None).can_be(&Vec::new()));
    }
}
