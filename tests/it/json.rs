//! The JSON functions in a real server: `GMAN_TEST_SERVER` chooses which.

mod base64;
mod charset;
mod conformance;
mod large;
mod names;
mod nesting;
mod numbers;
mod property;

use mysql::prelude::Queryable;
use mysql::{Conn, Row, Value};

use crate::support::Database;

/// `ER_NATIVE_FCT_NAME_COLLISION`: the server has a native function of this name.
const NATIVE_NAME: u16 = 1585;

/// A server with the functions, and one session in it.
struct Json {
    session: Conn,
    /// Whether `json_object` and `json_array` are ours, or only with `_udf` behind.
    has_bare_names: bool,
    database: Database,
}

impl Json {
    fn start() -> Self {
        Self::start_on(Database::start())
    }

    fn start_on(database: Database) -> Self {
        database.install_functions();
        let mut session = database.connect();
        let has_bare_names = create_bare_names(&mut session);
        Self {
            session,
            has_bare_names,
            database,
        }
    }

    /// Runs a statement that answers one row with one text.
    fn text(&mut self, sql: &str) -> String {
        match self.try_rows(sql) {
            Ok(rows) => match rows.as_slice() {
                [Some(text)] => text.clone(),
                rows => panic!("{sql}: expected one text, got {rows:?}"),
            },
            Err(error) => panic!("{sql}: {error}"),
        }
    }

    /// Runs a statement that fails; answers why.
    fn error(&mut self, sql: &str) -> String {
        match self.try_rows(sql) {
            Ok(rows) => panic!("{sql}: expected an error, got {rows:?}"),
            Err(error) => error.to_string(),
        }
    }

    /// Runs a statement that answers nothing.
    fn execute(&mut self, sql: &str) {
        let sql = self.with_our_names(sql);
        self.session
            .query_drop(&sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Runs `sql`, in which the functions have their bare names; returns the first column, `None`
    /// for NULL.
    fn try_rows(&mut self, sql: &str) -> mysql::Result<Vec<Option<String>>> {
        let rows: Vec<Row> = self.session.query(self.with_our_names(sql))?;
        Ok(rows.into_iter().map(first_column).collect())
    }

    fn with_our_names(&self, sql: &str) -> String {
        if self.has_bare_names {
            return sql.to_owned();
        }
        sql.replace("json_object(", "json_object_udf(")
            .replace("json_array(", "json_array_udf(")
    }
}

/// Creates the functions under the names of the C library, where no native function has them.
fn create_bare_names(session: &mut Conn) -> bool {
    ["json_object", "json_array"].iter().all(|name| {
        let create =
            format!("CREATE FUNCTION {name} RETURNS STRING SONAME 'libgearman_mysql_udf.so'");
        match session.query_drop(create) {
            Ok(()) => true,
            Err(mysql::Error::MySqlError(error)) if error.code == NATIVE_NAME => false,
            Err(error) => panic!("cannot create {name}: {error}"),
        }
    })
}

fn first_column(row: Row) -> Option<String> {
    match row.unwrap().swap_remove(0) {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8(bytes).expect("UTF-8")),
        other => panic!("expected text, got {other:?}"),
    }
}
