//! What a dump holds of triggers and functions, and what restoring it does.

use mysql::prelude::Queryable;

use crate::support::{Database, FILE_NAME, Gearmand, Library, product_file, unsupported};

/// `ER_SP_DOES_NOT_EXIST`: a function that is called is not there.
const NO_SUCH_FUNCTION: u16 = 1305;

/// The function that the triggers send jobs of.
const FUNCTION: &str = "syncToRedis";

/// A server with the tutorial's table and trigger.
fn source() -> Database {
    let database = Database::start();
    database.install_functions();
    database.run_script(&product_file("sql/test-native-json.sql"));
    database
}

/// A server with the functions, whose jobs go to a job server that keeps them.
fn target() -> (Database, Gearmand) {
    let database = Database::start();
    database.install_functions();
    let gearmand = Gearmand::start();
    set_servers(&database, &gearmand);
    (database, gearmand)
}

fn set_servers(database: &Database, gearmand: &Gearmand) {
    let address = gearmand.address();
    let set = format!("SELECT gman_servers_set('{address}')");
    assert_eq!(database.value::<String>(&set), address);
}

fn jobs(gearmand: &Gearmand) -> u64 {
    let status = gearmand.status();
    status.get(FUNCTION).map_or(0, |function| function.queued)
}

/// The number of the error that a statement fails with.
fn error_code(database: &Database, sql: &str) -> u16 {
    match database.connect().query_drop(sql) {
        Err(mysql::Error::MySqlError(error)) => error.code,
        other => panic!("{sql}: expected an error, got {other:?}"),
    }
}

#[test]
fn a_dump_has_the_triggers_and_restoring_it_sends_nothing() {
    let source = source();
    source.execute(&format!(
        "CREATE TRIGGER inserted AFTER INSERT ON test FOR EACH ROW
         SET @handle = gman_do_background('{FUNCTION}', json_object_udf(NEW.id))"
    ));
    let dump = match source.dump(&["test"]) {
        Ok(dump) => dump,
        Err(reason) => unsupported!("{reason}"),
    };
    let (target, gearmand) = target();
    target.try_sql(&dump).expect("the dump can be restored");
    assert_eq!(target.value::<u32>("SELECT COUNT(*) FROM test"), 9);
    // The triggers are created after the rows.
    assert_eq!(jobs(&gearmand), 0);
    target.execute("UPDATE test SET name = 'sm' WHERE id = 1");
    target.execute("INSERT INTO test VALUES (10, 'ten')");
    assert_eq!(jobs(&gearmand), 2);
}

#[test]
fn rows_that_are_restored_under_triggers_send_jobs() {
    let source = source();
    let dump = match source.dump(&["--no-create-info", "--skip-triggers", "test"]) {
        Ok(dump) => dump,
        Err(reason) => unsupported!("{reason}"),
    };
    let (target, gearmand) = target();
    target.execute("CREATE TABLE test (id INT PRIMARY KEY, name VARCHAR(8))");
    target.execute(&format!(
        "CREATE TRIGGER inserted AFTER INSERT ON test FOR EACH ROW
         SET @handle = gman_do_background('{FUNCTION}', json_object_udf(NEW.id))"
    ));
    target.try_sql(&dump).expect("the dump can be restored");
    assert_eq!(jobs(&gearmand), 9);
}

#[test]
fn a_trigger_with_aliases_is_restored_only_where_the_functions_are() {
    let source = source();
    let dump = match source.dump(&["test"]) {
        Ok(dump) => dump,
        Err(reason) => unsupported!("{reason}"),
    };
    let target = Database::start();
    // Without the loadable function the server expects a stored one, which has no `value AS name`.
    let refused = target.try_sql(&dump).expect_err("the trigger");
    assert!(refused.contains("ERROR 1584"), "{refused}");
    target.install_functions();
    target.try_sql(&dump).expect("the dump can be restored");
}

#[test]
fn a_trigger_without_aliases_is_restored_and_fails_until_the_functions_are_there() {
    let source = source();
    source.execute("DROP TRIGGER datatoredis");
    source.execute(&format!(
        "CREATE TRIGGER changed AFTER UPDATE ON test FOR EACH ROW
         SET @handle = gman_do_background('{FUNCTION}', json_object_udf(NEW.id))"
    ));
    let dump = match source.dump(&["test"]) {
        Ok(dump) => dump,
        Err(reason) => unsupported!("{reason}"),
    };
    let target = Database::start();
    target.try_sql(&dump).expect("the dump can be restored");
    let update = "UPDATE test SET name = 'sm' WHERE id = 1";
    assert_eq!(error_code(&target, update), NO_SUCH_FUNCTION);

    target.install_functions();
    // MariaDB keeps the trigger as it has read it, with a stored function that is not there.
    target.execute("FLUSH TABLES");
    let gearmand = Gearmand::start();
    set_servers(&target, &gearmand);
    target.execute(update);
    assert_eq!(jobs(&gearmand), 1);
}

#[test]
fn functions_that_are_restored_as_rows_wait_for_a_restart() {
    let source = source();
    let dump = match source.dump(&[
        "--no-create-info",
        "--skip-lock-tables",
        "--skip-add-locks",
        "mysql",
        "func",
    ]) {
        Ok(dump) => dump,
        Err(reason) => unsupported!("{reason}"),
    };
    let mut target = Database::start();
    target.copy_library(Library::release(), FILE_NAME);
    target
        .try_sql(&[b"USE mysql;\n", &dump[..]].concat())
        .expect("the dump can be restored");
    let call = "SELECT json_array_udf(1)";
    target.execute("FLUSH PRIVILEGES");
    assert_eq!(error_code(&target, call), NO_SUCH_FUNCTION);
    target.restart();
    assert_eq!(target.value::<String>(call), "[1]");
}

#[test]
fn mariadb_dump_writes_the_functions_as_statements_when_it_is_asked() {
    let source = source();
    if !source
        .value::<String>("SELECT VERSION()")
        .contains("MariaDB")
    {
        unsupported!("mariadb-dump --system=udfs is for MariaDB");
    }
    let dump = source.dump(&["--system=udfs"]).expect("a dump");
    let target = Database::start();
    target.copy_library(Library::release(), FILE_NAME);
    target.try_sql(&dump).expect("the dump can be restored");
    let functions = "SELECT name FROM mysql.func ORDER BY name";
    assert_eq!(
        target.query::<String>(functions),
        source.query::<String>(functions)
    );
    assert_eq!(
        target.value::<String>("SELECT json_object_udf(1 AS a)"),
        r#"{"a":1}"#
    );
}
