//! The database servers: one for each configuration that a way needs, with the same table.

use std::array;
use std::cell::OnceCell;

use mysql::prelude::Queryable;

use crate::support::{Database, product_file};

/// The row that shows whether a way works; no measurement touches it.
pub(crate) const PROBE: u32 = 0;

/// What is special about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Configuration {
    /// Neither a binary log nor our library.
    Plain,
    /// A binary log in row format.
    Logging,
    /// As `Plain`; the table has an indexed `updated_at`.
    Polled,
    /// Our library, with both plugins.
    Library,
    /// The same, and a binary log.
    LibraryLogging,
    /// The outbox and its event, which polls.
    Outbox,
    /// The same, and commits wake the event.
    OutboxWoken,
    /// The outbox, for `gman relay`.
    OutboxRelay,
}

const CONFIGURATIONS: usize = Configuration::OutboxRelay as usize + 1;

/// All servers, each started when it is first asked for.
pub(crate) struct Servers {
    rows: u32,
    started: [OnceCell<Database>; CONFIGURATIONS],
}

impl Servers {
    /// Their tables will have the rows `id` = 1 ... `rows`, and [`PROBE`].
    pub(crate) fn new(rows: u32) -> Self {
        Self {
            rows,
            started: array::from_fn(|_| OnceCell::new()),
        }
    }

    pub(crate) fn get(&self, configuration: Configuration) -> &Database {
        self.started[configuration as usize].get_or_init(|| start(configuration, self.rows))
    }
}

fn start(configuration: Configuration, rows: u32) -> Database {
    use Configuration::*;
    let mut builder = Database::builder()
        .option("--event-scheduler=OFF")
        .option("--innodb-flush-log-at-trx-commit=1")
        .option("--innodb-buffer-pool-size=512M")
        // MariaDB's own default is 96 MB; the one of the tests is so small that its end is always near.
        .option("--loose-innodb-log-file-size=256M");
    builder = match configuration {
        Logging | LibraryLogging => builder
            .option("--log-bin=binlog")
            .option("--binlog-format=ROW")
            .option("--server-id=1"),
        _ => builder.option("--skip-log-bin"),
    };
    let has_library = !matches!(configuration, Plain | Logging | Polled);
    if has_library {
        builder = builder.library().configuration(
            "plugin-load-add=libgearman_mysql_udf.so\n\
             gman_timeout_ms=60000\n\
             gman_on_failure=error",
        );
    }
    let database = builder.start();
    if has_library {
        database.install_functions();
    }
    if matches!(configuration, Outbox | OutboxWoken | OutboxRelay) {
        database.execute("DROP FUNCTION gman_do_background");
        database.run_script(&product_file("sql/outbox.sql"));
    }
    if configuration == OutboxWoken {
        database.run_script(&product_file("sql/outbox-wake.sql"));
    }
    create_table(&database, rows);
    if configuration == Polled {
        database.execute(
            "ALTER TABLE t
               ADD updated_at TIMESTAMP(6) NOT NULL
                 DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
               ADD INDEX (updated_at)",
        );
    }
    database
}

fn create_table(database: &Database, rows: u32) {
    let mut session = database.connect();
    let mut run = |sql: &str| {
        session
            .query_drop(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    };
    run("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, name VARCHAR(32) NOT NULL) ENGINE=InnoDB");
    let ids: Vec<u32> = (PROBE..=rows).collect();
    for ids in ids.chunks(1000) {
        let rows: Vec<String> = ids.iter().map(|id| format!("({id}, '')")).collect();
        run(&format!("INSERT INTO t VALUES {}", rows.join(",")));
    }
}
