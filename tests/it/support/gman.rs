//! A database with the functions of the library, called the way a user calls them.

use std::time::{Duration, Instant};

use mysql::prelude::{FromRow, Queryable};
use mysql::{Conn, Value};

use super::database::{Builder, Database};
use super::library::{FILE_NAME, Library};

/// A database server with the library's functions, and one session in it.
pub(crate) struct Gman {
    pub(crate) session: Conn,
    pub(crate) database: Database,
}

/// What a call answered, and how long it took.
#[derive(Debug)]
pub(crate) struct Call {
    /// The value, `None` for NULL; or the text of the SQL error.
    pub(crate) answer: Result<Option<Vec<u8>>, String>,
    pub(crate) took: Duration,
}

impl Call {
    /// The value as text.
    pub(crate) fn text(self) -> String {
        match self.answer {
            Ok(Some(value)) => String::from_utf8_lossy(&value).into_owned(),
            other => panic!("expected a value, got {other:?}"),
        }
    }

    /// The text of the SQL error.
    pub(crate) fn error(self) -> String {
        match self.answer {
            Err(error) => error,
            other => panic!("expected an error, got {other:?}"),
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.answer == Ok(None)
    }
}

impl Gman {
    /// With the library as it is shipped, and every setting at its default.
    pub(crate) fn start() -> Self {
        Self::start_on(Database::builder())
    }

    /// The same, on a server of the test's choice.
    pub(crate) fn start_on(server: Builder) -> Self {
        let database = server.start();
        database.install_functions();
        Self {
            session: database.connect(),
            database,
        }
    }

    /// With the functions of `functions/test_switches.rs`, which change settings and read counters.
    pub(crate) fn with_switches() -> Self {
        Self::with_switches_on(Database::builder())
    }

    /// The same, on a server of the test's choice.
    pub(crate) fn with_switches_on(server: Builder) -> Self {
        let database = server.start();
        database.install_functions_of(Library::with_switches());
        for name in ["gman_test_set", "gman_test_status"] {
            database.execute(&format!(
                "CREATE FUNCTION {name} RETURNS INTEGER SONAME '{FILE_NAME}'"
            ));
        }
        Self {
            session: database.connect(),
            database,
        }
    }

    /// Names the default job servers.
    pub(crate) fn set_servers(&mut self, servers: &str) {
        let call = self.call(&format!("gman_servers_set('{servers}')"));
        assert_eq!(call.text(), servers);
    }

    /// Changes a setting.
    pub(crate) fn set(&mut self, name: &str, value: impl ToString) {
        let value = value.to_string();
        let call = self.call(&format!("gman_test_set('{name}', '{value}')"));
        assert_eq!(call.text(), "1");
    }

    /// Reads a counter.
    pub(crate) fn status(&mut self, name: &str) -> u64 {
        let call = self.call(&format!("gman_test_status('{name}')"));
        call.text().parse().expect("a number")
    }

    /// Returns the value of `SELECT expression`.
    pub(crate) fn call(&mut self, expression: &str) -> Call {
        call(&mut self.session, expression)
    }

    pub(crate) fn execute(&mut self, sql: &str) {
        self.session
            .query_drop(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    pub(crate) fn query<T: FromRow>(&mut self, sql: &str) -> Vec<T> {
        self.session
            .query(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// A table `t` with the rows `id` = 1 ... `rows`, whose updates call `SET @result = call`.
    pub(crate) fn create_table(&mut self, rows: u32, call: &str) {
        self.execute("CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB");
        let ids: Vec<u32> = (1..=rows).collect();
        for ids in ids.chunks(1000) {
            let rows: Vec<String> = ids.iter().map(|id| format!("({id}, 0)")).collect();
            self.execute(&format!("INSERT INTO t VALUES {}", rows.join(",")));
        }
        self.execute(&format!(
            "CREATE TRIGGER changed AFTER UPDATE ON t FOR EACH ROW SET @result = {call}"
        ));
    }

    /// Updates every row of `t`; returns how long it took.
    pub(crate) fn update_all(&mut self) -> Duration {
        let started = Instant::now();
        self.execute("UPDATE t SET n = n + 1 ORDER BY id");
        started.elapsed()
    }
}

/// Returns the value of `SELECT expression` in `session`.
pub(crate) fn call(session: &mut Conn, expression: &str) -> Call {
    let started = Instant::now();
    let row = session.query_first::<Value, _>(format!("SELECT {expression}"));
    let took = started.elapsed();
    let answer = match row {
        Ok(Some(Value::NULL)) => Ok(None),
        Ok(Some(Value::Bytes(bytes))) => Ok(Some(bytes)),
        Ok(other) => panic!("{expression}: expected a row of text, got {other:?}"),
        Err(mysql::Error::MySqlError(error)) => Err(error.message),
        Err(error) => panic!("{expression}: {error}"),
    };
    Call { answer, took }
}
