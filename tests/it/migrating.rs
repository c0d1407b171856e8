//! `gman migrate`: a schema full of calls of `json_object`, on the server that it was
//! written for and on its way to one with a native function of that name.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use mysql::prelude::Queryable;

use crate::support::{
    Database, FILE_NAME, Gearmand, Library, RecordingWorker, gman_program, product_file,
    unsupported,
};

/// The schema, as `tests/it/migrating/old.sql` has it.
const OLD: &str = "tests/it/migrating/old.sql";

/// What the trigger `changed` sends for the first row.
const CHANGED: &str = r#"{"id":1,"json_object":"sm","json_list":[1,2]}"#;

/// What the trigger `inserted` sends for the row 7.
const INSERTED: &str = r#"\{"id":7}\"#;

/// The text of that trigger.
const BODY: &str = "SELECT CONVERT(action_statement USING utf8) FROM information_schema.triggers
                     WHERE trigger_name = 'changed'";

/// A server on which `json_object` and `json_array` are loadable functions, with the schema.
fn old_server() -> Result<Database, String> {
    let database = Database::builder()
        .library()
        .configuration("plugin-load-add=libgearman_mysql_udf.so")
        .configuration("loose-gman_legacy_json_names=ON")
        .start();
    database.install_functions();
    let created = database.try_script(&product_file("sql/install-json-names.sql"));
    match created {
        Err(error) if error.contains("same name as a native function") => {
            Err("json_object cannot be a loadable function here".into())
        }
        Err(error) => panic!("{error}"),
        Ok(()) => {
            let old = fs::read(product_file(OLD)).expect("it is there");
            database.try_sql(&old).expect("it works");
            Ok(database)
        }
    }
}

/// A server with the functions under the names that it allows, of the kind that comes after.
fn new_server() -> Database {
    let database = Database::local().start();
    database.install_functions();
    database.execute("CREATE USER app@localhost");
    database.execute("GRANT ALL ON test.* TO app@localhost");
    database
}

/// What `gman migrate` printed.
#[derive(Debug)]
struct Printed {
    /// Whether it could read everything.
    whole: bool,
    code: Option<i32>,
    sql: Vec<u8>,
    report: String,
}

fn find(arguments: &[String], input: &[u8]) -> Printed {
    let mut child = Command::new(gman_program())
        .arg("migrate")
        .args(arguments)
        .env_remove("HOME")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start gman: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("its output");
    writer.join().expect("no panic").expect("it reads all");
    Printed {
        whole: output.status.success(),
        code: output.status.code(),
        sql: output.stdout,
        report: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn find_on(database: &Database) -> Printed {
    find(&server(database), b"")
}

/// The options that name a server.
fn server(database: &Database) -> [String; 2] {
    let socket = database.socket();
    let url = format!("mysql://root@localhost?socket={}", socket.display());
    ["--mysql".to_owned(), url]
}

fn rewrite_dump(dump: &[u8]) -> Printed {
    find(&["--dump".to_owned()], dump)
}

/// All that is known of the schema but the texts of its things.
fn facts(database: &Database) -> Vec<Vec<String>> {
    let queries = [
        "SELECT CONCAT_WS('|', trigger_name, event_manipulation, event_object_table, definer, sql_mode,
                character_set_client, collation_connection, database_collation)
           FROM information_schema.triggers WHERE trigger_schema = 'test' ORDER BY 1",
        "SELECT CONCAT_WS('|', routine_name, routine_type, dtd_identifier, sql_data_access, is_deterministic,
                security_type, routine_comment, definer, sql_mode, character_set_client, collation_connection)
           FROM information_schema.routines WHERE routine_schema = 'test' ORDER BY 1",
        "SELECT CONCAT_WS('|', event_name, definer, time_zone, interval_value, interval_field, starts, status,
                on_completion, event_comment, sql_mode, character_set_client, collation_connection)
           FROM information_schema.events WHERE event_schema = 'test' ORDER BY 1",
        "SELECT CONCAT_WS('|', table_name, definer, security_type, character_set_client, collation_connection)
           FROM information_schema.views WHERE table_schema = 'test' ORDER BY 1",
        "SELECT CONCAT_WS('|', user, host, routine_name, routine_type, proc_priv) FROM mysql.procs_priv ORDER BY 1",
    ];
    queries.map(|sql| database.query(sql)).to_vec()
}

