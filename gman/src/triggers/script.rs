//! The statements that create the triggers of a table.

use super::table::{Column, Dialect, Row, Table, default_prefix, trigger_name};
use crate::sql::{TableName, literal, quoted};

/// How the triggers hand their jobs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// By a call of `gman_do_background`.
    Call,
    /// By a row of `gman_outbox`.
    Outbox,
}

/// What the triggers of a table send, and how.
#[derive(Debug, Clone)]
pub(super) struct Style {
    pub(super) delivery: Delivery,
    pub(super) dialect: Dialect,
    /// `None` for that of the table.
    pub(super) prefix: Option<String>,
    pub(super) function: String,
    /// How many workers share the jobs, each with a Gearman function of its own.
    pub(super) lanes: Option<u16>,
    /// Which columns were chosen, as options: [`super::check`] must know those that were left out.
    pub(super) choice: Option<String>,
    /// The columns that have lookup keys, as they were named: for [`super::check`] too.
    pub(super) lookup: Option<String>,
}

/// When the statement began, in milliseconds since 1970. Unlike UNIX_TIMESTAMP(NOW(3)) it knows which of the
/// two hours it is when clocks are put back.
const AT: &str = "CAST(@@timestamp * 1000 AS DECIMAL(17,3))";

/// The SQL mode that the triggers are created in, and keep: a value that does not fit is an error.
pub(super) const SQL_MODE: &str = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION";

/// The variables of [`record`].
pub(super) const RECORD: &str = "@gman_options";
pub(super) const LOOKUP_RECORD: &str = "@gman_lookup";

/// One trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trigger {
    pub(super) name: TableName,
    pub(super) on: TableName,
    pub(super) event: &'static str,
    /// From CREATE to END.
    pub(super) create: String,
}

impl Trigger {
    pub(super) fn new(
        name: TableName,
        on: &TableName,
        timing: &str,
        event: &'static str,
        body: &str,
    ) -> Self {
        let create = format!(
            "CREATE TRIGGER {} {timing} {event} ON {} FOR EACH ROW BEGIN\n{body}\nEND",
            name.quoted(),
            on.quoted()
        );
        Self {
            name,
            on: on.clone(),
            event,
            create,
        }
    }

    pub(super) fn drop(&self) -> String {
        format!("DROP TRIGGER IF EXISTS {}", self.name.quoted())
    }
}

/// The triggers of `table`.
pub(super) fn triggers(table: &Table, style: &Style) -> Vec<Trigger> {
    let jobs = Jobs::new(table, style);
    let delete = jobs.delete();
    let moved = delete.replace("\n  ", "\n    ");
    let update = format!(
        "  IF {} THEN\n  {moved}\n  END IF;\n{}",
        table.moved(),
        jobs.update()
    );
    let guard = jobs.guard();
    let bodies = [
        (
            "INSERT",
            format!("{}{guard}{}", record(style), jobs.insert()),
        ),
        ("UPDATE", format!("{guard}{update}")),
        ("DELETE", delete),
    ];
    let trigger = |(event, body): (&'static str, String)| {
        let name = TableName {
            database: table.name.database.clone(),
            table: trigger_name(&table.name.table, event),
        };
        Trigger::new(name, &table.name, "AFTER", event, &body)
    };
    bodies.into_iter().map(trigger).collect()
}

/// Statements that never run, and say which columns were chosen. A comment would not reach every
/// server: clients take comments out.
fn record(style: &Style) -> String {
    [(RECORD, &style.choice), (LOOKUP_RECORD, &style.lookup)]
        .into_iter()
        .filter_map(|(variable, text)| Some((variable, literal(text.as_ref()?))))
        .map(|(variable, text)| format!("  IF FALSE THEN SET {variable} = {text}; END IF;\n"))
        .collect()
}

/// The tables that triggers are on, each once.
pub(super) fn tables(triggers: &[Trigger]) -> Vec<&TableName> {
    let mut tables: Vec<&TableName> = Vec::new();
    for trigger in triggers {
        if !tables.contains(&&trigger.on) {
            tables.push(&trigger.on);
        }
    }
    tables
}

/// `LOCK TABLES` for the tables that triggers are on.
pub(super) fn lock(triggers: &[Trigger]) -> String {
    let locks: Vec<String> = tables(triggers)
        .iter()
        .map(|table| format!("{} WRITE", table.quoted()))
        .collect();
    format!("LOCK TABLES {}", locks.join(", "))
}

