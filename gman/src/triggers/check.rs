//! Whether triggers fit their tables: a table may have other columns than when they were made, another
//! name, or none of them any more.

use std::collections::{BTreeMap, BTreeSet};

use mysql::Conn;
use serde::Serialize;

use super::cascade;
use super::copies;
use super::describe::{self, Described, Existing};
use super::lanes::Lanes;
use super::script::{LOOKUP_RECORD, RECORD};
use super::table::{Dialect, EVENTS, Row, default_prefix, trigger_name};
use crate::connections::MysqlOptions;
use crate::error::{Error, Result};
use crate::rows::hand_over::{self, HandOver, ROW, Way};
use crate::sql::{self, TableName, literal, quoted};
use crate::terminal;

/// What is wrong with the triggers of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Case {
    /// A column was added, which they do not send.
    ColumnAdded,
    /// A column that they send is gone: every INSERT and UPDATE fails.
    ColumnGone,
    /// A column has another type, or the primary key other columns.
    ColumnChanged,
    /// The table was renamed, or another one took its place.
    TableRenamed,
    /// They send the keys of another schema.
    OtherSchema,
    /// Some are missing.
    Incomplete,
    /// There are none, and somebody said that there should be.
    Missing,
}

/// One problem, and the commands that mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) case: Case,
    pub(crate) table: String,
    pub(crate) problem: String,
    pub(crate) commands: Vec<String>,
}

/// Which tables are checked.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    databases: Vec<String>,
    tables: Vec<TableName>,
}

impl Scope {
    /// Reads names of databases and of tables.
    fn parse(texts: &[String]) -> Result<Self> {
        let mut scope = Self::default();
        for text in texts {
            match sql::identifier(text) {
                Some((database, "")) => scope.databases.push(database),
                _ => scope.tables.push(TableName::parse(text)?),
            }
        }
        Ok(scope)
    }

    fn has(&self, table: &TableName) -> bool {
        let is_all = self.databases.is_empty() && self.tables.is_empty();
        is_all || self.databases.contains(&table.database) || self.tables.contains(table)
    }
}

/// `gman triggers --check`
///
/// # Errors
///
/// If there is anything to mend.
pub(super) fn run(mysql: &MysqlOptions, texts: &[String], json: bool) -> Result {
    let scope = Scope::parse(texts)?;
    let findings = findings(&mut mysql.connect()?, &scope)?;
    if json {
        let text = serde_json::to_string_pretty(&findings).map_err(Error::failed)?;
        terminal::print(&text)?;
    }
    for finding in findings.iter().filter(|_| !json) {
        terminal::print(&terminal::printable(&finding.problem))?;
        for command in &finding.commands {
            terminal::print(&format!("    {}", terminal::printable(command)))?;
        }
    }
    match findings.len() {
        0 => Ok(()),
        1 => Err(Error::failed("1 problem with triggers; see above")),
        many => Err(Error::failed(format!(
            "{many} problems with triggers; see above"
        ))),
    }
}

/// All that is wrong with the triggers of these tables.
///
/// # Errors
///
/// If the server cannot be asked.
pub(crate) fn findings(conn: &mut Conn, scope: &Scope) -> Result<Vec<Finding>> {
    let mut by_table: BTreeMap<TableName, Vec<Existing>> = BTreeMap::new();
    for table in &scope.tables {
        by_table.insert(table.clone(), Vec::new());
    }
    for trigger in describe::all_triggers(conn)? {
        if scope.has(&trigger.on) {
            by_table
                .entry(trigger.on.clone())
                .or_default()
                .push(trigger);
        }
    }
    let mut findings = Vec::new();
    for (table, triggers) in &by_table {
        for problem in triggers.iter().filter_map(copies::complaint) {
            findings.push(Finding {
                case: Case::OtherSchema,
                table: table.quoted(),
                problem,
                commands: vec![create(table, "")],
            });
        }
        let names: BTreeSet<String> = triggers.iter().filter_map(table_of).collect();
        for name in names.iter().filter(|name| **name != table.table) {
            findings.push(renamed(conn, table, name)?);
        }
        if names.contains(&table.table) {
            of_table(conn, table, triggers, &mut findings)?;
        } else if names.is_empty() && scope.tables.contains(table) {
            findings.push(missing(table));
        }
    }
    Ok(findings)
}

