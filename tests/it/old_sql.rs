//! The C plugins' SQL on MySQL 8 and later, where the names of two of their functions are native: the plugin
//! `gman_legacy`.

use mysql::Conn;
use mysql::prelude::Queryable;

use crate::support::{Database, FILE_NAME, Gearmand, RecordingWorker, product_file, unsupported};

/// Loads all plugins of the library while the server starts.
const AT_START: &str = "plugin-load-add=libgearman_mysql_udf.so";

const INSTALL: &str = "INSTALL PLUGIN gman SONAME 'libgearman_mysql_udf.so'";

const INSTALL_LEGACY: &str = "INSTALL PLUGIN gman_legacy SONAME 'libgearman_mysql_udf.so'";

const TURN_ON: &str = "SET GLOBAL gman_legacy_json_names = ON";

/// A server with the functions, where the C plugins' calls are rewritten; or why there is none.
fn rewriting() -> Result<Database, String> {
    let database = Database::start();
    database.install_functions();
    let mut session = database.connect();
    for sql in [INSTALL, INSTALL_LEGACY, TURN_ON] {
        if let Err(error) = session.query_drop(sql) {
            return Err(reason(&error));
        }
    }
    Ok(database)
}

fn reason(error: &mysql::Error) -> String {
    let known = [
        (
            "plugin interface version mismatch",
            "no plugin for this server, the functions only",
        ),
        (
            "Can't find symbol",
            "this server's interface for rewriting statements is not known",
        ),
        (
            "No such plugin",
            "this server's interface for rewriting statements is not known",
        ),
    ];
    let message = error.to_string();
    let known = known.iter().find(|(part, _)| message.contains(part));
    known.map_or_else(|| panic!("{message}"), |(_, reason)| (*reason).to_owned())
}

/// The first column of the first row, or the server's message.
fn answer(session: &mut Conn, sql: &str) -> Result<Option<String>, String> {
    let row = session.query_first::<Option<String>, _>(sql);
    row.map(Option::flatten).map_err(|error| error.to_string())
}

