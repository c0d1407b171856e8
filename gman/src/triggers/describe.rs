//! What the server says of a table.

use gearman_mysql_udf::old_sql::tokens::{Dialect, Token, Tokens};
use mysql::{Conn, Params, Row};

use super::table::{Column, Table, trigger_name};
use crate::connections::{Ask, refused};
use crate::error::{Error, Result};
use crate::sql::{TableName, quoted};

/// A table, and what else has to be known before it gets triggers.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) table: Table,
    /// Columns whose value the server computes.
    pub(super) generated: Vec<String>,
    /// Whether a rollback undoes what was written to it.
    pub(crate) is_transactional: bool,
    pub(super) engine: String,
    pub(crate) triggers: Vec<Existing>,
    pub(super) cascades: Vec<Cascade>,
}

/// A trigger that is there.
#[derive(Debug)]
pub(crate) struct Existing {
    pub(crate) name: TableName,
    pub(crate) on: TableName,
    pub(crate) event: String,
    pub(crate) timing: String,
    /// 0 on a server that allows one trigger for an event and time; others count from 1.
    pub(crate) order: u64,
    pub(crate) body: String,
}

/// A foreign key of the table that changes its rows without their triggers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cascade {
    pub(super) name: String,
    pub(super) on_delete: Rule,
    pub(super) on_update: Rule,
    pub(super) parent: TableName,
    /// The columns of the table, and those of the parent that they are equal to.
    pub(super) columns: Vec<(String, String)>,
}

/// What becomes of a row when that which it refers to changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// The change is refused.
    Refuse,
    Cascade,
    SetNull,
}

impl Rule {
    fn of(text: &str) -> Self {
        match text {
            "CASCADE" => Self::Cascade,
            "SET NULL" => Self::SetNull,
            _ => Self::Refuse,
        }
    }
}

