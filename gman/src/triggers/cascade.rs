//! Triggers on the tables that a table's foreign keys refer to. What ON DELETE and ON UPDATE do to its
//! rows fires none of its own.

use mysql::Conn;

use super::describe::{self, Cascade, Described, Existing, Rule};
use super::script::{Jobs, Style, Trigger};
use super::table::{Row, shortened};
use crate::error::Result;
use crate::sql::{TableName, quoted};

/// The child's row in the statements of the parent's trigger.
const CHILD: &str = "gman_child";

/// When the triggers on a parent run.
const TIMES: [(&str, &str); 3] = [
    ("BEFORE", "DELETE"),
    ("BEFORE", "UPDATE"),
    ("AFTER", "UPDATE"),
];

/// What can be done for a table, and what cannot.
#[derive(Debug, Default)]
pub(super) struct Cascading {
    pub(super) triggers: Vec<Trigger>,
    pub(super) impossible: Vec<String>,
}

/// The triggers on the parents of a table.
///
/// # Errors
///
/// If the server cannot be asked about the parents.
pub(super) fn triggers(conn: &mut Conn, described: &Described, style: &Style) -> Result<Cascading> {
    let mut cascading = Cascading::default();
    let mut parents: Vec<&TableName> = Vec::new();
    for key in &described.cascades {
        match reason_against(described, key, style) {
            Some(reason) => cascading.impossible.push(format!(
                "{}: --cascade cannot follow the key {}, {}: {reason}",
                described.table.name.quoted(),
                quoted(&key.name),
                key.rules()
            )),
            None if parents.contains(&&key.parent) => {}
            None => parents.push(&key.parent),
        }
    }
    for parent in parents {
        if let Some(above) = describe::cascades(conn, parent)?.first() {
            cascading.impossible.push(format!(
                "{} is itself the child of {} by the key {}, {}: changes that come from there are not seen",
                parent.quoted(),
                above.parent.quoted(),
                quoted(&above.name),
                above.rules()
            ));
        }
        let existing = describe::triggers_of(conn, parent)?;
        for (timing, event) in TIMES {
            let Some(trigger) = trigger(described, parent, (timing, event), style) else {
                continue;
            };
            match existing.iter().find(|other| is_in_the_way(other, &trigger, timing)) {
                None => cascading.triggers.push(trigger),
                Some(other) => cascading.impossible.push(format!(
                    "this server allows one {timing} {event} trigger on a table, and {} has {}: add the \
                     statements of ours to it",
                    parent.quoted(),
                    quoted(&other.name.table)
                )),
            }
        }
    }
    Ok(cascading)
}

/// Whether a trigger is one on a parent of `table`.
pub(super) fn is_for(trigger: &Existing, table: &TableName) -> bool {
    TIMES.iter().any(|&(timing, event)| {
        trigger.timing == timing
            && trigger.event == event
            && trigger.name.table == name(table, &trigger.on, timing, event)
    })
}

/// Whether a trigger on `parent` whose name begins so is one that [`name`] names.
pub(super) fn is_of_a_parent(beginning: &str, parent: &str) -> bool {
    TIMES.iter().any(|(timing, _)| {
        let end = format!("_{}_{parent}", timing.to_ascii_lowercase());
        beginning.ends_with(&end)
    })
}

fn is_in_the_way(other: &Existing, trigger: &Trigger, timing: &str) -> bool {
    other.order == 0
        && other.timing == timing
        && other.event == trigger.event
        && other.name.table != trigger.name.table
}

/// Why a key has to be left alone.
fn reason_against(described: &Described, key: &Cascade, style: &Style) -> Option<String> {
    let table = &described.table;
    if key.parent == table.name {
        return Some("it refers to the table itself".to_owned());
    }
    let sends_rows = key.on_delete == Rule::SetNull || key.on_update != Rule::Refuse;
    if sends_rows && style.dialect.native && table.columns.iter().any(|column| column.is_binary()) {
        return Some("--native-json cannot check the size of binary columns there".to_owned());
    }
    let sets_null = [key.on_delete, key.on_update].contains(&Rule::SetNull);
    let sent = |column: &&String| table.columns.iter().any(|sent| sent.name == **column);
    match described.generated.iter().find(sent) {
        Some(column) if sets_null => Some(format!(
            "the generated column {} has no new value yet when the trigger runs; leave it out with --except",
            quoted(column)
        )),
        _ => None,
    }
}

