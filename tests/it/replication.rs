//! What replication does with triggers that call the functions.

mod parallel;

use std::time::Duration;

use mysql::Row;
use mysql::prelude::Queryable;

use crate::support::{
    Database, FILE_NAME, Gearmand, Library, ReplicationWords, product_file, unsupported, wait_until,
};

/// `ER_BINLOG_UNSAFE_STATEMENT`.
const UNSAFE: u16 = 1592;

/// A primary and its replica, each with the library in its plugin directory and a job server of
/// its own, which keeps what it is given.
struct Pair {
    primary: Side,
    replica: Side,
    words: ReplicationWords,
}

struct Side {
    database: Database,
    gearmand: Gearmand,
}

impl Side {
    fn start(id: u8, options: &[&str]) -> Self {
        let mut builder = Database::builder().option(format!("--server-id={id}"));
        for option in options {
            builder = builder.option(*option);
        }
        Self {
            database: builder.start(),
            gearmand: Gearmand::start(),
        }
    }

    fn set_servers(&self) {
        let address = self.gearmand.address();
        let set = format!("SELECT gman_servers_set('{address}')");
        assert_eq!(self.database.value::<String>(&set), address);
    }

    /// How many jobs its job server has.
    fn jobs(&self) -> u64 {
        let status = self.gearmand.status();
        status.get("f").map_or(0, |f| f.queued)
    }

    fn rows(&self) -> Vec<(u32, u32)> {
        self.database.query("SELECT id, n FROM t ORDER BY id")
    }
}

impl Pair {
    /// Replicates from the primary's first statement on. The library is in the plugin directory of
    /// both.
    fn start(format: &str) -> Self {
        Self::start_with(format, &[])
    }

    fn start_with(format: &str, options_of_replica: &[&str]) -> Self {
        let pair = Self::without_library(format, options_of_replica);
        for side in [&pair.primary, &pair.replica] {
            side.database.copy_library(Library::release(), FILE_NAME);
        }
        pair
    }

