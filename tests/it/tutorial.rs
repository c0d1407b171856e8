//! The widely copied tutorial for the two C plugins, with its SQL letter for letter, and our
//! library in the place of both.

use std::time::Duration;

use mysql::prelude::Queryable;

use crate::support::{
    Database, FILE_NAME, Gearmand, Language, Library, RecordingWorker, Redis, RedisWorker,
    wait_until,
};

/// The file name of the other C plugin.
const JSON_PLUGIN: &str = "lib_mysqludf_json.so";

/// ER_NATIVE_FCT_NAME_COLLISION.
const NATIVE_NAME: u16 = 1585;

const CREATE_JSON_OBJECT: &str =
    "CREATE FUNCTION json_object RETURNS STRING SONAME 'lib_mysqludf_json.so'";
const CREATE_DO_BACKGROUND: &str =
    "CREATE FUNCTION gman_do_background RETURNS STRING SONAME 'libgearman_mysql_udf.so'";
const CREATE_SERVERS_SET: &str =
    "CREATE FUNCTION gman_servers_set RETURNS STRING SONAME 'libgearman_mysql_udf.so'";

/// `test.sql` as it is when the table is made.
const TABLE: &str = "\
use test;
CREATE TABLE `test` (`id` int(7) NOT NULL AUTO_INCREMENT, `name` char(8) DEFAULT NULL, PRIMARY KEY (`id`)) ENGINE=InnoDB DEFAULT CHARSET=utf8;
INSERT INTO `test` VALUES (1,'test1'),(2,'test2'),(3,'test3'),(4,'test4'),(5,'test5'),(6,'test6'),(7,'test7'),(8,'test8'),(9,'test9');
#DELIMITER $$
#CREATE TRIGGER datatoredis AFTER UPDATE ON test FOR EACH ROW BEGIN
# SET @RECV=gman_do_background('syncToRedis', json_object(NEW.id as `id`, NEW.name as `name`));
# END$$
#DELIMITER ;
";

/// `test.sql` as it is when the trigger is made.
const TRIGGER: &str = "\
use test;
#CREATE TABLE `test` (`id` int(7) NOT NULL AUTO_INCREMENT, `name` char(8) DEFAULT NULL, PRIMARY KEY (`id`)) ENGINE=InnoDB DEFAULT CHARSET=utf8;
#INSERT INTO `test` VALUES (1,'test1'),(2,'test2'),(3,'test3'),(4,'test4'),(5,'test5'),(6,'test6'),(7,'test7'),(8,'test8'),(9,'test9');
DELIMITER $$
CREATE TRIGGER datatoredis AFTER UPDATE ON test FOR EACH ROW BEGIN
 SET @RECV=gman_do_background('syncToRedis', json_object(NEW.id as `id`, NEW.name as `name`));
 END$$
DELIMITER ;
";

const UPDATE: &str = "update test set name='sm' where id=1";

/// With `gman_legacy_json_names`, where `json_object` is native.
#[test]
fn the_sql_of_the_tutorial_works_unchanged() {
    let mut database = with_old_names();
    let json_object = create_functions(&database);
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let _worker = RedisWorker::start(Language::Rust, &gearmand, &redis);
    set_servers(&database, &gearmand);
    database.run_text(TABLE);
    // As the page has put it there, out of the table.
    redis.set("1", "test1");
    database.run_text(TRIGGER);
    let mut session = database.connect();
    session.query_drop(UPDATE).expect(UPDATE);
    assert_eq!(session.affected_rows(), 1);
    assert_eq!(
        session.info_str(),
        "Rows matched: 1  Changed: 1  Warnings: 0"
    );
    wait_for(&redis, "1", "sm");

    // Others see the trigger with the function's name in this server.
    let shown: mysql::Row = session
        .query_first("SHOW CREATE TRIGGER datatoredis")
        .expect("a trigger")
        .expect("a row");
    let shown: String = shown.get("SQL Original Statement").expect("its text");
    assert!(
        shown.contains(&format!(
            "{json_object}(NEW.id as `id`, NEW.name as `name`)"
        )),
        "{shown}"
    );

    drop(session);
    database.restart();
    set_servers(&database, &gearmand);
    database.execute("update test set name='again' where id=1");
    wait_for(&redis, "1", "again");

    match database.dump(&["test"]) {
        Ok(dump) => restore(&dump, &gearmand, &redis),
        Err(reason) => println!("no dump: {reason}"),
    }
    database.shutdown();
    assert_no_errors(&database);
}

