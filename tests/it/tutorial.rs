//! The widely copied tutorial for the two C plugins, with its SQL letter for letter, and our
//! library in the place of both.

use std::time::Duration;

use mysql::prelude::Queryable;

use crate::support::{
    Database, FILE_NAME, Gearmand, Language, Library, RecordingWorker, Redis, RedisWorker,
    unsupported, wait_until,
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

#[test]
fn the_sql_of_the_tutorial_works_unchanged() {
    let database = with_both_copies();
    let mut session = database.connect();
    match session.query_drop(CREATE_JSON_OBJECT) {
        Err(mysql::Error::MySqlError(error)) if error.code == NATIVE_NAME => {
            unsupported!("the native `JSON_OBJECT` keeps its name (error {NATIVE_NAME})")
        }
        created => created.expect(CREATE_JSON_OBJECT),
    }
    for create in [CREATE_DO_BACKGROUND, CREATE_SERVERS_SET] {
        session.query_drop(create).expect(create);
    }
    let installed: Vec<(String, i8, String, String)> =
        session.query("select * from mysql.func").expect("rows");
    let row = |name: &str, library: &str| (name.into(), 0, library.into(), "function".into());
    assert_eq!(
        installed,
        [
            row("json_object", JSON_PLUGIN),
            row("gman_do_background", FILE_NAME),
            row("gman_servers_set", FILE_NAME),
        ]
    );

    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let _worker = RedisWorker::start(Language::Rust, &gearmand, &redis);
    set_servers(&database, &gearmand);
    database.run_text(TABLE);
    // As the page has put it there, out of the table.
    redis.set("1", "test1");
    database.run_text(TRIGGER);
    session.query_drop(UPDATE).expect(UPDATE);
    assert_eq!(session.affected_rows(), 1);
    assert_eq!(
        session.info_str(),
        "Rows matched: 1  Changed: 1  Warnings: 0"
    );

    wait_until(Duration::from_secs(10), "key 1 to be sm", || {
        match redis.get("1") {
            Some(value) if value == "sm" => Ok(()),
            other => Err(other),
        }
    });
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