/// The trigger for one event of the parent, if any key asks for it.
fn trigger(
    described: &Described,
    parent: &TableName,
    (timing, event): (&'static str, &'static str),
    style: &Style,
) -> Option<Trigger> {
    let table = &described.table.name;
    let jobs = Jobs::new(&described.table, style).into(parent);
    let bodies: Vec<String> = described
        .cascades
        .iter()
        .filter(|key| key.parent == *parent && reason_against(described, key, style).is_none())
        .filter_map(|key| match (timing, event) {
            ("BEFORE", "DELETE") => match key.on_delete {
                Rule::Refuse => None,
                Rule::Cascade => {
                    Some(jobs.delete_from(&Row::new(CHILD), &children(described, key, "OLD")))
                }
                Rule::SetNull => Some(with_null(&jobs, described, key)),
            },
            ("BEFORE", _) if key.on_update == Rule::SetNull => {
                Some(if_moved(key, &with_null(&jobs, described, key)))
            }
            ("AFTER", _) if key.on_update == Rule::Cascade => {
                Some(if_moved(key, &followed(&jobs, described, key)))
            }
            _ => None,
        })
        .collect();
    if bodies.is_empty() {
        return None;
    }
    let name = TableName {
        database: parent.database.clone(),
        table: name(table, parent, timing, event),
    };
    Some(Trigger::new(
        name,
        parent,
        timing,
        event,
        &bodies.join("\n"),
    ))
}

/// The children of the parent's row OLD or NEW.
fn children(described: &Described, key: &Cascade, row: &str) -> String {
    let equal: Vec<String> = key
        .columns
        .iter()
        .map(|(column, of_parent)| {
            format!("{CHILD}.{} = {row}.{}", quoted(column), quoted(of_parent))
        })
        .collect();
    format!(
        "FROM {} AS {CHILD} WHERE {}",
        described.table.name.quoted(),
        equal.join(" AND ")
    )
}

/// The children as they are after SET NULL.
fn with_null(jobs: &Jobs<'_>, described: &Described, key: &Cascade) -> String {
    let columns = key.columns.iter().map(|(column, _)| column.as_str());
    let row = Row::new(CHILD).with(columns.map(|column| (column, "NULL".to_owned())));
    jobs.set_from(&row, &Row::new(CHILD), &children(described, key, "OLD"))
}

/// The children have followed the parent's row; those whose key has changed are gone under the old one.
fn followed(jobs: &Jobs<'_>, described: &Described, key: &Cascade) -> String {
    let from = children(described, key, "NEW");
    let before = key
        .columns
        .iter()
        .map(|(column, of_parent)| (column.as_str(), format!("OLD.{}", quoted(of_parent))));
    let before = Row::new(CHILD).with(before);
    let set = jobs.set_from(&Row::new(CHILD), &before, &from);
    let of_key = |column: &str| {
        described
            .table
            .key
            .iter()
            .any(|of_key| of_key.name == column)
    };
    if !key.columns.iter().any(|(column, _)| of_key(column)) {
        return set;
    }
    let delete = jobs.delete_from(&before, &from);
    format!("{delete}\n{set}")
}

/// Done if the UPDATE changed what the key refers to, be it into what a collation takes for equal.
fn if_moved(key: &Cascade, statements: &str) -> String {
    let changed: Vec<String> = key
        .columns
        .iter()
        .map(|(_, column)| {
            let column = quoted(column);
            format!("NOT (CAST(OLD.{column} AS BINARY) <=> CAST(NEW.{column} AS BINARY))")
        })
        .collect();
    let statements = statements.replace("\n  ", "\n    ");
    format!(
        "  IF {} THEN\n  {statements}\n  END IF;",
        changed.join(" OR ")
    )
}

fn name(table: &TableName, parent: &TableName, timing: &str, event: &str) -> String {
    let child = if table.database == parent.database {
        table.table.clone()
    } else {
        format!("{}_{}", table.database, table.table)
    };
    let (timing, event) = (timing.to_ascii_lowercase(), event.to_ascii_lowercase());
    shortened(
        &format!("{child}_{timing}_{}_{event}", parent.table),
        "_to_redis",
    )
}
