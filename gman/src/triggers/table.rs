//! A table, and what its triggers send of it.

use crate::sql::{TableName, literal, quoted};

/// How many characters the name of a trigger may have.
const MAX_NAME: usize = 64;

const BINARY: [&str; 7] = [
    "binary",
    "varbinary",
    "tinyblob",
    "blob",
    "mediumblob",
    "longblob",
    "vector",
];

const GEOMETRY: [&str; 9] = [
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
    "geomcollection",
];

/// Character sets whose texts are UTF-8 as they are.
const UTF8: [&str; 4] = ["utf8mb4", "utf8mb3", "utf8", "ascii"];

/// The events that have a trigger.
pub(super) const EVENTS: [&str; 3] = ["INSERT", "UPDATE", "DELETE"];

/// What is said of a value, apart from the value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Dialect {
    /// Times of the type TIMESTAMP as the session sees them, and not in UTC.
    pub(super) session_time_zone: bool,
    /// With the server's functions alone.
    pub(super) native: bool,
}

/// A row in a statement: NEW, OLD, or the alias of a table.
#[derive(Debug, Clone)]
pub(super) struct Row<'a> {
    name: &'a str,
    /// Columns that have another value there, and which.
    instead: Vec<(String, String)>,
}

impl<'a> Row<'a> {
    pub(super) fn new(name: &'a str) -> Self {
        Self {
            name,
            instead: Vec::new(),
        }
    }

    /// The row with other values in some of its columns.
    pub(super) fn with<'b>(mut self, values: impl Iterator<Item = (&'b str, String)>) -> Self {
        let values = values.map(|(column, value)| (column.to_owned(), value));
        self.instead.extend(values);
        self
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// In lower case; `json` for MariaDB's alias of it too.
    pub(crate) kind: String,
    pub(crate) charset: Option<String>,
    /// Digits of a second.
    pub(crate) precision: u64,
}

impl Column {
    pub(super) fn of(&self, row: &Row<'_>) -> String {
        let instead = row.instead.iter().find(|(name, _)| *name == self.name);
        instead.map_or_else(
            || format!("{}.{}", row.name, quoted(&self.name)),
            |(_, value)| value.clone(),
        )
    }

    fn is_any_of(&self, kinds: &[&str]) -> bool {
        kinds.contains(&self.kind.as_str())
    }

    /// Whether it goes into JSON as Base64.
    pub(crate) fn is_binary(&self) -> bool {
        self.is_any_of(&BINARY)
    }

    fn utf8(&self, row: &Row<'_>) -> String {
        let value = self.of(row);
        match self.charset.as_deref() {
            Some(charset) if !UTF8.contains(&charset) => {
                format!("CONVERT({value} USING utf8mb4)")
            }
            _ => value,
        }
    }

    /// A TIMESTAMP in UTC, whatever the session's time zone is. By way of UNIX_TIMESTAMP, which knows
    /// which of the two hours it is when clocks are put back; CONVERT_TZ does not. The time 0 has no
    /// such number and stays the text that it is.
    fn utc(&self, row: &Row<'_>) -> String {
        let value = self.of(row);
        let fraction = if self.precision > 0 { ".%f" } else { "" };
        format!(
            "IF(UNIX_TIMESTAMP({value}) > 0, DATE_FORMAT('1970-01-01' + INTERVAL \
             UNIX_TIMESTAMP({value}) SECOND, '%Y-%m-%dT%H:%i:%s{fraction}Z'), {value})"
        )
    }

    /// The column as a value of a JSON object.
    pub(super) fn member(&self, row: &Row<'_>, dialect: Dialect) -> String {
        if self.kind == "timestamp" && !dialect.session_time_zone {
            return self.utc(row);
        }
        let value = self.of(row);
        if self.is_any_of(&GEOMETRY) {
            return format!("ST_AsText({value})");
        }
        if dialect.native {
            return self.native_member(row);
        }
        match self.kind.as_str() {
            _ if self.is_binary() => format!("json_base64({value})"),
            // The functions take text for JSON whose name begins with json_.
            "json" => format!("{value} AS json_value"),
            _ => self.utf8(row),
        }
    }

