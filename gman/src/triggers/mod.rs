//! `gman triggers`: the triggers that keep a table's rows in Redis.
//!
//! - [`describe`]: what the server says of a table;
//! - [`table`]: what is sent of it;
//! - [`script`]: the statements that create the triggers, as pure text;
//! - [`lanes`]: over which Gearman functions they spread their jobs;
//! - [`cascade`]: triggers on the tables that its foreign keys refer to;
//! - [`install`]: creates and drops them;
//! - [`listed`]: what was done with them, for who parses;
//! - [`check`]: finds those that do not fit their tables any more;
//! - [`copies`]: finds those that belong to another schema.

mod cascade;
pub(crate) mod check;
pub(crate) mod copies;
pub(crate) mod describe;
mod install;
pub(crate) mod lanes;
mod listed;
mod script;
pub(crate) mod table;

use clap::Args;
use mysql::Conn;

use self::describe::Described;
use self::listed::{Action, Listed};
use self::script::{Delivery, Style, Trigger};
use self::table::{Column, Dialect};
use crate::connections::MysqlOptions;
use crate::error::{Error, Result};
use crate::sql::{self, TableName, quoted};
use crate::terminal;

/// Print, create or drop the triggers that keep a table's rows in Redis
///
/// After each INSERT, UPDATE and DELETE the triggers submit the job syncRowToRedis with the workload
/// {"key":"shop.orders:1","row":{"id":1,...}}, or "row":null for a deleted row. The key is the prefix
/// followed by the primary key, with colons between its columns.
///
/// Without --create or --drop, nothing changes on the server: the statements are printed for the
/// mysql or mariadb client.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gman triggers shop.orders                      print them
  gman triggers shop.orders shop.items --create  create them, or replace them
  gman triggers shop.users --except password_hash --outbox --create
  gman triggers --check shop                     do they fit their tables?
  gman triggers '`my.shop`.`order lines`'        names with dots, in backticks")]
pub(crate) struct Options {
    /// The tables; put a name with a dot in backticks
    #[arg(value_name = "DATABASE.TABLE", required_unless_present = "check")]
    tables: Vec<String>,

    /// Print JSON: each trigger with its statement and what was done with it, or with --check the problems
    #[arg(long)]
    json: bool,

    /// Create or replace the triggers; the table is locked meanwhile, so that no change is missed
    #[arg(long, conflicts_with_all = ["drop", "check"])]
    create: bool,

    /// Drop the triggers, including those that --cascade made
    #[arg(long, conflicts_with = "check")]
    drop: bool,

    /// Find triggers that do not fit their tables any more; exit with 1 if there are any
    ///
    /// Checks the tables and databases that are named, or all that the account may see. A table that is
    /// named must have triggers.
    #[arg(long)]
    check: bool,

    /// Write the jobs into the table gman_outbox, in the transaction of the change
    #[arg(long)]
    outbox: bool,

    /// Build the JSON with the server's JSON_OBJECT, so that the server does not need the library
    #[arg(long, requires = "outbox")]
    native_json: bool,

    /// Send only these columns, separated by commas, and the primary key
    #[arg(long, value_name = "COLUMNS")]
    columns: Option<String>,

    /// Send all but these columns; the primary key is always sent
    #[arg(long, value_name = "COLUMNS", conflicts_with = "columns")]
    except: Option<String>,

    /// Begin keys with this instead of SCHEMA.TABLE:
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,

    /// The Gearman function; all three triggers share it, which keeps their jobs in order
    #[arg(long, value_name = "NAME", default_value = "syncRowToRedis")]
    function: String,

    /// Spread the jobs over N Gearman functions, NAME.1 to NAME.N, for as many workers: gman worker
    /// --lane K/N; all jobs of a key go to the same one
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    lanes: Option<u16>,

    /// Let a row be found by these columns too, separated by commas: the key PREFIX + COLUMN:VALUE holds the
    /// row's key
    #[arg(long, value_name = "COLUMNS")]
    lookup: Option<String>,