/// A script for the mysql or mariadb client.
pub(super) fn script(triggers: &[Trigger], style: &Style) -> String {
    let statements: Vec<String> = triggers
        .iter()
        .map(|trigger| format!("{}$$\n{}$$\n", trigger.drop(), trigger.create))
        .collect();
    let after = match (style.delivery, style.dialect.native) {
        (Delivery::Call, _) => "install.sql",
        (Delivery::Outbox, false) => "install.sql and outbox.sql",
        (Delivery::Outbox, true) => "outbox.sql or outbox-plain.sql",
    };
    let lock = lock(triggers);
    format!(
        "\
-- Triggers that keep the rows of a table in Redis, made by gman triggers. They replace those
-- of the same names; no change is missed in between, because the table is locked. Run this
-- with the mysql or mariadb client (DELIMITER), after {after}.

SET NAMES utf8mb4;
SET @gman_sql_mode = @@sql_mode, sql_mode = '{SQL_MODE}';
{lock};
DELIMITER $$

{}
DELIMITER ;
UNLOCK TABLES;
SET sql_mode = @gman_sql_mode;
",
        statements.join("\n")
    )
}

/// The statements that hand jobs over.
pub(super) struct Jobs<'a> {
    table: &'a Table,
    style: &'a Style,
    prefix: String,
    outbox: String,
}

impl<'a> Jobs<'a> {
    pub(super) fn new(table: &'a Table, style: &'a Style) -> Self {
        Self {
            table,
            style,
            prefix: style
                .prefix
                .clone()
                .unwrap_or_else(|| default_prefix(&table.name)),
            outbox: quoted("gman_outbox"),
        }
    }

    /// The same from a trigger on another table, whose schema may be without an outbox.
    pub(super) fn into(mut self, on: &TableName) -> Self {
        let database = &self.table.name.database;
        if *database != on.database {
            self.outbox = format!("{}.{}", quoted(database), self.outbox);
        }
        self
    }

    /// The row NEW, which was inserted.
    fn insert(&self) -> String {
        let new = Row::new("NEW");
        self.hand_over(&new, &self.row(&new, None))
    }

    /// The row NEW, which was OLD.
    fn update(&self) -> String {
        let new = Row::new("NEW");
        self.hand_over(&new, &self.row(&new, Some(&Row::new("OLD"))))
    }

    /// The row OLD is gone.
    fn delete(&self) -> String {
        let old = Row::new("OLD");
        self.hand_over(&old, &self.no_row(&old))
    }

    /// All rows that `from` selects, and what they were before.
    pub(super) fn set_from(&self, row: &Row<'_>, before: &Row<'_>, from: &str) -> String {
        self.hand_over_from(row, &self.row(row, Some(before)), from)
    }

    /// All rows that `from` selects are gone.
    pub(super) fn delete_from(&self, row: &Row<'_>, from: &str) -> String {
        self.hand_over_from(row, &self.no_row(row), from)
    }

    fn key_of(&self, row: &Row<'_>) -> String {
        self.table.key_of(row, &self.prefix, self.style.dialect)
    }

    /// The Gearman function of a row's jobs.
    fn function_of(&self, row: &Row<'_>) -> String {
        let name = &self.style.function;
        match self.style.lanes {
            None => literal(name),
            // It is never NULL, but the server does not know: of a remainder it thinks that it may be.
            Some(lanes) => format!(
                "IFNULL(CONCAT({}, 1 + CRC32({}) % {lanes}), '')",
                literal(&format!("{name}.")),
                self.key_of(row)
            ),
        }
    }

    /// The workload of a row, and what it was before if that may have had other lookup keys.
    fn row(&self, row: &Row<'_>, before: Option<&Row<'_>>) -> String {
        let dialect = self.style.dialect;
        let member =
            |column: &Column| format!("{}, {}", literal(&column.name), column.member(row, dialect));
        let members: Vec<String> = self.table.columns.iter().map(member).collect();
        let members = members.join(",\n      ");
        let object = if dialect.native {
            "JSON_OBJECT"
        } else {
            "json_object_udf"
        };
        let content = format!("{object}(\n      {members})");
        let mut more = self.lookups("lookups", row);
        more.extend(
            before
                .into_iter()
                .flat_map(|before| self.lookups("old_lookups", before)),
        );
        self.workload(row, &content, &more)
    }

    /// The workload of a row that is gone.
    fn no_row(&self, row: &Row<'_>) -> String {
        let gone = if self.style.dialect.native {
            "'null'"
        } else {
            "NULL"
        };
        self.workload(row, gone, &self.lookups("old_lookups", row))
    }