    fn without_library(format: &str, options_of_replica: &[&str]) -> Self {
        let format = format!("--binlog-format={format}");
        let primary = Side::start(1, &["--log-bin=binlog", &format]);
        let replica = Side::start(2, options_of_replica);
        let mut session = primary.database.connect();
        for sql in [
            "CREATE USER repl@127.0.0.1 IDENTIFIED BY 'repl'",
            "GRANT REPLICATION SLAVE ON *.* TO repl@127.0.0.1",
        ] {
            session
                .query_drop(sql)
                .unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        let words = ReplicationWords::of(&mut session);
        for sql in words.follow(primary.database.port()) {
            replica.database.execute(&sql);
        }
        Self {
            primary,
            replica,
            words,
        }
    }

    /// The functions are created where the binary log does not see it.
    fn without_functions_on_the_replica(format: &str) -> Self {
        let pair = Self::without_library(format, &[]);
        let primary = &pair.primary.database;
        primary.copy_library(Library::release(), FILE_NAME);
        let mut session = primary.connect();
        for sql in [
            "SET sql_log_bin = 0",
            "CREATE FUNCTION json_object_udf RETURNS STRING SONAME 'libgearman_mysql_udf.so'",
            "CREATE FUNCTION gman_do_background RETURNS STRING SONAME 'libgearman_mysql_udf.so'",
        ] {
            session
                .query_drop(sql)
                .unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        pair
    }

    /// Creates the functions, a table `t` of two rows, and its trigger, all on the primary; names
    /// each side's job server.
    fn with_trigger(self) -> Self {
        self.install();
        self.create_table();
        self.create_trigger(&self.primary);
        self.catch_up();
        for side in [&self.primary, &self.replica] {
            side.set_servers();
        }
        self
    }

    fn install(&self) {
        let install = product_file("sql/install.sql");
        self.primary.database.run_script(&install);
    }

    /// Creates the functions on the replica, and has it go on.
    fn mend_replica(&self) {
        let replica = &self.replica.database;
        replica.install_functions();
        // MariaDB keeps a trigger as it has read it, with a stored function that is not there.
        replica.execute("FLUSH TABLES");
        self.restart_replica();
    }

    fn restart_replica(&self) {
        self.replica.database.execute(self.words.stop());
        self.replica.database.execute(self.words.start());
    }

    fn install_outbox(&self) {
        self.install();
        let primary = &self.primary.database;
        primary.execute("DROP FUNCTION gman_do_background");
        primary.run_script(&product_file("sql/outbox.sql"));
    }

    fn create_table(&self) {
        self.primary
            .database
            .execute("CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB");
        self.primary
            .database
            .execute("INSERT INTO t VALUES (1, 0), (2, 0)");
    }

    fn create_trigger(&self, side: &Side) {
        side.database.execute(
            "CREATE TRIGGER changed AFTER UPDATE ON t FOR EACH ROW
             SET @handle = gman_do_background('f', json_object_udf(NEW.id, NEW.n))",
        );
    }

    fn update(&self) {
        self.primary.database.execute("UPDATE t SET n = n + 1");
    }

    /// Waits until the replica has done all that the primary has; or says why it has stopped.
    fn try_catch_up(&self) -> Result<(), String> {
        let position = self
            .primary
            .database
            .query::<Row>(self.words.show_position());
        let position = position.first().expect("a binary log");
        let file: String = position.get("File").expect("its name");
        let position: u64 = position.get("Position").expect("its length");
        let replica = &self.replica.database;
        match replica.value::<Option<i64>>(&self.words.wait(&file, position)) {
            Some(0..) => Ok(()),
            Some(_) => panic!(
                "the replica has not caught up: {}",
                replica.show(&format!("{}\\G", self.words.show_replica()))
            ),
            None => Err(self.last_error()),
        }
    }

    #[track_caller]
    fn catch_up(&self) {
        if let Err(error) = self.try_catch_up() {
            panic!("the replica has stopped: {error}");
        }
    }

    fn last_error(&self) -> String {
        let status = self
            .replica
            .database
            .query::<Row>(self.words.show_replica());
        let status = status.first().expect("a replica");
        let text = |column: &str| status.get::<String, _>(column).unwrap_or_default();
        // Newer servers have several workers, whose errors are in the log only.
        format!(
            "{} {}\n{}",
            text("Last_SQL_Error"),
            text("Last_IO_Error"),
            self.replica.database.error_log()
        )
    }
}

#[test]
fn statements_run_the_trigger_on_the_replica_too() {
    let pair = Pair::start("STATEMENT").with_trigger();
    pair.update();
    pair.catch_up();
    assert_eq!(pair.replica.rows(), [(1, 1), (2, 1)]);
    assert_eq!((pair.primary.jobs(), pair.replica.jobs()), (2, 2));
}

/// The binary log has what the server has parsed.
#[test]
fn the_old_sql_on_the_primary_needs_no_plugin_on_the_replica() {
    let pair = Pair::start("STATEMENT");
    pair.install();
    pair.create_table();
    let mut session = pair.primary.database.connect();
    for sql in [
        "INSTALL PLUGIN gman SONAME 'libgearman_mysql_udf.so'",
        "INSTALL PLUGIN gman_legacy SONAME 'libgearman_mysql_udf.so'",
        "SET GLOBAL gman_legacy_json_names = ON",
    ] {
        if let Err(error) = session.query_drop(sql) {
            unsupported!("this server rewrites no statements: {error}");
        }
    }
    session
        .query_drop(
            "CREATE TRIGGER changed AFTER UPDATE ON t FOR EACH ROW
             SET @handle = gman_do_background('f', json_object(NEW.id AS id, NEW.n AS n))",
        )
        .expect("a trigger");
    pair.catch_up();
    for side in [&pair.primary, &pair.replica] {
        side.set_servers();
    }
    pair.update();
    pair.catch_up();
    assert_eq!((pair.primary.jobs(), pair.replica.jobs()), (2, 2));
    let events: Vec<Row> = session
        .query("SHOW BINLOG EVENTS IN 'binlog.000001'")
        .expect("a binary log");
    let texts: Vec<String> = events
        .iter()
        .filter_map(|event| event.get("Info"))
        .collect();
    let triggers: Vec<_> = texts
        .iter()
        .filter(|text| text.contains("TRIGGER"))
        .collect();
    assert_eq!(triggers.len(), 1);
    assert!(
        triggers[0].contains("json_object_udf(NEW.id AS id, NEW.n AS n)"),
        "{triggers:?}"
    );
}

#[test]
fn rows_do_not_run_the_trigger_on_the_replica() {
    // In mixed format the server logs a statement with a loadable function as rows.
    for format in ["ROW", "MIXED"] {
        let pair = Pair::start(format).with_trigger();
        pair.update();
        pair.catch_up();
        assert_eq!(pair.replica.rows(), [(1, 1), (2, 1)], "{format}");
        assert_eq!(
            (pair.primary.jobs(), pair.replica.jobs()),
            (2, 0),
            "{format}"
        );
    }
}

#[test]
fn a_statement_with_a_loadable_function_is_called_unsafe() {
    let pair = Pair::start("STATEMENT").with_trigger();
    let mut session = pair.primary.database.connect();
    session
        .query_drop("UPDATE t SET n = n + 1")
        .expect("an update");
    let warnings: Vec<(String, u16, String)> =
        session.query("SHOW WARNINGS").expect("its warnings");
    let is_unsafe = |(level, code, _): &(String, u16, String)| level == "Note" && *code == UNSAFE;
    assert!(warnings.iter().any(is_unsafe), "{warnings:?}");
    let log = pair.primary.database.error_log();
    assert!(log.contains("Unsafe statement written"), "{log}");
}

#[test]
fn a_replica_can_be_told_to_run_triggers_for_rows() {
    let variable = "slave_run_triggers_for_rbr";
    {
        let database = Database::start();
        if database
            .query::<Row>(&format!("SHOW VARIABLES LIKE '{variable}'"))
            .is_empty()
        {
            unsupported!("no {variable}");
        }
    }
    // The setting, whose trigger it is, and whether the trigger runs on the replica.
    let cases = [
        ("NO", "replica", 0),
        ("YES", "both", 0),
        ("YES", "replica", 2),
        ("ENFORCE", "both", 2),
    ];
    for (setting, whose, jobs) in cases {
        let pair = Pair::start_with("ROW", &[&format!("--{variable}={setting}")]);
        pair.install();
        pair.create_table();
        pair.catch_up();
        match whose {
            "replica" => pair.create_trigger(&pair.replica),
            _ => pair.create_trigger(&pair.primary),
        }
        pair.catch_up();
        pair.replica.set_servers();
        pair.update();
        pair.catch_up();
        assert_eq!(pair.replica.jobs(), jobs, "{setting}, trigger on {whose}");
    }
}

#[test]
fn a_replica_without_the_library_stops_at_create_function() {
    let pair = Pair::without_library("ROW", &[]);
    pair.primary
        .database
        .copy_library(Library::release(), FILE_NAME);
    pair.install();
    let error = pair.try_catch_up().expect_err("no library to load");
    assert!(error.contains("Can't open shared library"), "{error}");
    let replica = &pair.replica.database;
    replica.copy_library(Library::release(), FILE_NAME);
    pair.restart_replica();
    pair.catch_up();
    let functions = "SELECT COUNT(*) FROM mysql.func";
    assert_eq!(
        replica.value::<u32>(functions),
        pair.primary.database.value::<u32>(functions)
    );
}

#[test]
fn a_replica_without_the_functions_stops_at_a_statement_and_takes_rows() {
    for (format, stops) in [("STATEMENT", true), ("ROW", false)] {
        let pair = Pair::without_functions_on_the_replica(format);
        pair.create_table();
        pair.create_trigger(&pair.primary);
        pair.update();
        match pair.try_catch_up() {
            Ok(()) => {
                assert!(!stops, "{format}");
                assert_eq!(pair.replica.rows(), [(1, 1), (2, 1)]);
            }
            Err(error) => {
                assert!(stops, "{format}: {error}");
                assert!(error.contains("does not exist"), "{error}");
                pair.mend_replica();
                pair.catch_up();
                assert_eq!(pair.replica.rows(), [(1, 1), (2, 1)]);
            }
        }
    }
}

#[test]
fn a_replica_without_the_functions_stops_at_a_trigger_with_aliases() {
    let pair = Pair::without_functions_on_the_replica("ROW");
    pair.create_table();
    pair.primary.database.execute(
        "CREATE TRIGGER changed AFTER UPDATE ON t FOR EACH ROW
         SET @handle = gman_do_background('f', json_object_udf(NEW.id AS `id`))",
    );
    let error = pair.try_catch_up().expect_err("no such function");
    assert!(
        error.contains("Incorrect parameters in the call"),
        "{error}"
    );
    pair.mend_replica();
    pair.catch_up();
}

#[test]
fn a_failed_delivery_on_the_replica_does_not_stop_it() {
    let pair = Pair::start("STATEMENT").with_trigger();
    let dead = "SELECT gman_servers_set('127.0.0.1:1')";
    pair.replica.database.execute(dead);
    pair.update();
    pair.catch_up();
    assert_eq!(pair.replica.rows(), [(1, 1), (2, 1)]);
    assert_eq!((pair.primary.jobs(), pair.replica.jobs()), (2, 0));
    let log = pair.replica.database.error_log();
    assert!(
        log.contains("gman_do_background: connect 127.0.0.1:1"),
        "{log}"
    );
}

#[test]
fn a_failed_delivery_on_the_replica_stops_it_where_a_failure_is_an_error() {
    let pair = Pair::start("STATEMENT").with_trigger();
    let replica = &pair.replica.database;
    let install = "INSTALL PLUGIN gman SONAME 'libgearman_mysql_udf.so'";
    if replica.connect().query_drop(install).is_err() {
        unsupported!("no settings without the plugin");
    }
    replica.execute("SET GLOBAL gman_on_failure = 'error', gman_servers = '127.0.0.1:1'");
    pair.update();
    let error = pair.try_catch_up().expect_err("the trigger fails");
    assert!(error.contains("gman_do_background: connect"), "{error}");
    replica.execute("SET GLOBAL gman_on_failure = 'warning'");
    pair.restart_replica();
    pair.catch_up();
    assert_eq!(pair.replica.rows(), [(1, 1), (2, 1)]);
}

#[test]
fn a_replica_with_a_binary_log_takes_the_outbox() {
    let pair = Pair::start_with("ROW", &["--log-bin=own"]);
    pair.install_outbox();
    pair.catch_up();
}

#[test]
fn the_outbox_goes_on_where_the_replica_is_promoted() {
    let pair = Pair::start_with("ROW", &["--event-scheduler=ON"]);
    pair.install_outbox();
    pair.create_table();
    pair.create_trigger(&pair.primary);
    // The primary has no job server: what is written waits.
    pair.update();
    pair.catch_up();

    let replica = &pair.replica.database;
    let depth = "SELECT depth FROM gman_outbox_status";
    let state =
        "SELECT status FROM information_schema.events WHERE event_name = 'gman_outbox_relay'";
    pair.replica.set_servers();
    assert_eq!(replica.value::<u32>(depth), 2);
    let disabled: String = replica.value(state);
    assert!(disabled.ends_with("SIDE_DISABLED"), "{disabled}");

    replica.execute(pair.words.stop());
    replica.execute("ALTER EVENT gman_outbox_relay ENABLE");
    wait_until(
        Duration::from_secs(60),
        "the promoted replica to relay",
        || match replica.value::<u32>(depth) {
            0 => Ok(()),
            waiting => Err(waiting),
        },
    );
    assert_eq!((pair.primary.jobs(), pair.replica.jobs()), (0, 2));
}