    /// Send a TIMESTAMP as the writing session sees it, not in UTC
    #[arg(long)]
    session_time_zone: bool,

    /// Add triggers to the tables that ON DELETE and ON UPDATE of foreign keys refer to
    #[arg(long)]
    cascade: bool,

    #[command(flatten)]
    mysql: MysqlOptions,
}

/// # Errors
///
/// If a table cannot have triggers, or the server refuses.
pub(crate) fn run(options: &Options) -> Result {
    if options.check {
        return check::run(&options.mysql, &options.tables, options.json);
    }
    let tables = options
        .tables
        .iter()
        .map(|text| TableName::parse(text))
        .collect::<Result<Vec<_>>>()?;
    if options.prefix.is_some() && tables.len() > 1 {
        return Err(Error::usage(
            "--prefix: expected one table; rows of two would have the same keys",
        ));
    }
    let filter = Filter::of(options)?;
    let lookups = match &options.lookup {
        Some(text) => column_names("--lookup", text)?,
        None => Vec::new(),
    };
    let mut conn = options.mysql.connect()?;
    if options.drop {
        let mut dropped = Vec::new();
        for table in &tables {
            dropped.extend(drop(&mut conn, table, options.json)?);
        }
        return print_if_json(options, &dropped);
    }
    let style = style(options);
    // All of them before the first is changed.
    let described = tables
        .iter()
        .map(|table| {
            let mut described = describe::describe(&mut conn, table)?;
            describe::refuse_a_second_trigger(&described)?;
            described.table.lookups = chosen("--lookup", &lookups, &described)?;
            filter.apply(&mut described)?;
            Ok(described)
        })
        .collect::<Result<Vec<_>>>()?;
    let mut listed = Vec::new();
    for described in &described {
        let mut triggers = script::triggers(&described.table, &style);
        triggers.extend(cascading(&mut conn, options, described, &style)?);
        warn(options, described);
        let action = match options.create {
            true => Action::Created,
            false => Action::Printed,
        };
        let these: Vec<Listed> = triggers
            .iter()
            .map(|trigger| Listed::new(trigger, action))
            .collect();
        if options.create {
            install::create(&mut conn, &triggers)?;
            say_what_is_sent_from_now_on(described);
        }
        match (options.json, action) {
            (true, _) => listed.extend(these),
            (false, Action::Printed) => {
                terminal::print_bytes(script::script(&triggers, &style).as_bytes())?;
            }
            (false, _) => these.iter().try_for_each(Listed::print)?,
        }
    }
    print_if_json(options, &listed)
}

fn print_if_json(options: &Options, listed: &[Listed]) -> Result {
    match options.json {
        true => listed::print_json(listed),
        false => Ok(()),
    }
}

fn style(options: &Options) -> Style {
    Style {
        delivery: match options.outbox {
            true => Delivery::Outbox,
            false => Delivery::Call,
        },
        dialect: Dialect {
            session_time_zone: options.session_time_zone,
            native: options.native_json,
        },
        prefix: options.prefix.clone(),
        function: options.function.clone(),
        lanes: options.lanes,
        choice: match (&options.columns, &options.except) {
            (Some(names), _) => Some(format!("--columns {names}")),
            (None, Some(names)) => Some(format!("--except {names}")),
            (None, None) => None,
        },
        lookup: options.lookup.clone(),
    }
}

/// Which columns are sent.
enum Filter {
    All,
    Only(Vec<String>),
    Except(Vec<String>),
}

impl Filter {
    fn of(options: &Options) -> Result<Self> {
        Ok(match (&options.columns, &options.except) {
            (Some(text), _) => Self::Only(column_names("--columns", text)?),
            (None, Some(text)) => Self::Except(column_names("--except", text)?),
            (None, None) => Self::All,
        })
    }