/// Uses everything in the schema, and checks what comes of it.
#[track_caller]
fn check(database: &Database) {
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let address = gearmand.address();
    database.value::<String>(&format!("SELECT gman_servers_set('{address}')"));
    database.execute("DELETE FROM t");
    database.execute("DELETE FROM json_object");
    database.execute("INSERT INTO t VALUES (1, 'test1'), (7, 'test7')");
    database.execute("UPDATE t SET name = 'sm' WHERE id = 1");
    let workloads: Vec<String> = worker
        .wait_for(3)
        .iter()
        .map(|job| String::from_utf8_lossy(&job.workload).into_owned())
        .collect();
    assert_eq!(workloads[1..], [INSERTED, CHANGED]);

    let text: String = database.value("SELECT a FROM json_object");
    assert_eq!(
        text,
        "json_object(1) stays, it's text; ' json_array(1) café"
    );
    let json = |sql: &str| -> String { database.value(sql) };
    assert_eq!(
        json("SELECT doc FROM described WHERE id = 7"),
        r#"{"id":7,"n":"test7"}"#
    );
    assert_eq!(json("SELECT describe_row(4)"), "[4,5]");
}

#[test]
fn calls_are_renamed_where_they_are_and_all_else_stays() {
    let database = match old_server() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    check(&database);
    check_gbk(&database);
    let before = facts(&database);

    let printed = find_on(&database);
    for thing in [
        "trigger test.changed: 3 calls",
        "trigger test.inserted: 1 call",
        "procedure test.send: 1 call",
        "function test.describe_row: 1 call",
        "view test.described: 1 call",
        "event test.nightly: 1 call",
        "procedure test.dynamic: look at its line 3",
        "6 things to be replaced",
    ] {
        assert!(
            printed.report.contains(thing),
            "{thing}: {}",
            printed.report
        );
    }
    database.try_sql(&printed.sql).expect("the statements work");

    assert_eq!(facts(&database), before);
    let body: String = database.value(BODY);
    for comment in [
        "-- json_object(NEW.id) in",
        "# json_array(1)",
        "/* json_object(1) */",
    ] {
        assert!(body.contains(comment), "{body}");
    }
    let again = find_on(&database);
    assert!(
        again.report.contains("0 things to be replaced"),
        "{}",
        again.report
    );
    // They do without the old names.
    database.execute("DROP FUNCTION json_object");
    database.execute("DROP FUNCTION json_array");
    check(&database);
    check_gbk(&database);
}

