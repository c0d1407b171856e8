//! Triggers are created and dropped.

use mysql::Conn;

use super::script::{self, SQL_MODE, Trigger};
use crate::connections::{Ask, refused};
use crate::error::{Error, Result};
use crate::sql::{TableName, quoted};

// Numbers of errors, the same for both families.
const ER_DBACCESS_DENIED: u16 = 1044;
const ER_TABLEACCESS_DENIED: u16 = 1142;
const ER_NO_SUCH_TABLE: u16 = 1146;
const ER_SPECIFIC_ACCESS_DENIED: u16 = 1227;
const ER_SP_DOES_NOT_EXIST: u16 = 1305;
const ER_TRG_DOES_NOT_EXIST: u16 = 1360;
const ER_BINLOG_CREATE_ROUTINE_NEED_SUPER: u16 = 1419;

/// The functions that triggers may call.
const FUNCTIONS: [&str; 5] = [
    "gman_do_background",
    "json_array_udf",
    "json_object_udf",
    "json_values",
    "json_base64",
];

/// Creates the triggers in the place of those of the same names, which nobody can do without in
/// between: their tables are locked.
///
/// # Errors
///
/// If what they need is missing, or the server refuses; then the old triggers are as they were.
pub(super) fn create(conn: &mut Conn, triggers: &[Trigger]) -> Result {
    for trigger in triggers {
        require(conn, trigger)?;
    }
    let old: Vec<Option<Definition>> = triggers
        .iter()
        .map(|trigger| Definition::of(conn, trigger))
        .collect::<Result<_>>()?;
    set_sql_mode(conn, SQL_MODE)?;
    run(conn, "lock the table", &script::lock(triggers))?;
    let replaced = triggers
        .iter()
        .zip(&old)
        .try_for_each(|(trigger, old)| replace(conn, trigger, old.as_ref()));
    let unlocked = run(conn, "unlock the table", "UNLOCK TABLES");
    replaced.and(unlocked)
}

/// Drops a trigger.
///
/// # Errors
///
/// If the server refuses.
pub(super) fn drop(conn: &mut Conn, trigger: &TableName) -> Result {
    let sql = format!("DROP TRIGGER IF EXISTS {}", trigger.quoted());
    run(
        conn,
        &format!("drop the trigger {}", trigger.quoted()),
        &sql,
    )
}

fn replace(conn: &mut Conn, trigger: &Trigger, old: Option<&Definition>) -> Result {
    let what = format!("create the trigger {}", trigger.name.quoted());
    run(conn, &what, &trigger.drop())?;
    let Err(error) = run(conn, &what, &trigger.create) else {
        return Ok(());
    };
    let Some(old) = old else { return Err(error) };
    let back = set_sql_mode(conn, &old.sql_mode).and_then(|()| run(conn, &what, &old.create));
    Err(match back {
        Ok(()) => error,
        Err(_) => Error::failed(format!(
            "{}; the trigger that was there is gone and could not be created again: {}",
            error.text(),
            old.create
        )),
    })
}

/// A trigger as it is.
struct Definition {
    sql_mode: String,
    create: String,
}

impl Definition {
    fn of(conn: &mut Conn, trigger: &Trigger) -> Result<Option<Self>> {
        let sql = format!("SHOW CREATE TRIGGER {}", trigger.name.quoted());
        let row: Option<mysql::Row> = match conn.ask_first(sql) {
            Err(mysql::Error::MySqlError(error)) if error.code == ER_TRG_DOES_NOT_EXIST => None,
            row => row.map_err(|error| explained("look at the triggers that are there", &error))?,
        };
        Ok(row.and_then(|row| {
            Some(Self {
                sql_mode: row.get(1)?,
                create: row.get(2)?,
            })
        }))
    }
}

/// Refuses a trigger that would make every write to its table fail.
fn require(conn: &mut Conn, trigger: &Trigger) -> Result {
    run(
        conn,
        "use the schema",
        &format!("USE {}", quoted(&trigger.name.database)),
    )?;
    for function in FUNCTIONS {
        if !trigger.create.contains(&format!("{function}(")) {
            continue;
        }
        // Without arguments it fails, but not for being unknown.
        match conn.run(format!("DO {function}()")) {
            Err(mysql::Error::MySqlError(error)) if error.code == ER_SP_DOES_NOT_EXIST => {
                return Err(Error::failed(format!(
                    "the function {function} is missing, and without it every write to the table would \
                     fail; install the library first, or run sql/install.sql again after an upgrade"
                )));
            }
            Err(mysql::Error::MySqlError(_)) | Ok(()) => {}
            Err(error) => return Err(refused(format!("look for {function}"), &error)),
        }
    }
    if trigger.create.contains("INTO `gman_outbox`") {
        match conn.run("SELECT 1 FROM `gman_outbox` LIMIT 0") {
            Err(mysql::Error::MySqlError(error)) if error.code == ER_NO_SUCH_TABLE => {
                return Err(Error::failed(format!(
                    "there is no outbox in {0}, and without it every write to the table would fail; run \
                     sql/outbox.sql or sql/outbox-plain.sql in {0} first",
                    quoted(&trigger.name.database)
                )));
            }
            looked => looked.map_err(|error| explained("look at gman_outbox", &error))?,
        }
    }
    Ok(())
}

fn set_sql_mode(conn: &mut Conn, mode: &str) -> Result {
    run(
        conn,
        "set sql_mode",
        &format!("SET SESSION sql_mode = '{mode}'"),
    )
}

fn run(conn: &mut Conn, what: &str, sql: &str) -> Result {
    conn.run(sql).map_err(|error| explained(what, &error))
}

/// What the server said, with what to do.
fn explained(what: &str, error: &mysql::Error) -> Error {
    let code = match error {
        mysql::Error::MySqlError(error) => error.code,
        _ => 0,
    };
    let remedy = match code {
        ER_DBACCESS_DENIED | ER_TABLEACCESS_DENIED | ER_SPECIFIC_ACCESS_DENIED => {
            "; the account needs TRIGGER and SELECT on the table, and LOCK TABLES on its schema"
        }
        ER_BINLOG_CREATE_ROUTINE_NEED_SUPER => {
            "; use an account with SUPER, or SET GLOBAL log_bin_trust_function_creators = ON"
        }
        _ => "",
    };
    Error::failed(format!("{}{remedy}", refused(what, error).text()))
}
