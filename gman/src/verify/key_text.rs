//! From a key in Redis back to the row that it would be of: a condition on the primary key. It may be
//! true for other rows too, such as those that a collation takes for equal; whoever asks compares the
//! keys of what is found.

use mysql::Conn;

use crate::connections::{Ask, refused};
use crate::error::Result;
use crate::rows::hand_over::ROW;
use crate::rows::place::Key;
use crate::sql::{literal, quoted};
use crate::triggers::table::Column;

/// Types whose texts have two colons.
const WITH_COLONS: [&str; 3] = ["datetime", "timestamp", "time"];

/// Character sets that hold UTF-8, and how long a character may be there.
const UTF8: [(&str, usize); 4] = [("utf8mb4", 4), ("utf8mb3", 3), ("utf8", 3), ("ascii", 1)];

/// For each text, which is a key without its prefix, the condition for its row; `None` if no row can have
/// that key.
///
/// # Errors
///
/// If the server is gone.
pub(super) fn conditions(
    conn: &mut Conn,
    key: &Key,
    texts: &[&str],
) -> Result<Vec<Option<String>>> {
    let columns = key.columns();
    let parts: Vec<Option<Vec<String>>> = texts.iter().map(|text| parts(columns, text)).collect();
    let mut conditions: Vec<Option<Vec<String>>> = parts
        .iter()
        .map(|parts| parts.as_ref().map(|_| Vec::new()))
        .collect();
    for (at, column) in columns.iter().enumerate() {
        let of_column = parts
            .iter()
            .map(|parts| parts.as_ref().map(|parts| parts[at].as_str()));
        let values = values(conn, column, &of_column.collect::<Vec<_>>())?;
        for (condition, value) in conditions.iter_mut().zip(values) {
            match (condition.as_mut(), value) {
                (Some(condition), Some(value)) => condition.push(value),
                _ => *condition = None,
            }
        }
    }
    Ok(conditions
        .into_iter()
        .map(|condition| condition.map(|parts| format!("({})", parts.join(" AND "))))
        .collect())
}

/// The texts of the columns.
fn parts(columns: &[Column], text: &str) -> Option<Vec<String>> {
    if columns.len() == 1 {
        return Some(vec![text.to_owned()]);
    }
    let pieces: Vec<&str> = text.split(':').collect();
    let lengths = |with_timestamps: bool| -> Vec<usize> {
        let length = |column: &Column| {
            let has_colons = WITH_COLONS.contains(&column.kind.as_str());
            let is_number = column.kind == "timestamp" && !with_timestamps;
            if has_colons && !is_number { 3 } else { 1 }
        };
        columns.iter().map(length).collect()
    };
    let lengths = [true, false]
        .into_iter()
        .map(lengths)
        .find(|lengths| lengths.iter().sum::<usize>() == pieces.len())?;
    let mut rest = &pieces[..];
    let mut parts = Vec::with_capacity(columns.len());
    for (column, length) in columns.iter().zip(lengths) {
        let (first, others) = rest.split_at(length);
        rest = others;
        let part = first.join(":");
        parts.push(match column.charset {
            Some(_) if column.kind != "enum" && column.kind != "set" => decoded(&part)?,
            _ => part,
        });
    }
    Some(parts)
}

/// Takes `%25` and `%3A` back.
fn decoded(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut decoded = pieces.next()?.to_owned();
    for piece in pieces {
        let (letter, rest) = match (piece.strip_prefix("25"), piece.strip_prefix("3A")) {
            (Some(rest), _) => ('%', rest),
            (_, Some(rest)) => (':', rest),
            _ => return None,
        };
        decoded.push(letter);
        decoded.push_str(rest);
    }
    Some(decoded)
}

/// The conditions on one column.
fn values(conn: &mut Conn, column: &Column, texts: &[Option<&str>]) -> Result<Vec<Option<String>>> {
    let name = format!("{ROW}.{}", quoted(&column.name));
    let is_name = column.kind == "enum" || column.kind == "set";
    match &column.charset {
        Some(charset) if !is_name => {
            let hex = in_charset(conn, charset, texts)?;
            Ok(hex
                .into_iter()
                .map(|hex| hex.map(|hex| format!("{name} = _{charset} x'{hex}'")))
                .collect())
        }
        _ => Ok(texts
            .iter()
            .map(|text| condition(column, &name, (*text)?))
            .collect()),
    }
}