/// One character of gbk, whose second byte is a backslash.
#[track_caller]
fn check_gbk(database: &Database) {
    let row: String = database.value("CALL send(3)");
    assert_eq!(row, r#"{"id":3,"tail":"835C"}"#);
}

/// The schema as SQL; or why the `mariadb-dump` of this machine cannot have it.
fn dump(database: &Database) -> Result<Vec<u8>, String> {
    // The client that restores a dump takes the gbk text for UTF-8, whoever wrote it.
    database.execute("DROP PROCEDURE send");
    database.dump(&["--no-data", "--routines", "--events", "test"])
}

#[test]
fn a_rewritten_schema_moves_to_a_server_with_a_native_json_object() {
    let old = match old_server() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    old.try_sql(&find_on(&old).sql)
        .expect("the statements work");
    let dump = match dump(&old) {
        Ok(dump) => dump,
        Err(reason) => unsupported!("{reason}"),
    };
    let new = new_server();
    new.try_sql(&dump).expect("the dump can be restored");
    check(&new);
}

#[test]
fn a_dump_that_was_made_before_is_rewritten_on_its_way() {
    let old = match old_server() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let dump = match dump(&old) {
        Ok(dump) => dump,
        Err(reason) => unsupported!("{reason}"),
    };
    let new = new_server();
    let refused = new.try_sql(&dump).expect_err("the old calls");
    assert!(refused.contains("ERROR 1583"), "{refused}");
    let printed = rewrite_dump(&dump);
    assert!(
        printed.report.contains("7 calls renamed"),
        "{}",
        printed.report
    );
    new.try_sql(&printed.sql).expect("the dump can be restored");
    check(&new);
}

#[test]
fn native_calls_are_left_alone() {
    let database = Database::start();
    database.install_functions();
    let printed = find_on(&database);
    assert!(
        printed.report.contains("nothing calls one"),
        "{}",
        printed.report
    );
    assert!(printed.sql.is_empty());
}

#[test]
fn triggers_of_one_event_keep_their_order() {
    let database = match old_server() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    database.execute("CREATE TABLE o (id INT)");
    database.execute("CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, name TEXT)");
    let create = |name: &str, place: &str| {
        database.connect().query_drop(format!(
            "CREATE TRIGGER {name} AFTER INSERT ON o FOR EACH ROW {place}
             INSERT INTO log (name) VALUES (CONCAT('{name} ', json_object(NEW.id)))"
        ))
    };
    create("first", "").expect("a trigger");
    if create("last", "").is_err() {
        unsupported!("one trigger for one event");
    }
    create("middle", "PRECEDES last").expect("a trigger");
    database
        .try_sql(&find_on(&database).sql)
        .expect("the statements work");
    database.execute("INSERT INTO o VALUES (5)");
    assert_eq!(
        database.query::<String>("SELECT name FROM log ORDER BY id"),
        [
            r#"first {"id":5}"#,
            r#"middle {"id":5}"#,
            r#"last {"id":5}"#
        ]
    );
}

#[test]
fn columns_that_are_made_by_a_call_are_reported() {
    let database = match old_server() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let create = "CREATE TABLE made (a INT, made_default TEXT DEFAULT (json_array(1)),
                                     made_virtual TEXT AS (json_object(a)) VIRTUAL)";
    if database.connect().query_drop(create).is_err() {
        unsupported!("no loadable function makes a column");
    }
    let report = find_on(&database).report;
    for column in ["made_default", "made_virtual"] {
        let line = format!("column test.made.{column}: look at its definition");
        assert!(report.contains(&line), "{report}");
    }
}

#[test]
fn what_is_found_is_told_as_json() {
    let database = match old_server() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let printed = find(
        &[&["--json".to_owned()], &server(&database)[..]].concat(),
        b"",
    );
    assert_eq!(printed.report, "");
    let found: serde_json::Value = serde_json::from_slice(&printed.sql).expect("JSON");
    let plain = find_on(&database);
    let definitions = found["definitions"].as_array().expect("a list");
    assert!(definitions.len() > 5, "{found}");
    for definition in definitions {
        let text = |name: &str| definition[name].as_str().expect("a text").to_owned();
        let line = format!("{} {}.{}: ", text("kind"), text("schema"), text("name"));
        assert!(plain.report.contains(&line), "{line}{}", plain.report);
    }
    // The schema has texts in other character sets, which JSON cannot carry.
    let expected = String::from_utf8(plain.sql).ok();
    assert_eq!(found["script"].as_str(), expected.as_deref());
    assert_eq!(found["missing_functions"], serde_json::json!([]));
}

#[test]
fn what_an_upgrade_in_place_has_broken_is_still_found() {
    let mut database = match old_server() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    // The same data under a server whose native functions have the names.
    database.configure("");
    database.restart();
    database.execute("INSERT INTO json_object VALUES ('x')");
    let mut session = database.connect();
    if session.query_drop("SELECT json_object(1 AS a)").is_ok() {
        unsupported!("this server has no native function of the name");
    }
    let insert = "INSERT INTO t VALUES (1, 'a')";
    let broken = session.query_drop(insert).expect_err("the trigger");
    assert!(broken.to_string().contains("native function"), "{broken}");

    let printed = find_on(&database);
    // MariaDB shows triggers that it cannot read, but no routines.
    assert!(!printed.whole);
    let lost = "procedure test.send: the server cannot show it";
    assert!(printed.report.contains(lost), "{}", printed.report);
    database.try_sql(&printed.sql).expect("the statements work");
    session.query_drop(insert).expect("the trigger works");
}

