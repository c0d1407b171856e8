//! What a server has that may call the functions: triggers, routines, views and events, as they are
//! stored.

use gearman_mysql_udf::old_sql::charset::Charset;
use gearman_mysql_udf::old_sql::tokens::Dialect;
use mysql::prelude::FromRow;
use mysql::{Conn, Row, Value};
use serde::Serialize;

use super::rewrite::{Names, Rewritten, rewrite};
use crate::connections::{Ask, refused};
use crate::error::{Error, Result};
use crate::sql::quoted;

/// The schemas that belong to the server.
const SYSTEM_SCHEMAS: &str = "('mysql', 'information_schema', 'performance_schema', 'sys')";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Trigger,
    Procedure,
    Function,
    View,
    Event,
}

impl Kind {
    /// In the order in which they are replaced.
    pub(super) const ALL: [Self; 5] = [
        Self::Trigger,
        Self::Procedure,
        Self::Function,
        Self::View,
        Self::Event,
    ];

    /// As statements have it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Trigger => "TRIGGER",
            Self::Procedure => "PROCEDURE",
            Self::Function => "FUNCTION",
            Self::View => "VIEW",
            Self::Event => "EVENT",
        }
    }

    /// Lists the schemas and names of those whose text has one of the names in it.
    fn listing(self) -> String {
        let (columns, table, text, order) = match self {
            Self::Trigger => (
                "trigger_schema, trigger_name",
                "triggers",
                "action_statement",
                " ORDER BY event_object_schema, event_object_table, event_manipulation, action_timing,
                           action_order DESC",
            ),
            Self::Procedure => (
                "routine_schema, routine_name",
                "routines WHERE routine_type = 'PROCEDURE' AND",
                "routine_definition",
                "",
            ),
            Self::Function => (
                "routine_schema, routine_name",
                "routines WHERE routine_type = 'FUNCTION' AND",
                "routine_definition",
                "",
            ),
            Self::View => ("table_schema, table_name", "views", "view_definition", ""),
            Self::Event => ("event_schema, event_name", "events", "event_definition", ""),
        };
        let schema = columns.split(',').next().unwrap_or_default();
        let and = if table.ends_with("AND") { "" } else { "WHERE" };
        format!(
            "SELECT {columns} FROM information_schema.{table} {and} {schema} NOT IN {SYSTEM_SCHEMAS}
                AND {text} RLIKE 'json_(object|array)'{order}"
        )
    }

    /// In which columns SHOW CREATE has the text, the character set and its collation, the SQL mode and
    /// the time zone.
    fn columns(self) -> (usize, usize, usize, Option<usize>, Option<usize>) {
        match self {
            Self::Trigger | Self::Procedure | Self::Function => (2, 3, 4, Some(1), None),
            Self::View => (1, 2, 3, None, None),
            Self::Event => (3, 4, 5, Some(1), Some(2)),
        }
    }
}

/// A trigger, routine, view or event, as SHOW CREATE tells of it.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    pub(super) kind: Kind,
    pub(super) schema: String,
    pub(super) name: String,
    /// In the character set that it was written in.
    pub(super) text: Vec<u8>,
    pub(super) charset: String,
    pub(super) collation: String,
    pub(super) sql_mode: Option<String>,
    pub(super) time_zone: Option<String>,
}

impl Definition {
    /// For people, such as `trigger shop.changed`.
    pub(super) fn label(&self) -> String {
        label(self.kind.word(), &self.schema, &self.name)
    }

    pub(super) fn rewritten(&self, names: &Names) -> Rewritten {
        let mode = self.sql_mode.as_deref().unwrap_or_default();
        let mode = mode.to_ascii_uppercase();
        let dialect = Dialect {
            charset: Charset::named(self.charset.as_bytes()),
            backslash_escapes: !mode.contains("NO_BACKSLASH_ESCAPES"),
            ansi_quotes: mode.contains("ANSI_QUOTES"),
            ..Dialect::ANY
        };
        rewrite(&self.text, names, dialect)
    }

    pub(super) fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

/// For people, such as `trigger shop.changed`.
pub(super) fn label(kind: &str, schema: &str, name: &str) -> String {
    format!("{} {schema}.{name}", kind.to_lowercase())
}

/// What was found, and what could not be read.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) definitions: Vec<Definition>,
    pub(super) unreadable: Vec<String>,
}

/// The names of the loadable functions, in lower case.
pub(super) fn loadable(conn: &mut Conn) -> Result<Vec<String>> {
    let names: Vec<String> = rows(conn, "SELECT name FROM mysql.func")?;
    Ok(names.iter().map(|name| name.to_lowercase()).collect())
}

/// Everything that may call one of the functions, triggers from the last one of an event to the first.
pub(super) fn find(conn: &mut Conn) -> Result<Found> {
    let mut found = Found::default();
    let hidden = format!(
        "SELECT 'routine', routine_schema, routine_name FROM information_schema.routines
          WHERE routine_definition IS NULL AND routine_schema NOT IN {SYSTEM_SCHEMAS}
         UNION ALL
         SELECT 'view', table_schema, table_name FROM information_schema.views
          WHERE view_definition = '' AND table_schema NOT IN {SYSTEM_SCHEMAS}"
    );
    for (kind, schema, name) in rows::<(String, String, String)>(conn, &hidden)? {
        let label = label(&kind, &schema, &name);
        found
            .unreadable
            .push(format!("{label}: this account may not read it"));
    }
    for kind in Kind::ALL {
        for (schema, name) in rows::<(String, String)>(conn, &kind.listing())? {
            match show(conn, kind, &schema, &name)? {
                Some(definition) => found.definitions.push(definition),
                None => found.unreadable.push(format!(
                    "{}: the server cannot show it; take it from a dump, see --dump",
                    label(kind.word(), &schema, &name)
                )),
            }
        }
    }
    Ok(found)
}