fn condition(column: &Column, name: &str, text: &str) -> Option<String> {
    let has_only = |allowed: &str| {
        let known = |letter: char| letter.is_ascii_digit() || allowed.contains(letter);
        (!text.is_empty() && text.chars().all(known)).then_some(())
    };
    let equal = |value: String| Some(format!("{name} = {value}"));
    match column.kind.as_str() {
        _ if column.is_binary() => {
            let is_hex =
                text.len().is_multiple_of(2) && text.chars().all(|c| c.is_ascii_hexdigit());
            is_hex.then(|| format!("{name} = _binary x'{text}'"))
        }
        "enum" | "set" => equal(literal(text)),
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "year" | "bit" => {
            has_only("-.")?;
            let number: f64 = text.parse().ok()?;
            number.is_finite().then(|| format!("{name} = {text}"))
        }
        // A FLOAT has more digits than its text.
        "float" | "double" => {
            has_only("-.e+")?;
            let number: f64 = text.parse().ok()?;
            let margin = number.abs() * 1e-6;
            let (low, high) = (number - margin, number + margin);
            Some(format!("{name} BETWEEN {low:e} AND {high:e}"))
        }
        "timestamp" => match text.strip_suffix('Z') {
            Some(text) => {
                has_time(text)?;
                equal(literal(&text.replace('T', " ")))
            }
            None if text.contains(':') => {
                has_time(text)?;
                equal(literal(text))
            }
            None => {
                has_only(".")?;
                equal(format!("FROM_UNIXTIME({text})"))
            }
        },
        "date" | "datetime" => {
            has_time(text)?;
            equal(literal(text))
        }
        "time" => {
            has_only("-:.")?;
            equal(literal(text))
        }
        // UUID and the addresses of MariaDB.
        _ => {
            let known = |letter: char| letter.is_ascii_hexdigit() || ":.-".contains(letter);
            text.chars()
                .all(known)
                .then(|| format!("{name} = {}", literal(text)))
        }
    }
}

/// Whether a text can be a date that every server reads: with a month and a day of the calendar.
fn has_time(text: &str) -> Option<()> {
    let known = |letter: char| letter.is_ascii_digit() || "-: .T".contains(letter);
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u32>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    (text.chars().all(known) && month <= 12 && day <= days).then_some(())
}

/// The bytes of texts in another character set, as hexadecimal digits; `None` for a text that is not in it.
fn in_charset(
    conn: &mut Conn,
    charset: &str,
    texts: &[Option<&str>],
) -> Result<Vec<Option<String>>> {
    let utf8 = |text: &str| -> String { text.bytes().map(|byte| format!("{byte:02X}")).collect() };
    if let Some((_, most)) = UTF8.iter().find(|(name, _)| *name == charset) {
        let fits = |text: &&str| text.chars().all(|letter| letter.len_utf8() <= *most);
        return Ok(texts
            .iter()
            .map(|text| text.filter(fits).map(utf8))
            .collect());
    }
    let known: Vec<&str> = texts.iter().flatten().copied().collect();
    if known.is_empty() {
        return Ok(texts.iter().map(|_| None).collect());
    }
    let converted: Vec<String> = known
        .iter()
        .map(|text| format!("HEX(CONVERT(_utf8mb4 x'{}' USING {charset}))", utf8(text)))
        .collect();
    let row: Option<mysql::Row> = conn
        .ask_first(format!("SELECT {}", converted.join(", ")))
        .map_err(|error| refused("convert keys", &error))?;
    let mut hex = row.map(mysql::Row::unwrap).unwrap_or_default().into_iter();
    Ok(texts
        .iter()
        .map(|text| {
            (*text)?;
            mysql::from_value_opt::<Option<String>>(hex.next()?).ok()?
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: &str, charset: Option<&str>) -> Column {
        Column {
            name: "a".to_owned(),
            kind: kind.to_owned(),
            charset: charset.map(str::to_owned),
            precision: 0,
        }
    }

    #[test]
    fn a_key_is_taken_apart_by_the_types_of_its_columns() {
        let columns = [
            column("varchar", Some("utf8mb4")),
            column("datetime", None),
            column("int", None),
        ];
        assert_eq!(
            parts(&columns, "a%3Ab%25:2024-02-29 10:00:00:7"),
            Some(vec![
                "a:b%".to_owned(),
                "2024-02-29 10:00:00".to_owned(),
                "7".to_owned()
            ])
        );
        for text in ["a:7", "a%:2024-02-29 10:00:00:7", ""] {
            assert_eq!(parts(&columns, text), None, "{text}");
        }
        assert_eq!(parts(&columns[..1], "a:b%"), Some(vec!["a:b%".to_owned()]));
    }

    #[test]
    fn what_no_row_can_have_has_no_condition() {
        let of = |kind: &str, text: &str| condition(&column(kind, None), "a", text);
        assert_eq!(of("int", "-7").as_deref(), Some("a = -7"));
        assert_eq!(of("binary", "00FF").as_deref(), Some("a = _binary x'00FF'"));
        assert_eq!(
            of("timestamp", "2024-02-29T10:00:00Z").as_deref(),
            Some("a = '2024-02-29 10:00:00'")
        );
        for (kind, text) in [
            ("int", "1:cache"),
            ("int", "1-2"),
            ("int", ""),
            ("binary", "0"),
            ("binary", "x'"),
            ("datetime", "2023-02-29 10:00:00"),
            ("datetime", "'"),
            ("uuid", "'"),
            ("double", "e"),
        ] {
            assert_eq!(of(kind, text), None, "{kind} {text}");
        }
    }
}