    /// The members of a job: its key, its row, its time, and what else there is.
    fn workload(&self, row: &Row<'_>, content: &str, more: &[(&str, String)]) -> String {
        let key = self.key_of(row);
        let members = [("row", content.to_owned()), ("at", AT.to_owned())];
        let members = members.iter().chain(more);
        if self.style.dialect.native {
            // CONCAT is NULL if the row does not fit into a packet, and NULL is an error. JSON_OBJECT
            // would take it for a row that is gone.
            let members: Vec<String> = members
                .map(|(name, value)| format!(", ',\"{name}\":', {value}"))
                .collect();
            format!(
                "CONCAT('{{\"key\":', JSON_QUOTE({key}){}, '}}')",
                members.concat()
            )
        } else {
            let members: Vec<String> = members
                .map(|(name, value)| format!(",\n    '{name}', {value}"))
                .collect();
            format!("json_object_udf(\n    'key', {key}{})", members.concat())
        }
    }

    /// The keys that name a row by its other columns, as a member of a job; none without such columns.
    fn lookups(&self, name: &'static str, row: &Row<'_>) -> Vec<(&'static str, String)> {
        let keys = self.table.lookups_of(row, &self.prefix, self.style.dialect);
        if keys.is_empty() {
            return Vec::new();
        }
        let list = if self.style.dialect.native {
            "JSON_ARRAY"
        } else {
            "json_array_udf"
        };
        vec![(name, format!("{list}({})", keys.join(", ")))]
    }

    fn hand_over(&self, row: &Row<'_>, workload: &str) -> String {
        let (function, outbox) = (self.function_of(row), &self.outbox);
        match self.style.delivery {
            Delivery::Call => {
                format!("  SET @RECV = gman_do_background({function}, {workload});")
            }
            Delivery::Outbox => format!(
                "  INSERT INTO {outbox} (`function`, `workload`) VALUES ({function}, {workload});"
            ),
        }
    }

    fn hand_over_from(&self, row: &Row<'_>, workload: &str, from: &str) -> String {
        let (function, outbox) = (self.function_of(row), &self.outbox);
        match self.style.delivery {
            Delivery::Call => format!(
                "  SET @RECV = (SELECT COUNT(gman_do_background({function}, {workload}))\n    {from});"
            ),
            Delivery::Outbox => format!(
                "  INSERT INTO {outbox} (`function`, `workload`) SELECT {function}, {workload}\n    {from};"
            ),
        }
    }