    /// The same for the server's JSON_OBJECT, which writes some types in its own way.
    fn native_member(&self, row: &Row<'_>) -> String {
        let value = self.of(row);
        match self.kind.as_str() {
            // TO_BASE64 breaks lines, which some readers refuse.
            _ if self.is_binary() => format!("REPLACE(TO_BASE64({value}), '\\n', '')"),
            // For MariaDB a JSON column is text.
            "json" => format!("JSON_EXTRACT({value}, '$')"),
            "bit" => format!("CAST({value} AS UNSIGNED)"),
            "date" | "time" | "datetime" | "timestamp" => format!("CAST({value} AS CHAR)"),
            _ => self.utf8(row),
        }
    }

    /// The column as a part of a key: equal texts if and only if the bytes are equal.
    fn key(&self, row: &Row<'_>, among_others: bool, dialect: Dialect) -> String {
        let value = self.of(row);
        match self.kind.as_str() {
            _ if self.is_binary() => format!("HEX({value})"),
            "bit" => format!("CAST({value} AS UNSIGNED)"),
            // All digits; CONCAT would round.
            "float" | "double" if dialect.native => {
                format!("JSON_EXTRACT(JSON_ARRAY({value}), '$[0]')")
            }
            "float" | "double" => format!("json_values({value})"),
            // As text it would depend on the session's time zone. MariaDB has no number for the time 0.
            "timestamp" if dialect.session_time_zone => {
                format!("COALESCE(UNIX_TIMESTAMP({value}), 0)")
            }
            "timestamp" => self.utc(row),
            // Or 'a:b' and 'c' would be the same as 'a' and 'b:c'.
            _ if self.charset.is_some() && among_others => format!(
                "REPLACE(REPLACE({}, '%', '%25'), ':', '%3A')",
                self.utf8(row)
            ),
            _ => self.utf8(row),
        }
    }

    /// Whether an UPDATE gave the column another value, be it one that its collation takes for equal,
    /// or that reads the same because the clock was put back.
    fn changed(&self) -> String {
        let of = |row| match self.kind.as_str() {
            "timestamp" => format!("COALESCE(UNIX_TIMESTAMP({}), 0)", self.of(row)),
            _ if self.charset.is_some() => format!("CAST({} AS BINARY)", self.of(row)),
            _ => self.of(row),
        };
        format!("{} <> {}", of(&Row::new("OLD")), of(&Row::new("NEW")))
    }
}

/// A table with a primary key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: TableName,
    /// Those that are sent.
    pub(crate) columns: Vec<Column>,
    /// Those of the primary key, in its order.
    pub(crate) key: Vec<Column>,
    /// Those by whose values the row can be found too.
    pub(crate) lookups: Vec<Column>,
}

impl Table {
    pub(super) fn key_of(&self, row: &Row<'_>, prefix: &str, dialect: Dialect) -> String {
        let among_others = self.key.len() > 1;
        let mut parts = vec![literal(prefix)];
        for (place, column) in self.key.iter().enumerate() {
            if place > 0 {
                parts.push(literal(":"));
            }
            parts.push(column.key(row, among_others, dialect));
        }
        format!("CONCAT({})", parts.join(", "))
    }

    /// The keys that name the row by each of those columns: NULL without a value.
    pub(super) fn lookups_of(&self, row: &Row<'_>, prefix: &str, dialect: Dialect) -> Vec<String> {
        let key = |column: &Column| {
            let begin = literal(&format!("{prefix}{}:", column.name));
            format!("CONCAT({begin}, {})", column.key(row, false, dialect))
        };
        self.lookups.iter().map(key).collect()
    }

    /// Whether an UPDATE gave the row another key.
    pub(super) fn moved(&self) -> String {
        let changed: Vec<String> = self.key.iter().map(Column::changed).collect();
        changed.join(" OR ")
    }
}

/// What keys begin with if nobody says otherwise.
pub(super) fn default_prefix(name: &TableName) -> String {
    format!("{}.{}:", name.database, name.table)
}

/// The name of the trigger of `table` for an event.
pub(super) fn trigger_name(table: &str, event: &str) -> String {
    shortened(table, &format!("_{}_to_redis", event.to_ascii_lowercase()))
}

/// `beginning` and `end`, or if that is too long for a name, what fits of it and a number in between:
/// two long names may begin alike.
pub(super) fn shortened(beginning: &str, end: &str) -> String {
    if beginning.chars().count() + end.len() <= MAX_NAME {
        return format!("{beginning}{end}");
    }
    let end = format!("_{:08x}{end}", crc32fast::hash(beginning.as_bytes()));
    let beginning: String = beginning.chars().take(MAX_NAME - end.len()).collect();
    beginning + &end
}