/// The name that its table had when a trigger of ours was made; `None` for others, and for those on a
/// parent.
pub(super) fn table_of(trigger: &Existing) -> Option<String> {
    let on = &trigger.on;
    let name = &trigger.name.table;
    if trigger.timing != "AFTER" || !EVENTS.contains(&trigger.event.as_str()) {
        return None;
    }
    if *name == trigger_name(&on.table, &trigger.event) {
        return Some(on.table.clone());
    }
    let event = trigger.event.to_ascii_lowercase();
    let base = name.strip_suffix(&format!("_{event}_to_redis"))?;
    let hands_over = ["gman_do_", "gman_outbox"]
        .iter()
        .any(|word| trigger.body.contains(word));
    (hands_over && !cascade::is_of_a_parent(base, &on.table)).then(|| base.to_owned())
}

/// The triggers of the table `before` are on `table`.
fn renamed(conn: &mut Conn, table: &TableName, before: &str) -> Result<Finding> {
    let original = TableName {
        database: table.database.clone(),
        table: before.to_owned(),
    };
    let drop = format!("gman triggers --drop {}", argument(table));
    let (what, commands) = match describe::exists(conn, &original)? {
        true => (
            format!(
                "another table took its place, as an online schema change does: {} has no triggers, and \
                 nothing that is written to it reaches Redis",
                original.quoted()
            ),
            vec![drop, create(&original, ""), load(&original)],
        ),
        false => (
            "it was renamed: they write the keys of its old name".to_owned(),
            vec![drop, create(table, ""), load(table)],
        ),
    };
    Ok(Finding {
        case: Case::TableRenamed,
        table: table.quoted(),
        problem: format!(
            "{} has the triggers of {}: {what}",
            table.quoted(),
            original.quoted()
        ),
        commands,
    })
}

fn missing(table: &TableName) -> Finding {
    Finding {
        case: Case::Missing,
        table: table.quoted(),
        problem: format!(
            "{} has no triggers: nothing that is written to it reaches Redis",
            table.quoted()
        ),
        commands: vec![create(table, ""), load(table)],
    }
}

/// What is wrong with the triggers on a table that are its own.
fn of_table(
    conn: &mut Conn,
    table: &TableName,
    triggers: &[Existing],
    findings: &mut Vec<Finding>,
) -> Result {
    let own = |event: &str| {
        let name = trigger_name(&table.table, event);
        triggers.iter().find(|trigger| trigger.name.table == name)
    };
    let insert = own("INSERT");
    let options = insert.map_or_else(String::new, options);
    let lacking: Vec<&str> = EVENTS
        .into_iter()
        .filter(|event| own(event).is_none())
        .collect();
    if !lacking.is_empty() {
        findings.push(Finding {
            case: Case::Incomplete,
            table: table.quoted(),
            problem: format!(
                "{} has no trigger for {}: those changes do not reach Redis",
                table.quoted(),
                lacking.join(" and ")
            ),
            commands: vec![create(table, &options), load(table)],
        });
    }
    if let Some(insert) = insert
        && let Ok(body) = hand_over::read(&insert.body)
        && let Some(sent) = body.hand_overs.first()
    {
        let described = describe::describe(conn, table)?;
        findings.extend(columns(&described, insert, sent, &options));
    }
    Ok(())
}