    /// The server's TO_BASE64 is NULL for a value whose result does not fit into a packet: an error, or
    /// the value would be taken for NULL.
    fn guard(&self) -> String {
        let new = Row::new("NEW");
        let binary = self
            .table
            .columns
            .iter()
            .filter(|column| column.is_binary());
        let too_large: Vec<String> = binary
            .map(|column| column.of(&new))
            .map(|value| format!("({value} IS NOT NULL AND TO_BASE64({value}) IS NULL)"))
            .collect();
        if !self.style.dialect.native || too_large.is_empty() {
            return String::new();
        }
        format!(
            "  IF {} THEN\n    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = \
             'A value is too large for TO_BASE64: raise max_allowed_packet, or leave --native-json out.';\n  \
             END IF;\n",
            too_large.join(" OR ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: &str) -> Column {
        Column {
            name: name.to_owned(),
            kind: kind.to_owned(),
            charset: (kind == "varchar").then(|| "utf8mb4".to_owned()),
            precision: 0,
        }
    }

    fn style() -> Style {
        Style {
            delivery: Delivery::Call,
            dialect: Dialect::default(),
            prefix: None,
            function: "syncRowToRedis".to_owned(),
            lanes: None,
            choice: None,
            lookup: None,
        }
    }

    fn table(name: &str, columns: &[(&str, &str)]) -> Table {
        let columns: Vec<Column> = columns
            .iter()
            .map(|(name, kind)| column(name, kind))
            .collect();
        Table {
            name: TableName {
                database: "shop".to_owned(),
                table: name.to_owned(),
            },
            key: columns[..1].to_vec(),
            columns,
            lookups: Vec::new(),
        }
    }

    /// What a user has read and kept: any change of it is one that users see.
    #[test]
    fn the_script_is_what_it_was() {
        let orders = table("orders", &[("id", "int"), ("it's", "varchar")]);
        assert_eq!(
            script(&triggers(&orders, &style()), &style()),
            r"-- Triggers that keep the rows of a table in Redis, made by gman triggers. They replace those
-- of the same names; no change is missed in between, because the table is locked. Run this
-- with the mysql or mariadb client (DELIMITER), after install.sql.

SET NAMES utf8mb4;
SET @gman_sql_mode = @@sql_mode, sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION';
LOCK TABLES `shop`.`orders` WRITE;
DELIMITER $$

DROP TRIGGER IF EXISTS `shop`.`orders_insert_to_redis`$$
CREATE TRIGGER `shop`.`orders_insert_to_redis` AFTER INSERT ON `shop`.`orders` FOR EACH ROW BEGIN
  SET @RECV = gman_do_background('syncRowToRedis', json_object_udf(
    'key', CONCAT('shop.orders:', NEW.`id`),
    'row', json_object_udf(
      'id', NEW.`id`,
      'it''s', NEW.`it's`),
    'at', CAST(@@timestamp * 1000 AS DECIMAL(17,3))));
END$$

DROP TRIGGER IF EXISTS `shop`.`orders_update_to_redis`$$
CREATE TRIGGER `shop`.`orders_update_to_redis` AFTER UPDATE ON `shop`.`orders` FOR EACH ROW BEGIN
  IF OLD.`id` <> NEW.`id` THEN
    SET @RECV = gman_do_background('syncRowToRedis', json_object_udf(
      'key', CONCAT('shop.orders:', OLD.`id`),
      'row', NULL,
      'at', CAST(@@timestamp * 1000 AS DECIMAL(17,3))));
  END IF;
  SET @RECV = gman_do_background('syncRowToRedis', json_object_udf(
    'key', CONCAT('shop.orders:', NEW.`id`),
    'row', json_object_udf(
      'id', NEW.`id`,
      'it''s', NEW.`it's`),
    'at', CAST(@@timestamp * 1000 AS DECIMAL(17,3))));
END$$

DROP TRIGGER IF EXISTS `shop`.`orders_delete_to_redis`$$
CREATE TRIGGER `shop`.`orders_delete_to_redis` AFTER DELETE ON `shop`.`orders` FOR EACH ROW BEGIN
  SET @RECV = gman_do_background('syncRowToRedis', json_object_udf(
    'key', CONCAT('shop.orders:', OLD.`id`),
    'row', NULL,
    'at', CAST(@@timestamp * 1000 AS DECIMAL(17,3))));
END$$

DELIMITER ;
UNLOCK TABLES;
SET sql_mode = @gman_sql_mode;
"
        );
    }

    #[test]
    fn lanes_and_lookup_keys_are_in_every_job() {
        let mut users = table("users", &[("id", "int"), ("mail", "varchar")]);
        users.lookups = users.columns[1..].to_vec();
        let style = Style {
            lanes: Some(4),
            ..style()
        };
        let triggers = triggers(&users, &style);
        let function = |row| {
            format!(
                "gman_do_background(IFNULL(CONCAT('syncRowToRedis.', 1 + CRC32(CONCAT('shop.users:', \
                 {row}.`id`)) % 4), ''), "
            )
        };
        let key = |name, row| {
            format!("'{name}', json_array_udf(CONCAT('shop.users:mail:', {row}.`mail`))")
        };
        let [insert, update, delete] = triggers.as_slice() else {
            panic!("{triggers:?}");
        };
        for (trigger, parts) in [
            (insert, vec![function("NEW"), key("lookups", "NEW")]),
            (
                update,
                vec![
                    function("NEW"),
                    key("lookups", "NEW"),
                    key("old_lookups", "OLD"),
                    function("OLD"),
                ],
            ),
            (delete, vec![function("OLD"), key("old_lookups", "OLD")]),
        ] {
            for part in parts {
                assert!(trigger.create.contains(&part), "{part}\n{}", trigger.create);
            }
        }
        assert!(!insert.create.contains("old_lookups"), "{}", insert.create);
        assert!(!delete.create.contains("'lookups'"), "{}", delete.create);
    }

    /// The one comment that there is holds no name.
    #[test]
    fn no_name_stands_in_a_comment() {
        let name = "x*/;CREATE DATABASE pwned;#\n-- ";
        let table = table(name, &[(name, "varchar")]);
        let script = script(&triggers(&table, &style()), &style());
        assert!(!script.contains("/*"), "{script}");
        let comments: Vec<&str> = script.lines().take_while(|line| !line.is_empty()).collect();
        assert!(!comments.join(" ").contains("pwned"), "{script}");
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let [a, b] =
            ["a", "b"].map(|end| trigger_name(&format!("{}{end}", "ä".repeat(63)), "UPDATE"));
        assert_ne!(a, b);
        assert_eq!(a.chars().count(), 64);
        assert_eq!(trigger_name("t", "DELETE"), "t_delete_to_redis");
    }
}
