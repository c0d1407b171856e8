//! Triggers that name another schema than their own, as those of a dump that was restored under another
//! name do: what they send overwrites the keys of the original.

use super::describe::Existing;
use crate::sql::quoted;

/// The schema whose keys a trigger sends, if it is not its own.
fn foreign_schema(trigger: &Existing) -> Option<String> {
    let end = format!(".{}:", trigger.on.table);
    prefixes(&trigger.body).into_iter().find_map(|prefix| {
        let schema = prefix.strip_suffix(&end)?;
        (schema != trigger.on.database).then(|| schema.to_owned())
    })
}

/// What is wrong with a trigger, and what to do.
pub(super) fn complaint(trigger: &Existing) -> Option<String> {
    let schema = foreign_schema(trigger)?;
    Some(format!(
        "trigger {} sends keys of the schema {}, as a copy does: gman triggers --create {} makes it anew",
        trigger.name.quoted(),
        quoted(&schema),
        trigger.on.quoted()
    ))
}

/// The strings with which the body's calls of CONCAT begin.
pub(crate) fn prefixes(body: &str) -> Vec<String> {
    body.split("CONCAT('").skip(1).map(text).collect()
}

/// A string's text, without the quote before it.
pub(super) fn text(literal: &str) -> String {
    let mut text = String::new();
    let mut letters = literal.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' if letters.next_if_eq(&'\'').is_none() => break,
            '\\' => text.extend(letters.next()),
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::TableName;

    fn trigger(database: &str, table: &str, body: &str) -> Existing {
        let name = TableName {
            database: database.to_owned(),
            table: table.to_owned(),
        };
        Existing {
            on: name.clone(),
            name,
            event: String::new(),
            timing: String::new(),
            order: 1,
            body: body.to_owned(),
        }
    }

    #[test]
    fn a_copy_is_known_by_the_schema_in_its_keys() {
        let body = r"json_object_udf('key', CONCAT('it''s.a\\b:', NEW.`id`), 'row', NULL)";
        assert_eq!(foreign_schema(&trigger("it's", r"a\b", body)), None);
        let foreign = foreign_schema(&trigger("copy", r"a\b", body));
        assert_eq!(foreign.as_deref(), Some("it's"));
        assert_eq!(foreign_schema(&trigger("copy", "other", body)), None);
        let chosen = "CONCAT('orders:', NEW.`id`)";
        assert_eq!(foreign_schema(&trigger("copy", "orders", chosen)), None);
    }
}
