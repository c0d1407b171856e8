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
    /// Which columns were chosen, as options: [`super::check`] must know those that were left out.
    pub(super) choice: Option<String>,
}

/// The SQL mode that the triggers are created in, and keep: a value that does not fit is an error.
pub(super) const SQL_MODE: &str = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION";

/// The variable of [`record`].
pub(super) const RECORD: &str = "@gman_options";

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
    let (set, delete) = (jobs.set(), jobs.delete());
    let update = format!("  IF {} THEN\n  {delete}\n  END IF;\n{set}", table.moved());
    let guard = jobs.guard();
    let bodies = [
        ("INSERT", format!("{}{guard}{set}", record(style))),
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

/// A statement that never runs, and says which columns were chosen. A comment would not reach every
/// server: clients take comments out.
fn record(style: &Style) -> String {
    style.choice.as_ref().map_or_else(String::new, |choice| {
        format!(
            "  IF FALSE THEN SET {RECORD} = {}; END IF;\n",
            literal(choice)
        )
    })
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
    function: String,
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
            function: literal(&style.function),
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

    /// The row NEW.
    fn set(&self) -> String {
        self.hand_over(&self.row(&Row::new("NEW")))
    }

    /// The row OLD is gone.
    fn delete(&self) -> String {
        self.hand_over(&self.no_row(&Row::new("OLD")))
    }

    /// All rows that `from` selects.
    pub(super) fn set_from(&self, row: &Row<'_>, from: &str) -> String {
        self.hand_over_from(&self.row(row), from)
    }

    /// All rows that `from` selects are gone.
    pub(super) fn delete_from(&self, row: &Row<'_>, from: &str) -> String {
        self.hand_over_from(&self.no_row(row), from)
    }

    fn key_of(&self, row: &Row<'_>) -> String {
        self.table.key_of(row, &self.prefix, self.style.dialect)
    }

    /// The workload of a row.
    fn row(&self, row: &Row<'_>) -> String {
        let dialect = self.style.dialect;
        let member =
            |column: &Column| format!("{}, {}", literal(&column.name), column.member(row, dialect));
        let members: Vec<String> = self.table.columns.iter().map(member).collect();
        let (key, members) = (self.key_of(row), members.join(",\n      "));
        if dialect.native {
            // CONCAT is NULL if the row does not fit into a packet, and NULL is an error. JSON_OBJECT
            // would take it for a row that is gone.
            format!(
                "CONCAT(\n    '{{\"key\":', JSON_QUOTE({key}), ',\"row\":', JSON_OBJECT(\n      {members}), '}}')"
            )
        } else {
            format!(
                "json_object_udf(\n    'key', {key},\n    'row', json_object_udf(\n      {members}))"
            )
        }
    }

    /// The workload of a row that is gone.
    fn no_row(&self, row: &Row<'_>) -> String {
        let key = self.key_of(row);
        if self.style.dialect.native {
            format!("CONCAT('{{\"key\":', JSON_QUOTE({key}), ',\"row\":null}}')")
        } else {
            format!("json_object_udf('key', {key}, 'row', NULL)")
        }
    }

    fn hand_over(&self, workload: &str) -> String {
        let (function, outbox) = (&self.function, &self.outbox);
        match self.style.delivery {
            Delivery::Call => {
                format!("  SET @RECV = gman_do_background({function}, {workload});")
            }
            Delivery::Outbox => format!(
                "  INSERT INTO {outbox} (`function`, `workload`) VALUES ({function}, {workload});"
            ),
        }
    }

    fn hand_over_from(&self, workload: &str, from: &str) -> String {
        let (function, outbox) = (&self.function, &self.outbox);
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
            choice: None,
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
      'it''s', NEW.`it's`)));
END$$

DROP TRIGGER IF EXISTS `shop`.`orders_update_to_redis`$$
CREATE TRIGGER `shop`.`orders_update_to_redis` AFTER UPDATE ON `shop`.`orders` FOR EACH ROW BEGIN
  IF OLD.`id` <> NEW.`id` THEN
    SET @RECV = gman_do_background('syncRowToRedis', json_object_udf('key', CONCAT('shop.orders:', OLD.`id`), 'row', NULL));
  END IF;
  SET @RECV = gman_do_background('syncRowToRedis', json_object_udf(
    'key', CONCAT('shop.orders:', NEW.`id`),
    'row', json_object_udf(
      'id', NEW.`id`,
      'it''s', NEW.`it's`)));
END$$

DROP TRIGGER IF EXISTS `shop`.`orders_delete_to_redis`$$
CREATE TRIGGER `shop`.`orders_delete_to_redis` AFTER DELETE ON `shop`.`orders` FOR EACH ROW BEGIN
  SET @RECV = gman_do_background('syncRowToRedis', json_object_udf('key', CONCAT('shop.orders:', OLD.`id`), 'row', NULL));
END$$

DELIMITER ;
UNLOCK TABLES;
SET sql_mode = @gman_sql_mode;
"
        );
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