/// Compares what a trigger sends with the table's columns.
fn columns(
    described: &Described,
    trigger: &Existing,
    sent: &HandOver,
    options: &str,
) -> Option<Finding> {
    let table = &described.table;
    let name = table.name.quoted();
    let columns = || table.columns.iter().map(|column| &column.name);
    let gone: Vec<&str> = sent
        .members
        .iter()
        .filter(|member| !columns().any(|column| column == *member))
        .map(String::as_str)
        .collect();
    let left_out = left_out(&trigger.body);
    let added: Vec<&str> = columns()
        .filter(|column| !sent.members.contains(column) && !left_out.has(column))
        .map(String::as_str)
        .collect();
    let anew = create(&table.name, options);
    let finding = |case, problem, commands| {
        Some(Finding {
            case,
            table: name.clone(),
            problem,
            commands,
        })
    };
    if !gone.is_empty() {
        let problem = format!(
            "{name} has no column {} any more, which its triggers send: every INSERT and UPDATE fails with \
             error 1054",
            sql::list(gone)
        );
        return finding(Case::ColumnGone, problem, vec![anew, load(&table.name)]);
    }
    if !added.is_empty() {
        let problem = format!(
            "the triggers of {name} do not send {}, which came later",
            sql::list(added)
        );
        return finding(Case::ColumnAdded, problem, vec![anew, load(&table.name)]);
    }
    if !fits(described, sent) {
        let problem = format!(
            "the triggers of {name} do not fit its primary key or the types of its columns any more"
        );
        return finding(Case::ColumnChanged, problem, vec![anew, load(&table.name)]);
    }
    None
}

/// Columns that are sent from now on, and were not by the triggers that a table has.
pub(super) fn newly_sent(described: &Described) -> Vec<&str> {
    let name = trigger_name(&described.table.name.table, "INSERT");
    let before = described
        .triggers
        .iter()
        .find(|trigger| trigger.name.table == name);
    let before = before.and_then(|trigger| hand_over::read(&trigger.body).ok());
    let Some(sent) = before.as_ref().and_then(|body| body.hand_overs.first()) else {
        return Vec::new();
    };
    let columns = described
        .table
        .columns
        .iter()
        .map(|column| column.name.as_str());
    columns
        .filter(|column| !sent.members.iter().any(|member| member == column))
        .collect()
}

/// Whether the trigger says the key and each column as it would be said today.
fn fits(described: &Described, sent: &HandOver) -> bool {
    let table = &described.table;
    let row = Row::new(ROW);
    let prefix = sent.prefix.clone().unwrap_or_default();
    let native = is_native(sent);
    [false, true].into_iter().any(|session_time_zone| {
        let dialect = Dialect {
            session_time_zone,
            native,
        };
        let has = |text: &str| sent.workload.contains(text);
        let has_member = |member: &String| {
            let column = table.columns.iter().find(|column| column.name == *member);
            column.is_some_and(|column| {
                has(&format!(
                    "{}, {}",
                    literal(member),
                    column.member(&row, dialect)
                ))
            })
        };
        has(&table.key_of(&row, &prefix, dialect)) && sent.members.iter().all(has_member)
    })
}

fn is_native(sent: &HandOver) -> bool {
    sent.workload.contains("JSON_OBJECT(")
}

/// Columns that were left out on purpose.
enum LeftOut {
    These(Vec<String>),
    /// Those that came later too.
    AllOthers,
}

impl LeftOut {
    fn has(&self, column: &str) -> bool {
        match self {
            Self::AllOthers => true,
            Self::These(names) => names
                .iter()
                .any(|name| name.to_lowercase() == column.to_lowercase()),
        }
    }
}

fn left_out(body: &str) -> LeftOut {
    let choice = recorded(RECORD, body).unwrap_or_default();
    match choice.strip_prefix("--except ") {
        Some(names) => LeftOut::These(sql::identifiers(names).unwrap_or_default()),
        None if choice.is_empty() => LeftOut::These(Vec::new()),
        None => LeftOut::AllOthers,
    }
}

/// What [`super::script`] has written down.
fn recorded(variable: &str, body: &str) -> Option<String> {
    let (_, after) = body.split_once(&format!("{variable} = '"))?;
    Some(copies::text(after))
}