/// The text as it is stored, in the character set that it was written in; `None` if the server cannot
/// show it.
fn show(conn: &mut Conn, kind: Kind, schema: &str, name: &str) -> Result<Option<Definition>> {
    let set = |conn: &mut Conn, charset| {
        conn.run(format!("SET character_set_results = {charset}"))
            .map_err(|error| refused("choose a character set", &error))
    };
    set(conn, "NULL")?;
    let sql = format!(
        "SHOW CREATE {} {}.{}",
        kind.word(),
        quoted(schema),
        quoted(name)
    );
    let row: mysql::Result<Option<Row>> = conn.ask_first(sql);
    let row = match row {
        Ok(row) => row,
        Err(mysql::Error::MySqlError(_)) => None,
        Err(error) => return Err(refused("read a definition", &error)),
    };
    set(conn, "utf8mb4")?;
    let Some(row) = row else { return Ok(None) };
    let bytes = |at: usize| match row.as_ref(at) {
        Some(Value::Bytes(bytes)) => Some(bytes.clone()),
        _ => None,
    };
    let word = |at: usize| bytes(at).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let (text, charset, collation, sql_mode, time_zone) = kind.columns();
    // A routine that this account may not read has none.
    let (Some(text), Some(charset), Some(collation)) =
        (bytes(text), word(charset), word(collation))
    else {
        return Ok(None);
    };
    Ok(Some(Definition {
        kind,
        schema: schema.to_owned(),
        name: name.to_owned(),
        text,
        charset,
        collation,
        sql_mode: sql_mode.and_then(word),
        time_zone: time_zone.and_then(word),
    }))
}

/// The columns that are made by a call, which only MariaDB allows.
pub(super) fn columns(conn: &mut Conn) -> Result<Vec<String>> {
    let known: Vec<String> = rows(
        conn,
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'information_schema'
            AND table_name = 'COLUMNS' AND column_name IN ('COLUMN_DEFAULT', 'GENERATION_EXPRESSION')",
    )?;
    let made_by: Vec<String> = known
        .iter()
        .map(|column| format!("{column} RLIKE 'json_(object|array) *[(]'"))
        .collect();
    if made_by.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT table_schema, table_name, column_name FROM information_schema.columns
          WHERE table_schema NOT IN {SYSTEM_SCHEMAS} AND ({})",
        made_by.join(" OR ")
    );
    let found = rows::<(String, String, String)>(conn, &sql)?;
    Ok(found
        .into_iter()
        .map(|(schema, table, column)| format!("{schema}.{table}.{column}"))
        .collect())
}

/// The table of a trigger, and the trigger that comes after it.
pub(super) fn place(conn: &mut Conn, trigger: &Definition) -> Result<(String, Option<String>)> {
    let sql =
        "SELECT t.event_object_table, (SELECT n.trigger_name FROM information_schema.triggers AS n
          WHERE n.trigger_schema = t.trigger_schema AND n.event_object_table = t.event_object_table
            AND n.event_manipulation = t.event_manipulation AND n.action_timing = t.action_timing
            AND n.action_order > t.action_order ORDER BY n.action_order LIMIT 1)
       FROM information_schema.triggers AS t WHERE t.trigger_schema = ? AND t.trigger_name = ?";
    let place = conn
        .ask_first_with(sql, (&trigger.schema, &trigger.name))
        .map_err(|error| refused("ask for the place of a trigger", &error))?;
    place.ok_or_else(|| {
        Error::failed(format!(
            "{} has been dropped meanwhile; try again",
            trigger.label()
        ))
    })
}

/// What is granted on a routine, which DROP removes, as statements.
pub(super) fn grants(conn: &mut Conn, routine: &Definition) -> Result<Vec<String>> {
    let sql = "SELECT user, host, CONVERT(proc_priv USING utf8) FROM mysql.procs_priv
                WHERE db = ? AND routine_name = ? AND routine_type = ?";
    let granted: Vec<(String, String, String)> = conn
        .ask_with(sql, (&routine.schema, &routine.name, routine.kind.word()))
        .map_err(|error| refused("ask what is granted", &error))?;
    let grant = |(user, host, privileges): (String, String, String)| {
        let privileges = privileges.to_uppercase();
        let (option, names): (Vec<&str>, Vec<&str>) = privileges
            .split(',')
            .filter(|name| !name.is_empty())
            .partition(|name| *name == "GRANT");
        format!(
            "GRANT {} ON {} {} TO {}@{}{}",
            if names.is_empty() {
                "USAGE".to_owned()
            } else {
                names.join(", ")
            },
            routine.kind.word(),
            routine.quoted(),
            quoted(&user),
            quoted(&host),
            if option.is_empty() {
                ""
            } else {
                " WITH GRANT OPTION"
            }
        )
    };
    Ok(granted.into_iter().map(grant).collect())
}

fn rows<T: FromRow>(conn: &mut Conn, sql: &str) -> Result<Vec<T>> {
    let what = "read what the server has";
    let rows: Vec<Row> = conn.ask(sql).map_err(|error| refused(what, &error))?;
    rows.into_iter()
        .map(|row| {
            mysql::from_row_opt(row)
                .map_err(|error| Error::failed(format!("cannot {what}: {error}")))
        })
        .collect()
}