    /// Leaves the other columns out.
    fn apply(&self, described: &mut Described) -> Result {
        let (option, names) = match self {
            Self::All => return Ok(()),
            Self::Only(names) => ("--columns", names),
            Self::Except(names) => ("--except", names),
        };
        let chosen = chosen(option, names, described)?;
        let table = &mut described.table;
        let wanted = matches!(self, Self::Only(_));
        let key = table.key.clone();
        table
            .columns
            .retain(|column| key.contains(column) || chosen.contains(column) == wanted);
        Ok(())
    }
}

/// The columns of these names, as the server compares them.
fn chosen(option: &str, names: &[String], described: &Described) -> Result<Vec<Column>> {
    let table = &described.table;
    let find = |name: &String| {
        let is = |column: &&Column| column.name.to_lowercase() == name.to_lowercase();
        table.columns.iter().find(is).cloned().ok_or_else(|| {
            Error::usage(format!(
                "{option}: {} has no column {}; it has {}",
                table.name.quoted(),
                quoted(name),
                sql::list(table.columns.iter().map(|column| column.name.as_str()))
            ))
        })
    };
    names.iter().map(find).collect()
}

/// Reads `a,b`, each in backticks or without a comma.
fn column_names(option: &str, text: &str) -> Result<Vec<String>> {
    let expected = || {
        Error::usage(format!(
            "{option}: expected names of columns with commas between them, got {text}; a name with a \
             comma, a dot or a backtick goes in backticks"
        ))
    };
    sql::identifiers(text).ok_or_else(expected)
}

/// What the user should know, and the triggers do not say.
fn warn(options: &Options, described: &Described) {
    let table = described.table.name.quoted();
    if options.outbox && !described.is_transactional {
        terminal::say(&format!(
            "{table} is of the engine {}, which has no transactions: a statement that fails leaves rows \
             whose jobs are rolled back; ALTER TABLE {table} ENGINE=InnoDB",
            described.engine
        ));
    }
    for complaint in described.triggers.iter().filter_map(copies::complaint) {
        terminal::say(&complaint);
    }
    if !options.cascade {
        for key in &described.cascades {
            terminal::say(&format!(
                "{table} is the child of {} by the key {}, {}: rows that it changes fire no trigger, \
                 and Redis keeps their old values; --cascade adds triggers to the parent",
                key.parent.quoted(),
                quoted(&key.name),
                key.rules()
            ));
        }
    }
}

/// The triggers on the parents, if they are wanted.
fn cascading(
    conn: &mut Conn,
    options: &Options,
    described: &Described,
    style: &Style,
) -> Result<Vec<Trigger>> {
    if !options.cascade {
        return Ok(Vec::new());
    }
    let cascading = cascade::triggers(conn, described, style)?;
    for problem in &cascading.impossible {
        terminal::say(problem);
    }
    Ok(cascading.triggers)
}

fn say_what_is_sent_from_now_on(described: &Described) {
    let columns = check::newly_sent(described);
    if !columns.is_empty() {
        terminal::say(&format!(
            "Redis gets {} with the next change of each row; {} sends all rows now",
            sql::list(columns),
            check::load(&described.table.name)
        ));
    }
}

/// Drops those of a table, and says so at once if that is not JSON.
fn drop(conn: &mut Conn, table: &TableName, json: bool) -> Result<Vec<Listed>> {
    let mut ours = describe::all_triggers(conn)?;
    ours.retain(|trigger| is_ours(trigger, table));
    if ours.is_empty() {
        terminal::say(&format!(
            "{} has no triggers of ours that this account may see",
            table.quoted()
        ));
    }
    let mut dropped = Vec::new();
    for trigger in &ours {
        install::drop(conn, &trigger.name)?;
        let listed = Listed::dropped(trigger);
        if !json {
            listed.print()?;
        }
        dropped.push(listed);
    }
    Ok(dropped)
}

/// Whether a trigger is one of those that are made for `table`, or that came with it when it was called
/// otherwise.
fn is_ours(trigger: &describe::Existing, table: &TableName) -> bool {
    let on_itself = trigger.on == *table && check::table_of(trigger).is_some();
    on_itself || cascade::is_for(trigger, table)
}