/// The options that a trigger was made with.
fn options(trigger: &Existing) -> String {
    let Ok(body) = hand_over::read(&trigger.body) else {
        return String::new();
    };
    let Some(sent) = body.hand_overs.first() else {
        return String::new();
    };
    let mut options = Vec::new();
    if matches!(sent.way, Way::Outbox(_)) {
        options.push("--outbox".to_owned());
    }
    if is_native(sent) {
        options.push("--native-json".to_owned());
    }
    match &sent.prefix {
        Some(prefix) if *prefix != default_prefix(&trigger.on) => {
            options.push(format!("--prefix {}", shell(prefix)));
        }
        _ => {}
    }
    if let Some(choice) = recorded(RECORD, &trigger.body)
        && let Some((option, names)) = choice.split_once(' ')
    {
        options.push(format!("{option} {}", shell(names)));
    }
    if let Some(names) = recorded(LOOKUP_RECORD, &trigger.body) {
        options.push(format!("--lookup {}", shell(&names)));
    }
    if let Some(lanes) = Lanes::of(&trigger.body) {
        options.push(format!("--lanes {}", lanes.count));
    }
    options
        .into_iter()
        .map(|option| format!(" {option}"))
        .collect()
}

fn create(table: &TableName, options: &str) -> String {
    format!("gman triggers --create {}{options}", argument(table))
}

pub(super) fn load(table: &TableName) -> String {
    format!("gman load {}", argument(table))
}

/// A table as an argument of ours in a shell.
fn argument(table: &TableName) -> String {
    let part = |name: &str| match name.contains(['.', '`', ',']) {
        true => quoted(name),
        false => name.to_owned(),
    };
    shell(&format!("{}.{}", part(&table.database), part(&table.table)))
}

/// A word for a shell.
fn shell(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "_-.:,/=".contains(letter);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trigger(name: &str, on: &str, event: &str, body: &str) -> Existing {
        let table = |table: &str| TableName {
            database: "shop".to_owned(),
            table: table.to_owned(),
        };
        Existing {
            name: table(name),
            on: table(on),
            event: event.to_owned(),
            timing: "AFTER".to_owned(),
            order: 1,
            body: body.to_owned(),
        }
    }

    #[test]
    fn a_trigger_is_known_by_its_name_where_its_table_has_another() {
        let of = |name, on| table_of(&trigger(name, on, "INSERT", "DO gman_do_background(1, 2)"));
        assert_eq!(of("a_insert_to_redis", "a").as_deref(), Some("a"));
        assert_eq!(of("a_insert_to_redis", "_a_del").as_deref(), Some("a"));
        assert_eq!(of("a_update_to_redis", "a"), None);
        assert_eq!(of("child_after_a_insert_to_redis", "a"), None);
        assert_eq!(of("other", "a"), None);
    }

    #[test]
    fn the_options_of_a_trigger_are_read_from_it() {
        let body = "BEGIN IF FALSE THEN SET @gman_options = '--except it''s'; END IF; INSERT INTO gman_outbox \
                    (`function`, workload) VALUES ('f', CONCAT('{', CONCAT('p q:', NEW.a), JSON_OBJECT('a', NEW.a))); END";
        let trigger = trigger("a_insert_to_redis", "a", "INSERT", body);
        assert_eq!(
            options(&trigger),
            r" --outbox --native-json --prefix 'p q:' --except 'it'\''s'"
        );
        assert!(left_out(body).has("IT'S") && !left_out(body).has("b"));
        assert!(!left_out("BEGIN END").has("a"));
        assert!(left_out("SET @gman_options = '--columns a'").has("b"));
    }

    #[test]
    fn names_are_words_of_a_shell() {
        let name = |database: &str, table: &str| TableName {
            database: database.to_owned(),
            table: table.to_owned(),
        };
        assert_eq!(argument(&name("shop", "orders")), "shop.orders");
        assert_eq!(argument(&name("my.shop", "a b")), "'`my.shop`.a b'");
    }
}