fn text(session: &mut Conn, sql: &str) -> String {
    answer(session, sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
        .unwrap_or_else(|| panic!("{sql}: NULL"))
}

/// Statements whose native meaning is another one, or none, and what they meant to the C plugin.
const OLD: [(&str, &str); 16] = [
    (
        "SELECT json_object(id AS id, name AS name) FROM t",
        r#"{"id":1,"name":"one"}"#,
    ),
    (
        "SELECT JSON_OBJECT (t.id, t.name) FROM t",
        r#"{"id":1,"name":"one"}"#,
    ),
    (
        "SELECT json_object(id id, name `nick`) FROM t",
        r#"{"id":1,"nick":"one"}"#,
    ),
    ("SELECT `json_object`(id) FROM t", r#"{"id":1}"#),
    ("SELECT /*!50003 json_object(id) */ FROM t", r#"{"id":1}"#),
    (
        "SELECT json_object/* a ' ( */(id, -- '\n name) FROM t",
        r#"{"id":1,"name":"one"}"#,
    ),
    ("SELECT json_array(1 AS one, 'a')", r#"[1,"a"]"#),
    (
        "SELECT json_array(json_object(id), json_object(name)) FROM t",
        r#"[{"id":1},{"name":"one"}]"#,
    ),
    (
        "SELECT json_object(id, json_array(1, 2) AS json_list) FROM t",
        r#"{"id":1,"json_list":[1,2]}"#,
    ),
    (
        "SELECT json_object(json_members('a', 1), json_members('b', 2))",
        r#"{"a":1,"b":2}"#,
    ),
    (
        "SELECT json_object(json_members('a', json_array(1, 'x')))",
        r#"{"a":[1,"x"]}"#,
    ),
    (
        "SELECT JSON_EXTRACT(json_object(id AS id), '$.id') FROM t",
        "1",
    ),
    (
        "SELECT json_object('a', JSON_EXTRACT(json_object(id), '$.id')) FROM t",
        r#"{"a": 1}"#,
    ),
    (
        "SELECT json_object(name AS 'nick', 1 \"one\") FROM t",
        r#"{"nick":"one","one":1}"#,
    ),
    (
        "WITH w AS (SELECT json_object(id) AS j FROM t) SELECT j FROM w",
        r#"{"id":1}"#,
    ),
    (
        "SELECT j FROM (SELECT json_object(id) j FROM t) d WHERE j = json_object(1 AS id)",
        r#"{"id":1}"#,
    ),
];

/// Statements that the native functions mean, and whose answer must be theirs.
const NATIVE: [&str; 22] = [
    "SELECT JSON_OBJECT()",
    "SELECT JSON_OBJECT('id', id, 'name', name) FROM t",
    "SELECT json_object(1, 2)",
    "SELECT json_object(CONCAT(name, 'x'), 2) FROM t",
    "SELECT json_object(_utf8mb4'a', N'b', 'c', x'41')",
    "SELECT json_object('a' 'b', 2)",
    "SELECT json_object('a', DATE '2026-01-01' + INTERVAL 1 DAY, 'b', TIME '10:00')",
    "SELECT json_object('a', id IS NULL, 'b', name LIKE 'o|_e' ESCAPE '|') FROM t",
    "SELECT json_object('a', name COLLATE utf8mb4_bin) FROM t",
    "SELECT json_object('a', CASE id WHEN 1 THEN 2 ELSE 3 END, 'b', NOT id) FROM t",
    "SELECT json_object('a', CAST(id AS CHAR), 'b', (SELECT 1 AS c)) FROM t",
    "SELECT json_object('a', COUNT(DISTINCT id), 'b', SUM(id)) FROM t",
    "SELECT json_object('a', json_array(1, 'b', NULL))",
    "SELECT json_array(json_object('a', 1), id, name) FROM t",
    "SELECT JSON_EXTRACT(JSON_OBJECT('a', JSON_ARRAY(1, 2)), '$.a[1]')",
    "SELECT json_object('a', json_array(1) IS NULL)",
    "SELECT 'json_object(id)'",
    "SELECT \"json_object(id, name) as x\"",
    "SELECT 1 -- json_object(id)\n",
    "SELECT 2 # json_object(id)\n",
    "SELECT /* json_object(id) */ 3 /*!999999 json_object(id) */",
    "WITH json_object (a, b) AS (SELECT 1, 2) SELECT a FROM json_object",
];

#[test]
fn what_the_native_functions_cannot_mean_is_what_the_c_plugin_answered() {
    let database = match rewriting() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let mut session = database.connect();
    make_table(&mut session);
    for (sql, expected) in OLD {
        assert_eq!(text(&mut session, sql), expected, "{sql}");
        // A statement of the binary protocol takes the same way.
        let prepared: Option<String> = session
            .exec_first(sql, ())
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(prepared.as_deref(), Some(expected), "{sql}");
    }
    let mut other = database.connect();
    database.execute("SET GLOBAL gman_legacy_json_names = OFF");
    for (sql, expected) in OLD {
        assert_ne!(
            answer(&mut other, sql),
            Ok(Some(expected.to_owned())),
            "{sql}"
        );
    }
}

#[test]
fn what_the_native_functions_mean_is_left_to_them() {
    let database = match rewriting() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let mut session = database.connect();
    make_table(&mut session);
    let with = NATIVE.map(|sql| text(&mut session, sql));
    for sql in NATIVE {
        let warnings: Vec<(String, u32, String)> = {
            session.query_drop(sql).expect(sql);
            session.query("SHOW WARNINGS").expect("warnings")
        };
        let rewritten = warnings.iter().any(|(_, _, text)| text.contains("rewrite"));
        assert!(!rewritten, "{sql}: {warnings:?}");
    }
    database.execute("SET GLOBAL gman_legacy_json_names = OFF");
    assert_eq!(with, NATIVE.map(|sql| text(&mut session, sql)));
}

fn make_table(session: &mut Conn) {
    for sql in [
        "CREATE TABLE t (id INT, name VARCHAR(20))",
        "INSERT INTO t VALUES (1, 'one')",
    ] {
        session.query_drop(sql).expect(sql);
    }
}

/// Every case of the C library, letter for letter, but for what the native function means.
#[test]
fn the_cases_of_the_c_library_are_answered_as_they_were() {
    let database = match rewriting() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    database.run_script(&product_file("tests/conformance/setup.sql"));
    let mut session = database.connect();
    session.select_db("gold").expect("the conformance table");
    let cases = std::fs::read_to_string(product_file("tests/conformance/json_udf.jsonl"));
    let parsed =
        |text: &str| serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::from(text));
    let mut answered = 0;
    let mut differing = Vec::new();
    for line in cases.expect("the cases").lines() {
        let case = parsed(line);
        let sql = case["sql"].as_str().expect("a statement");
        let Some(expected) = case["rows"].as_array() else {
            continue;
        };
        let expected = expected
            .iter()
            .map(|row| parsed(row.as_str().expect("text")));
        let rows: Result<Vec<String>, _> = session.query(sql);
        let is_right = rows
            .as_ref()
            .is_ok_and(|rows| rows.iter().map(|row| parsed(row)).eq(expected));
        match is_right {
            true => answered += 1,
            false => differing.push(format!("{sql}: {rows:?}")),
        }
    }
    // Without an alias the native function means them too, and says it in its own way: TRUE for 1, digits
    // of a second, binary text as base64.
    println!("{answered} answered, differing: {differing:#?}");
    let is_native =
        |case: &String| case.starts_with("select json_array(") && !case.contains(" as ");
    assert!(differing.iter().all(is_native) && differing.len() < 5);
    assert!(answered > 80, "{answered}");
}

#[test]
fn the_session_says_what_a_string_is() {
    let database = match rewriting() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let mut session = database.connect();
    make_table(&mut session);
    session
        .query_drop("SET sql_mode = 'ANSI_QUOTES'")
        .expect("a mode");
    let sql = r#"SELECT "json_object"("id", "name") FROM t"#;
    assert_eq!(text(&mut session, sql), r#"{"id":1,"name":"one"}"#);
    session.query_drop("SET sql_mode = ''").expect("a mode");
    let sql = r#"SELECT json_object("id", "name") FROM t"#;
    assert_eq!(text(&mut session, sql), r#"{"id": "name"}"#);

    let sql = r"SELECT CONCAT('\', json_object(id), '\') FROM t";
    session
        .query_drop("SET sql_mode = 'NO_BACKSLASH_ESCAPES'")
        .expect("a mode");
    assert_eq!(text(&mut session, sql), r#"\{"id":1}\"#);
    let sql = r"SELECT '\', json_object(id), \''";
    session.query_drop("SET sql_mode = ''").expect("a mode");
    assert_eq!(text(&mut session, sql), "', json_object(id), '");
}

/// The second byte of these characters is a backslash, which does not escape the quote after it.
#[test]
fn characters_of_two_bytes_hide_nothing_and_are_kept() {
    let database = match rewriting() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let mut session = database.connect();
    make_table(&mut session);
    for (charset, character) in [
        ("gbk", &b"\xbf\\"[..]),
        ("sjis", b"\x83\\"),
        ("cp932", b"\x83\\"),
        ("big5", b"\xa5\\"),
        ("gb18030", b"\x84\\"),
    ] {
        session
            .query_drop(format!("SET NAMES {charset}"))
            .expect("a character set");
        let sql = [b"SELECT HEX('", character, b"'), json_object(id) FROM t"].concat();
        let sql: String = sql.iter().map(|byte| format!("{byte:02x}")).collect();
        for sql in [
            format!("SET @sql = x'{sql}'"),
            "PREPARE p FROM @sql".to_owned(),
        ] {
            session.query_drop(&sql).expect(&sql);
        }
        let row: Option<(String, String)> = session.query_first("EXECUTE p").expect("a row");
        let hex: String = character.iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(row, Some((hex, r#"{"id":1}"#.to_owned())), "{charset}");
    }
}

#[test]
fn a_program_stored_with_the_old_calls_has_the_new_ones() {
    let database = match rewriting() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let mut session = database.connect();
    make_table(&mut session);
    for sql in [
        "CREATE VIEW v AS SELECT json_object(id AS id) AS j FROM t",
        "CREATE PROCEDURE p() BEGIN DECLARE x INT; SET x = 2; SELECT json_object(id AS id, x AS x) FROM t; END",
        "CREATE FUNCTION f() RETURNS TEXT READS SQL DATA RETURN (SELECT json_object(id) FROM t)",
        "CREATE EVENT e ON SCHEDULE EVERY 1 YEAR STARTS '2040-01-01' DO SELECT json_object(id) FROM t",
        "CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW SET @j = json_object(NEW.id, NEW.name)",
        "UPDATE t SET name = 'two'",
    ] {
        session.query_drop(sql).expect(sql);
    }
    for (sql, expected) in [
        ("SELECT j FROM v", r#"{"id":1}"#),
        ("CALL p()", r#"{"id":1,"x":2}"#),
        ("SELECT f()", r#"{"id":1}"#),
        ("SELECT @j", r#"{"id":1,"name":"two"}"#),
    ] {
        assert_eq!(text(&mut session, sql), expected, "{sql}");
    }
    for (sql, column) in [
        ("SHOW CREATE VIEW v", "Create View"),
        ("SHOW CREATE PROCEDURE p", "Create Procedure"),
        ("SHOW CREATE FUNCTION f", "Create Function"),
        ("SHOW CREATE EVENT e", "Create Event"),
        ("SHOW CREATE TRIGGER g", "SQL Original Statement"),
    ] {
        let row: mysql::Row = session.query_first(sql).expect(sql).expect("a row");
        let shown: String = row.get(column).expect(column);
        assert!(
            shown.contains("json_object_udf") && !shown.contains("json_object("),
            "{shown}"
        );
    }
}

#[test]
fn loadable_functions_are_created_and_dropped_under_their_new_names() {
    let database = match rewriting() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let mut session = database.connect();
    let exists = |session: &mut Conn| -> bool {
        let count: Option<u8> = session
            .query_first("SELECT COUNT(*) FROM mysql.func WHERE name = 'json_object_udf'")
            .expect("a count");
        count == Some(1)
    };
    session
        .query_drop("DROP FUNCTION json_object")
        .expect("a function");
    assert!(!exists(&mut session));
    session
        .query_drop("DROP FUNCTION IF EXISTS json_object")
        .expect("no function");
    let create = format!("CREATE FUNCTION json_object RETURNS STRING SONAME '{FILE_NAME}'");
    session.query_drop(create).expect("a function");
    assert!(exists(&mut session));
    // A stored function of the name is something else.
    for sql in [
        "CREATE FUNCTION test.json_object (a INT) RETURNS INT DETERMINISTIC RETURN a + 1",
        "DO test.json_object(1)",
        "DROP FUNCTION test.json_object",
    ] {
        session.query_drop(sql).expect(sql);
    }
    assert!(exists(&mut session));
}

/// The server measures the later ones by the end of the text that it was sent.
#[test]
fn several_statements_at_once_are_left_alone_and_none_is_measured_wrong() {
    let database = match rewriting() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let mut session = database.connect();
    make_table(&mut session);
    for (sql, expected) in [
        (
            "SET @a = 1; SELECT json_object('a', 1); SELECT json_array(2)",
            &[r#"{"a": 1}"#, "[2]"][..],
        ),
        ("SELECT json_object(id) FROM t; ;\n", &[r#"{"id":1}"#]),
    ] {
        assert_eq!(
            all(&mut session, sql),
            Ok(expected.iter().map(ToString::to_string).collect())
        );
    }
    for sql in [
        "SELECT json_object(id) FROM t; SELECT 2",
        "SELECT json_object(id) FROM t; -- and no more",
    ] {
        let refused = all(&mut session, sql).expect_err("a native function");
        assert!(refused.contains("1582"), "{refused}");
    }
    // One statement with many semicolons.
    let create =
        "CREATE PROCEDURE many() BEGIN DECLARE x INT DEFAULT 1; SELECT json_object(x AS x); END; ";
    assert_eq!(all(&mut session, create), Ok(Vec::new()));
    assert_eq!(text(&mut session, "CALL many()"), r#"{"x":1}"#);
}

/// The rows of every result of a text.
fn all(session: &mut Conn, sql: &str) -> Result<Vec<String>, String> {
    let collect = |session: &mut Conn| -> mysql::Result<Vec<String>> {
        let mut result = session.query_iter(sql)?;
        let mut answers = Vec::new();
        while let Some(set) = result.iter() {
            for row in set {
                answers.push(mysql::from_row::<String>(row?));
            }
        }
        Ok(answers)
    };
    collect(session).map_err(|error| error.to_string())
}

/// What is longer than 16 MiB is left to the server, and what is shorter is not.
#[test]
fn a_statement_that_is_too_long_is_left_alone() {
    let database = match rewriting() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let mut session = database.connect();
    let start = "SELECT json_object(1 AS a) /*";
    let sql_of = |length: usize| format!("{start}{}*/", "x".repeat(length - start.len() - 2));
    assert_eq!(text(&mut session, &sql_of(16 << 20)), r#"{"a":1}"#);
    let refused = answer(&mut session, &sql_of((16 << 20) + 1)).expect_err("a native function");
    assert!(refused.contains("1582"), "{refused}");

    database.execute("SET GLOBAL gman_transaction_bytes = 65536");
    assert_eq!(text(&mut session, &sql_of(65_536)), r#"{"a":1}"#);
    answer(&mut session, &sql_of(65_537)).expect_err("a native function");
}

#[test]
fn the_setting_is_refused_without_the_plugin_and_where_the_interface_is_unknown() {
    let database = Database::start();
    database.install_functions();
    let mut session = database.connect();
    if let Err(error) = session.query_drop(INSTALL) {
        unsupported!("{}", reason(&error));
    }
    let refused = session
        .query_drop(TURN_ON)
        .expect_err("no plugin")
        .to_string();
    let Ok(()) = session.query_drop(INSTALL_LEGACY) else {
        assert!(
            refused.contains("read only") || refused.contains("is not known"),
            "{refused}"
        );
        return;
    };
    let expected = "gman_legacy_json_names: the plugin gman_legacy is not installed; INSTALL PLUGIN gman_legacy";
    assert!(refused.contains(expected), "{refused}");
    session.query_drop(TURN_ON).expect("with the plugin");
    for value in ["2", "'maybe'", "NULL"] {
        let sql = format!("SET GLOBAL gman_legacy_json_names = {value}");
        session.query_drop(sql).expect_err("ON or OFF");
    }
    assert_eq!(
        text(&mut session, "SELECT @@GLOBAL.gman_legacy_json_names"),
        "1"
    );
    assert_eq!(
        text(&mut session, "SELECT json_object(1 AS a)"),
        r#"{"a":1}"#
    );
    session
        .query_drop("SET GLOBAL gman_legacy_json_names = OFF")
        .expect("OFF");
    answer(&mut session, "SELECT json_object(1 AS a)").expect_err("a native function");
    // The server keeps an audit plugin that sessions have used until it shuts down.
    session
        .query_drop("UNINSTALL PLUGIN gman_legacy")
        .expect("the end of the plugin");
}

#[test]
fn the_configuration_turns_it_on_at_every_start_and_no_error_is_logged() {
    if let Err(reason) = rewriting() {
        unsupported!("{reason}");
    }
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["syncToRedis"]);
    let mut database = Database::builder()
        .library()
        .configuration(AT_START)
        .configuration(&format!("gman_servers={}", gearmand.address()))
        .configuration("gman_legacy_json_names=ON")
        .start();
    database.run_script(&product_file("sql/install.sql"));
    database.run_script(&product_file("sql/install-json-names.sql"));
    database.run_script(&product_file("sql/test.sql"));
    for round in 1..=2 {
        database.execute(&format!("UPDATE test SET name='sm{round}' WHERE id=1"));
        let expected = format!(r#"{{"id":1,"name":"sm{round}"}}"#);
        assert_eq!(
            worker.wait_for(round)[round - 1].workload,
            expected.as_bytes()
        );
        assert_eq!(
            database.value::<String>("SELECT json_object(1 AS a)"),
            r#"{"a":1}"#
        );
        database.restart();
    }
    // Without the setting the trigger goes on: it has the new name.
    database.configure(&format!("{AT_START}\ngman_servers={}", gearmand.address()));
    database.restart();
    database
        .try_value::<String>("SELECT json_object(1 AS a)")
        .expect_err("a native function");
    database.execute("UPDATE test SET name='sm3' WHERE id=1");
    worker.wait_for(3);
    database.shutdown();
    let log = database.error_log();
    assert!(log.contains("gman_legacy_json_names is ON"), "{log}");
    let errors: Vec<_> = log
        .lines()
        .filter(|line| line.contains("[ERROR]"))
        .collect();
    assert_eq!(errors, Vec::<&str>::new());
}

#[test]
fn it_comes_and_goes_while_sessions_use_it() {
    let database = match rewriting() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let mut session = database.connect();
            scope.spawn(move || {
                for _ in 0..500 {
                    // Old or an error, never anything else.
                    match answer(&mut session, "SELECT json_object(1 AS a, \"b\" AS b)") {
                        Ok(found) => assert_eq!(found.as_deref(), Some(r#"{"a":1,"b":"b"}"#)),
                        Err(message) => assert!(message.contains("158"), "{message}"),
                    }
                }
            });
        }
        let mut session = database.connect();
        for _ in 0..200 {
            for value in ["OFF", "ON"] {
                let sql = format!("SET GLOBAL gman_legacy_json_names = {value}");
                session.query_drop(sql).expect("a setting");
            }
        }
        session
            .query_drop("UNINSTALL PLUGIN gman_legacy")
            .expect("no plugin");
    });
}