/// Restores a dump into a server where statements are not rewritten, and the trigger works there.
fn restore(dump: &[u8], gearmand: &Gearmand, redis: &Redis) {
    let mut database = with_old_names();
    create_functions(&database);
    set_servers(&database, gearmand);
    if are_rewritten(&database) {
        database.execute("SET GLOBAL gman_legacy_json_names = OFF");
    }
    database.try_sql(dump).expect("the dump can be restored");
    database.execute("update test set name='dumped' where id=1");
    wait_for(redis, "1", "dumped");
    database.shutdown();
    assert_no_errors(&database);
}

/// Creates the tutorial's functions, and returns the name that `json_object` has got.
fn create_functions(database: &Database) -> &'static str {
    let mut session = database.connect();
    for create in [CREATE_JSON_OBJECT, CREATE_DO_BACKGROUND, CREATE_SERVERS_SET] {
        session.query_drop(create).expect(create);
    }
    let json_object = match are_rewritten(database) {
        true => "json_object_udf",
        false => "json_object",
    };
    let mut installed: Vec<(String, i8, String, String)> =
        session.query("select * from mysql.func").expect("rows");
    // MySQL 8 and later have them in the order of their names.
    installed.sort_by_key(|(name, ..)| !name.starts_with("json"));
    let row = |name: &str, library: &str| (name.into(), 0, library.into(), "function".into());
    assert_eq!(
        installed,
        [
            row(json_object, JSON_PLUGIN),
            row("gman_do_background", FILE_NAME),
            row("gman_servers_set", FILE_NAME),
        ]
    );
    json_object
}

/// Whether the server rewrites statements: MySQL 8 and later. On the others the names are free.
fn are_rewritten(database: &Database) -> bool {
    let plugins: u8 = database
        .value("SELECT COUNT(*) FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'gman_legacy'");
    plugins > 0
}

/// A server whose plugin directory has the library under the names of both C plugins, and that has been
/// started with the setting if `json_object` is native.
fn with_old_names() -> Database {
    let mut database = with_both_copies();
    let created = database.connect().query_drop(CREATE_JSON_OBJECT);
    match created {
        Err(mysql::Error::MySqlError(error)) if error.code == NATIVE_NAME => {
            database
                .configure("plugin-load-add=libgearman_mysql_udf.so\ngman_legacy_json_names=ON");
            database.restart();
        }
        created => {
            created.expect(CREATE_JSON_OBJECT);
            database.execute("DROP FUNCTION json_object");
        }
    }
    database
}

fn wait_for(redis: &Redis, key: &str, expected: &str) {
    let what = format!("key {key} to be {expected}");
    wait_until(Duration::from_secs(10), &what, || match redis.get(key) {
        Some(value) if value == expected => Ok(()),
        other => Err(other),
    });
}

fn assert_no_errors(database: &Database) {
    let log = database.error_log();
    let errors: Vec<_> = log
        .lines()
        .filter(|line| line.contains("[ERROR]"))
        .collect();
    assert_eq!(errors, Vec::<&str>::new());
}

#[test]
fn copies_of_the_library_share_nothing_and_clash_in_nothing() {
    let database = with_both_copies();
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let create = |function: &str, library: &str| {
        database.execute(&format!(
            "CREATE FUNCTION {function} RETURNS STRING SONAME '{library}'"
        ));
    };
    create("json_object_udf", JSON_PLUGIN);
    create("gman_servers_set", JSON_PLUGIN);
    create("gman_do_background", FILE_NAME);

    // What one copy was told the other does not know.
    set_servers(&database, &gearmand);
    let submit = "SELECT gman_do_background('f', json_object_udf(1 AS id))";
    assert_eq!(database.value::<Option<String>>(submit), None);

    database.execute("DROP FUNCTION gman_servers_set");
    create("gman_servers_set", FILE_NAME);
    set_servers(&database, &gearmand);
    assert!(database.value::<Option<String>>(submit).is_some());

    // The first copy goes and comes back while the second one works.
    database.execute("DROP FUNCTION json_object_udf");
    let plain = "SELECT gman_do_background('f', 'plain')";
    assert!(database.value::<Option<String>>(plain).is_some());
    create("json_object_udf", JSON_PLUGIN);
    assert!(database.value::<Option<String>>(submit).is_some());

    let workloads: Vec<_> = worker
        .wait_for(3)
        .iter()
        .map(|job| String::from_utf8_lossy(&job.workload).into_owned())
        .collect();
    assert_eq!(workloads, [r#"{"id":1}"#, "plain", r#"{"id":1}"#]);
}

/// A server whose plugin directory has the library under the names of both C plugins.
fn with_both_copies() -> Database {
    let database = Database::start();
    database.copy_library(Library::release(), JSON_PLUGIN);
    database.copy_library(Library::release(), FILE_NAME);
    database
}

fn set_servers(database: &Database, gearmand: &Gearmand) {
    let address = gearmand.address();
    let answer: String = database.value(&format!("SELECT gman_servers_set('{address}')"));
    assert_eq!(answer, address);
}