impl Cascade {
    /// As the table's definition has it.
    pub(super) fn rules(&self) -> String {
        let rule = |event, rule| match rule {
            Rule::Refuse => None,
            Rule::Cascade => Some(format!("ON {event} CASCADE")),
            Rule::SetNull => Some(format!("ON {event} SET NULL")),
        };
        let rules = [
            rule("DELETE", self.on_delete),
            rule("UPDATE", self.on_update),
        ];
        rules.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

const TABLE: &str = "SELECT TABLE_NAME, TABLE_TYPE, ENGINE FROM information_schema.TABLES
  WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?";

const COLUMNS: &str = "SELECT COLUMN_NAME, DATA_TYPE, CHARACTER_SET_NAME, DATETIME_PRECISION, EXTRA, {generation}
  FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION";

const KEY: &str = "SELECT COLUMN_NAME FROM information_schema.STATISTICS
  WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX";

const CHECKS: &str = "SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS
  WHERE CONSTRAINT_SCHEMA = ? AND TABLE_NAME = ?";

const TRIGGERS: &str =
    "SELECT TRIGGER_SCHEMA, TRIGGER_NAME, EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE,
    EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER, ACTION_STATEMENT
  FROM information_schema.TRIGGERS";

const CASCADES: &str = "SELECT r.CONSTRAINT_NAME, r.DELETE_RULE, r.UPDATE_RULE,
    k.REFERENCED_TABLE_SCHEMA, k.REFERENCED_TABLE_NAME, k.COLUMN_NAME, k.REFERENCED_COLUMN_NAME
  FROM information_schema.REFERENTIAL_CONSTRAINTS AS r
  JOIN information_schema.KEY_COLUMN_USAGE AS k
    ON k.CONSTRAINT_SCHEMA = r.CONSTRAINT_SCHEMA AND k.CONSTRAINT_NAME = r.CONSTRAINT_NAME
   AND k.TABLE_NAME = r.TABLE_NAME
  WHERE r.CONSTRAINT_SCHEMA = ? AND r.TABLE_NAME = ? AND k.REFERENCED_COLUMN_NAME IS NOT NULL
    AND (r.DELETE_RULE IN ('CASCADE', 'SET NULL') OR r.UPDATE_RULE IN ('CASCADE', 'SET NULL'))
  ORDER BY r.CONSTRAINT_NAME, k.ORDINAL_POSITION";

/// Whether the server's information_schema has this column.
const HAS_COLUMN: &str = "SELECT 1 FROM information_schema.COLUMNS
  WHERE TABLE_SCHEMA = 'information_schema' AND TABLE_NAME = ? AND COLUMN_NAME = ?";

/// Asks for everything that is known of a table.
///
/// # Errors
///
/// If it cannot have triggers of ours: it is not there, is a view, has no primary key, or hides a
/// part of it from this account.
pub(crate) fn describe(conn: &mut Conn, name: &TableName) -> Result<Described> {
    let names = || (name.database.as_str(), name.table.as_str());
    let found: Option<(String, String, Option<String>)> =
        rows(conn, TABLE, names())?.into_iter().next();
    let Some((_, kind, engine)) = found else {
        return Err(Error::failed(format!(
            "no table {0}, or this account may not see it; check the name, or GRANT SELECT, TRIGGER ON {0}",
            name.quoted()
        )));
    };
    if kind.contains("VIEW") {
        return Err(Error::failed(format!(
            "{} is a view; triggers belong to the tables below it",
            name.quoted()
        )));
    }
    let (columns, generated, row_end) = columns(conn, name)?;
    let key: Vec<String> = rows::<String>(conn, KEY, names())?
        .into_iter()
        // MariaDB adds it to the key of a table that keeps its history.
        .filter(|column| Some(column) != row_end.as_ref())
        .collect();
    if key.is_empty() {
        return Err(Error::failed(format!(
            "table {} has no primary key, so nothing can name its rows in Redis; add one",
            name.quoted()
        )));
    }
    let key = key
        .iter()
        .map(|wanted| {
            let column = columns.iter().find(|column| column.name == *wanted);
            column.cloned().ok_or_else(|| {
                Error::failed(format!(
                    "this account may not see {} of the primary key of {}; GRANT SELECT, TRIGGER ON {1}",
                    quoted(wanted),
                    name.quoted()
                ))
            })
        })
        .collect::<Result<_>>()?;
    let engine = engine.unwrap_or_default();
    let sql = "SELECT 1 FROM information_schema.ENGINES WHERE ENGINE = ? AND TRANSACTIONS = 'YES'";
    Ok(Described {
        table: Table {
            name: name.clone(),
            columns,
            key,
            lookups: Vec::new(),
        },
        generated,
        is_transactional: !rows::<u8>(conn, sql, (&engine,))?.is_empty(),
        engine,
        triggers: triggers_of(conn, name)?,
        cascades: cascades(conn, name)?,
    })
}

/// Whether there is such a table.
pub(super) fn exists(conn: &mut Conn, name: &TableName) -> Result<bool> {
    let names = (name.database.as_str(), name.table.as_str());
    let found: Vec<(String, String, Option<String>)> = rows(conn, TABLE, names)?;
    Ok(!found.is_empty())
}

/// The columns, the names of those that are generated, and the one that says when a row ended.
fn columns(
    conn: &mut Conn,
    name: &TableName,
) -> Result<(Vec<Column>, Vec<String>, Option<String>)> {
    let generation = match has_column(conn, "COLUMNS", "GENERATION_EXPRESSION")? {
        true => "GENERATION_EXPRESSION",
        false => "NULL",
    };
    let names = (name.database.as_str(), name.table.as_str());
    let checks: Vec<String> = match has_column(conn, "CHECK_CONSTRAINTS", "TABLE_NAME")? {
        true => rows(conn, CHECKS, names)?,
        false => Vec::new(),
    };
    let (mut columns, mut generated, mut row_end) = (Vec::new(), Vec::new(), None);
    type Found = (
        String,
        String,
        Option<String>,
        Option<u64>,
        String,
        Option<String>,
    );
    let sql = COLUMNS.replace("{generation}", generation);
    for (name, kind, charset, precision, extra, expression) in rows::<Found>(conn, &sql, names)? {
        if expression.as_deref() == Some("ROW END") {
            row_end = Some(name.clone());
        }
        if ["VIRTUAL", "STORED", "PERSISTENT"]
            .iter()
            .any(|word| extra.to_ascii_uppercase().contains(word))
        {
            generated.push(name.clone());
        }
        // JSON is a name for this on MariaDB.
        let is_json = checks.contains(&format!("json_valid({})", quoted(&name)));
        columns.push(Column {
            kind: if is_json {
                "json".to_owned()
            } else {
                kind.to_ascii_lowercase()
            },
            charset,
            precision: precision.unwrap_or(0),
            name,
        });
    }
    Ok((columns, generated, row_end))
}

fn has_column(conn: &mut Conn, table: &str, column: &str) -> Result<bool> {
    Ok(!rows::<u8>(conn, HAS_COLUMN, (table, column))?.is_empty())
}

/// The triggers of one table.
pub(super) fn triggers_of(conn: &mut Conn, name: &TableName) -> Result<Vec<Existing>> {
    let sql = format!("{TRIGGERS} WHERE EVENT_OBJECT_SCHEMA = ? AND EVENT_OBJECT_TABLE = ?");
    existing(conn, &sql, (&name.database, &name.table))
}

/// All triggers that this account may see.
pub(super) fn all_triggers(conn: &mut Conn) -> Result<Vec<Existing>> {
    let sql = format!(
        "{TRIGGERS} WHERE TRIGGER_SCHEMA NOT IN ('mysql', 'sys') ORDER BY TRIGGER_SCHEMA, TRIGGER_NAME"
    );
    existing(conn, &sql, ())
}

fn existing(conn: &mut Conn, sql: &str, names: impl Into<Params>) -> Result<Vec<Existing>> {
    type Found = (String, String, String, String, String, String, u64, Vec<u8>);
    let found = rows::<Found>(conn, sql, names)?;
    let existing = |(database, table, on_database, on_table, event, timing, order, body): Found| {
        let name = TableName { database, table };
        let body = String::from_utf8_lossy(&body).into_owned();
        Existing {
            // Other bodies are of no interest.
            body: match body.contains("gman_") {
                true => original_body(conn, &name).unwrap_or(body),
                false => body,
            },
            name,
            on: TableName {
                database: on_database,
                table: on_table,
            },
            event,
            timing,
            order,
        }
    };
    Ok(found.into_iter().map(existing).collect())
}

/// The body as it was written: in information_schema, MySQL has it with strings whose quotes and
/// backslashes are not escaped any more. `None` if this account may not see it.
fn original_body(conn: &mut Conn, name: &TableName) -> Option<String> {
    let sql = format!("SHOW CREATE TRIGGER {}", name.quoted());
    let row: Row = conn.ask_first(sql).ok()??;
    let statement: Vec<u8> = row.get_opt(2)?.ok()?;
    let tokens: Vec<Token<'_>> = Tokens::new(&statement, Dialect::ANY)
        .filter(Token::counts)
        .collect();
    let head = ["for", "each", "row"];
    let is_head =
        |tokens: &[Token<'_>]| tokens.iter().zip(head).all(|(token, word)| token.is(word));
    let at = tokens.windows(head.len()).position(is_head)?;
    let body = tokens.get(at + head.len())?.place;
    Some(String::from_utf8_lossy(&statement[body..]).into_owned())
}

/// The keys that change rows of a table without its triggers.
pub(super) fn cascades(conn: &mut Conn, name: &TableName) -> Result<Vec<Cascade>> {
    type Found = (String, String, String, String, String, String, String);
    let mut cascades: Vec<Cascade> = Vec::new();
    for (key, delete, update, database, table, column, parent_column) in
        rows::<Found>(conn, CASCADES, (&name.database, &name.table))?
    {
        let columns = (column, parent_column);
        match cascades.last_mut() {
            Some(last) if last.name == key => last.columns.push(columns),
            _ => cascades.push(Cascade {
                name: key,
                on_delete: Rule::of(&delete),
                on_update: Rule::of(&update),
                parent: TableName { database, table },
                columns: vec![columns],
            }),
        }
    }
    Ok(cascades)
}

fn rows<T: mysql::prelude::FromRow>(
    conn: &mut Conn,
    sql: &str,
    names: impl Into<Params>,
) -> Result<Vec<T>> {
    let what = "ask the database server about its tables";
    let rows: Vec<Row> = conn
        .ask_with(sql, names)
        .map_err(|error| refused(what, &error))?;
    rows.into_iter()
        .map(|row| {
            mysql::from_row_opt(row)
                .map_err(|error| Error::failed(format!("cannot {what}: {error}")))
        })
        .collect()
}

/// Servers that allow one trigger for an event and time say 0 where others count from 1.
///
/// # Errors
///
/// If somebody else's trigger is in the place of one of ours.
pub(super) fn refuse_a_second_trigger(described: &Described) -> Result {
    let name = &described.table.name;
    for existing in &described.triggers {
        let is_ours = existing.name.table == trigger_name(&name.table, &existing.event);
        if existing.timing == "AFTER" && existing.order == 0 && !is_ours {
            return Err(Error::failed(format!(
                "this server allows one AFTER {} trigger on a table, and there is {}: drop it, or add \
                 the statements of ours to it",
                existing.event,
                quoted(&existing.name.table)
            )));
        }
    }
    Ok(())
}