#[test]
fn the_functions_of_the_c_plugin_are_taken_over_at_a_restart() {
    const PLUGIN: &str = "lib_mysqludf_json.so";
    let mut database = match old_server() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let point_to = |database: &Database, library: &str| {
        database.execute(&format!(
            "UPDATE mysql.func SET dl = '{library}' WHERE name IN ('json_object', 'json_array', \
             'json_members', 'json_values', 'lib_mysqludf_json_info')"
        ));
    };
    // Our own library stands in for the C one.
    database.copy_library(Library::release(), PLUGIN);
    point_to(&database, PLUGIN);
    database.restart();
    check(&database);

    point_to(&database, FILE_NAME);
    fs::remove_file(database.plugin_dir().join(PLUGIN)).expect("it is there");
    database.restart();
    check(&database);
}

#[test]
fn definitions_are_replaced_after_the_old_ones_are_kept() {
    let database = match old_server() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    // Their texts are gbk and latin1, which gman cannot send.
    database.execute("DROP PROCEDURE send");
    database.execute("DROP TRIGGER changed");
    let body = || -> String {
        database.value(
            "SELECT CONVERT(action_statement USING utf8) FROM information_schema.triggers
              WHERE trigger_name = 'inserted'",
        )
    };
    let (before, old_body) = (facts(&database), body());
    let folder = tempfile::tempdir().expect("a folder");
    let kept = folder.path().join("old.sql");
    let keep = ["--keep".to_owned(), kept.display().to_string()];
    let apply = |more: &[&str]| {
        let more = more.iter().map(|&word| word.to_owned());
        let arguments: Vec<String> = server(&database)
            .into_iter()
            .chain(["--apply".to_owned()])
            .chain(keep.clone())
            .chain(more)
            .collect();
        find(&arguments, b"y\n")
    };
    // Nobody is there to be asked.
    let asked = apply(&[]);
    assert_eq!(asked.code, Some(2), "{asked:?}");
    assert!(asked.report.contains("no terminal to ask on"), "{asked:?}");
    let shown = String::from_utf8_lossy(&asked.sql).into_owned();
    assert!(shown.contains("trigger test.inserted\n"), "{shown}");
    assert!(shown.contains("json_object_udf(NEW.id AS"), "{shown}");
    assert!(!kept.exists());
    assert_eq!(body(), old_body);

    let applied = apply(&["--yes"]);
    assert!(applied.whole, "{}", applied.report);
    assert_eq!(facts(&database), before);
    assert!(
        find_on(&database)
            .report
            .contains("0 things to be replaced")
    );
    assert!(body().contains("json_object_udf("), "{}", body());
    assert_eq!(database.value::<String>("SELECT describe_row(4)"), "[4,5]");

    // A second time there is nothing to do, and what was kept is kept.
    let old = fs::read(&kept).expect("the old definitions");
    assert!(apply(&["--yes"]).whole);
    assert_eq!(fs::read(&kept).expect("the old definitions"), old);
    database
        .try_sql(&old)
        .expect("the old definitions come back");
    assert_eq!(body(), old_body);
    assert_eq!(facts(&database), before);
    let refused = apply(&["--yes"]);
    assert!(
        refused.report.contains("cannot keep the old definitions"),
        "{refused:?}"
    );
    assert_eq!(body(), old_body);
}

#[test]
fn what_is_in_another_character_set_is_left_to_the_client() {
    let database = match old_server() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let keep = folder.path().join("old.sql").display().to_string();
    let options = ["--apply", "--yes", "--keep", &keep].map(str::to_owned);
    let applied = find(&[&server(&database)[..], &options].concat(), b"");
    assert_eq!(applied.code, Some(1));
    assert!(
        applied
            .report
            .contains("procedure test.send cannot be sent by gman"),
        "{}",
        applied.report
    );
    database
        .try_sql(&find_on(&database).sql)
        .expect("the statements work");
    check(&database);
    check_gbk(&database);
}

#[test]
fn what_is_wrong_is_one_line_that_says_what_to_do() {
    let away = ["--mysql", "/no/such/socket"].map(str::to_owned);
    let dump_and_apply = ["--dump", "--apply"].map(str::to_owned);
    for (arguments, code, expected) in [
        (
            &away,
            1,
            "cannot reach the database server at /no/such/socket",
        ),
        (&dump_and_apply, 2, "--dump"),
    ] {
        let refused = find(arguments, b"");
        assert_eq!(refused.code, Some(code), "{refused:?}");
        assert!(refused.report.contains(expected), "{refused:?}");
        assert!(refused.sql.is_empty(), "{refused:?}");
    }
}
