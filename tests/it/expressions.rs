//! The functions wherever SQL takes an expression: each is right there, or the server refuses it.

use mysql::prelude::Queryable;
use mysql::{Conn, Row, Value};

use crate::support::{Gearmand, Gman, RecordingWorker};

/// `ER_PARSE_ERROR`: an old server has not learnt this.
const SYNTAX_ERROR: u16 = 1064;

fn stage() -> Gman {
    let mut gman = Gman::start();
    for sql in [
        "CREATE TABLE t (id INT PRIMARY KEY, g INT, name VARCHAR(20)) DEFAULT CHARSET=utf8mb4",
        "INSERT INTO t VALUES (1, 1, 'a'), (2, 1, 'b'), (3, 2, NULL)",
        "CREATE VIEW v AS SELECT g, json_object_udf(id, name AS n) AS j FROM t",
    ] {
        gman.execute(sql);
    }
    gman
}

/// The first column of the rows.
fn rows(session: &mut Conn, sql: &str) -> mysql::Result<Vec<String>> {
    let rows: Vec<Row> = session.query(sql)?;
    Ok(rows
        .into_iter()
        .map(|row| match row.unwrap().swap_remove(0) {
            Value::Bytes(bytes) => String::from_utf8(bytes).expect("UTF-8"),
            other => format!("{other:?}"),
        })
        .collect())
}

#[test]
fn json_is_right_wherever_an_expression_stands() {
    let mut gman = stage();
    let mut understood = 0;
    for (sql, expected) in [
        ("SELECT j FROM v WHERE g = 2", &[r#"{"id":3,"n":null}"#][..]),
        (
            "SELECT DISTINCT json_array_udf(g) AS j FROM t ORDER BY j",
            &["[1]", "[2]"],
        ),
        (
            "SELECT json_array_udf(g) AS j FROM t GROUP BY j ORDER BY j DESC",
            &["[2]", "[1]"],
        ),
        (
            "SELECT json_object_udf(g, COUNT(*) AS n, MAX(name) AS m) FROM t GROUP BY g ORDER BY g",
            &[r#"{"g":1,"n":2,"m":"b"}"#, r#"{"g":2,"n":1,"m":null}"#],
        ),
        (
            "SELECT json_array_udf(g, SUM(id)) FROM t GROUP BY g WITH ROLLUP",
            &["[1,3]", "[2,3]", "[null,6]"],
        ),
        (
            "SELECT GROUP_CONCAT(json_array_udf(id) ORDER BY id SEPARATOR '') FROM t",
            &["[1][2][3]"],
        ),
        (
            "SELECT json_array_udf(id) AS j FROM t HAVING j > '[1]' ORDER BY j",
            &["[2]", "[3]"],
        ),
        (
            "SELECT CONCAT(id) FROM t WHERE json_array_udf(id) IN (SELECT json_array_udf(2))",
            &["2"],
        ),
        (
            "SELECT json_array_udf((SELECT MAX(id) FROM t), (SELECT json_array_udf(id) FROM t WHERE id = 1) AS json_x)",
            &["[3,[1]]"],
        ),
        (
            "SELECT (SELECT json_array_udf(t.id, COUNT(*)) FROM t u WHERE u.g = t.g) FROM t ORDER BY id",
            &["[1,2]", "[2,2]", "[3,1]"],
        ),
        (
            "SELECT json_array_udf(id) FROM t UNION SELECT json_array_udf(g) FROM t ORDER BY 1",
            &["[1]", "[2]", "[3]"],
        ),
        (
            "SELECT a.j FROM (SELECT json_array_udf(id) AS j FROM t) a JOIN (SELECT json_array_udf(g) AS j FROM t) b ON a.j = b.j ORDER BY 1",
            &["[1]", "[1]", "[2]"],
        ),
        (
            "SELECT CASE WHEN g = 1 THEN json_array_udf(id) ELSE json_object_udf(id) END FROM t ORDER BY id",
            &["[1]", "[2]", r#"{"id":3}"#],
        ),
        (
            "SELECT COALESCE(NULLIF(json_array_udf(1), '[1]'), CONCAT(json_array_udf(2), json_array_udf(3)))",
            &["[2][3]"],
        ),
        (
            "SELECT json_array_udf(id, ROW_NUMBER() OVER (ORDER BY id DESC)) FROM t ORDER BY id",
            &["[1,3]", "[2,2]", "[3,1]"],
        ),
        (
            "SELECT CONCAT(LAG(json_array_udf(id), 1, 'none') OVER (ORDER BY id)) FROM t ORDER BY id",
            &["none", "[1]", "[2]"],
        ),
        (
            "WITH RECURSIVE r AS (SELECT 1 AS n, CAST(json_array_udf(1) AS CHAR(99)) AS j
               UNION ALL SELECT n + 1, json_array_udf(n + 1, j AS json_j) FROM r WHERE n < 3)
             SELECT j FROM r",
            &["[1]", "[2,[1]]", "[3,[2,[1]]]"],
        ),
        (
            "WITH c AS (SELECT json_array_udf(id) AS j FROM t) SELECT x.j FROM c x JOIN c y ON x.j = y.j ORDER BY 1",
            &["[1]", "[2]", "[3]"],
        ),
    ] {
        match rows(&mut gman.session, sql) {
            Ok(rows) => {
                assert_eq!(rows, expected, "{sql}");
                understood += 1;
            }
            Err(mysql::Error::MySqlError(error)) if error.code == SYNTAX_ERROR => {
                println!("not understood: {sql}");
            }
            Err(error) => panic!("{sql}: {error}"),
        }
    }
    assert!(understood >= 14, "{understood}");
}

#[test]
fn json_is_right_where_a_row_is_written() {
    let mut gman = stage();
    for sql in [
        "UPDATE t SET name = json_array_udf(id) WHERE id = 2",
        "INSERT INTO t SELECT id + 10, g, json_array_udf(id) FROM t WHERE id = 1",
        "INSERT INTO t VALUES (1, 9, 'x') ON DUPLICATE KEY UPDATE name = json_object_udf(t.id, VALUES(g) AS g)",
        "REPLACE INTO t VALUES (3, 2, json_array_udf('r'))",
        "DELETE FROM t WHERE json_array_udf(id) = '[11]' AND name <> '[1]'",
    ] {
        gman.execute(sql);
    }
    let names = rows(&mut gman.session, "SELECT name FROM t ORDER BY id").expect("names");
    assert_eq!(names, [r#"{"id":1,"g":9}"#, "[2]", r#"["r"]"#, "[1]"]);
}

/// What a table's definition may hold differs from server to server.
#[test]
fn in_a_tables_definition_a_function_is_refused_or_right() {
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let mut gman = stage();
    gman.set_servers(&gearmand.address());
    let mut taken = Vec::new();
    for (what, definition, expected) in [
        (
            "a virtual column",
            "j VARCHAR(99) AS (json_object_udf(id AS id)) VIRTUAL",
            r#"{"id":7}"#,
        ),
        (
            "a stored column",
            "j VARCHAR(99) AS (json_object_udf(id AS id)) STORED",
            r#"{"id":7}"#,
        ),
        (
            "a default",
            "j VARCHAR(99) DEFAULT (json_array_udf(1))",
            "[1]",
        ),
        (
            "a default that submits",
            "j VARCHAR(99) DEFAULT (gman_do_background('f', 'default'))",
            "H:",
        ),
        (
            "a check",
            "j VARCHAR(99) DEFAULT 'x', CHECK (json_array_udf(id) <> '[7]')",
            "",
        ),
        (
            "a check that submits",
            "j VARCHAR(99) DEFAULT 'x', CHECK (gman_do_background('f', 'check') IS NOT NULL)",
            "x",
        ),
        (
            "an index",
            "j VARCHAR(99) DEFAULT 'x', KEY ((CAST(json_array_udf(id) AS CHAR(9))))",
            "x",
        ),
    ] {
        gman.execute("DROP TABLE IF EXISTS d");
        match gman
            .session
            .query_drop(format!("CREATE TABLE d (id INT, {definition})"))
        {
            Err(mysql::Error::MySqlError(error)) => println!("{what}: {}", error.message),
            Err(error) => panic!("{what}: the server is gone: {error}"),
            Ok(())
                if definition.contains("CHECK")
                    && gman.query::<Row>("SHOW WARNINGS").is_empty() =>
            {
                // Old servers read over it.
                gman.execute("INSERT INTO d (id) VALUES (7)");
            }
            Ok(()) => {
                taken.push(what);
                gman.execute("INSERT INTO d (id) VALUES (7)");
                // The definition is read again.
                gman.execute("FLUSH TABLES");
                let values = rows(&mut gman.session, "SELECT j FROM d").expect("a row");
                assert!(values[0].starts_with(expected), "{what}: {values:?}");
            }
        }
    }
    println!("taken: {taken:?}");
    let expected = usize::from(taken.contains(&"a default that submits"));
    assert_eq!(worker.wait_for(expected).len(), expected);
}

/// As often as the server evaluates the call: a view's column that is named twice is two calls. Looking at a plan
/// and preparing are none.
#[test]
fn a_call_that_is_not_run_submits_nothing() {
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let mut gman = stage();
    gman.set_servers(&gearmand.address());
    for (sql, jobs) in [
        ("EXPLAIN SELECT gman_do_background('f', id) FROM t", 0),
        (
            "CREATE VIEW b AS SELECT id, gman_do_background('f', id) AS h FROM t",
            0,
        ),
        (
            "PREPARE p FROM 'SELECT gman_do_background(''f'', id) FROM t'",
            0,
        ),
        (
            "SELECT IF(id > 0, id, gman_do_background('f', id)) FROM t",
            0,
        ),
        ("SELECT gman_do_background('f', id) FROM t WHERE 1 = 0", 0),
        ("SELECT id FROM b", 0),
        ("EXECUTE p", 3),
        ("SELECT h FROM b", 3),
        ("SELECT DISTINCT gman_do_background('f', 'w') FROM t", 3),
        (
            "SELECT COUNT(*) FROM t WHERE gman_do_background('f', 'w') IS NOT NULL",
            3,
        ),
        (
            "SELECT gman_do_background('f', 'w') AS h FROM t ORDER BY h",
            3,
        ),
        ("SELECT (SELECT gman_do_background('f', 'w')) FROM t", 3),
        ("DO gman_do_background('f', 'w')", 1),
    ] {
        let before = worker.count();
        gman.session
            .query::<Row, _>(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        gman.call("gman_do('f', 'mark')").answer.expect("a mark");
        let since = &worker.jobs()[before..];
        let sent = since.iter().filter(|job| job.workload != b"mark").count();
        assert_eq!(sent, jobs, "{sql}");
    }
}

#[test]
fn a_cursor_and_several_statements_at_once_get_the_right_json() {
    let mut gman = stage();
    for sql in [
        "CREATE TABLE log (j TEXT)",
        "CREATE PROCEDURE walk()
         BEGIN
           DECLARE done INT DEFAULT 0;
           DECLARE one TEXT;
           DECLARE walker CURSOR FOR SELECT json_array_udf(id, name) FROM t ORDER BY id;
           DECLARE CONTINUE HANDLER FOR NOT FOUND SET done = 1;
           OPEN walker;
           reading: LOOP
             FETCH walker INTO one;
             IF done THEN LEAVE reading; END IF;
             INSERT INTO log VALUES (json_array_udf(one AS json_one, done));
           END LOOP;
           CLOSE walker;
         END",
    ] {
        gman.execute(sql);
    }
    for _ in 0..2 {
        gman.execute("CALL walk()");
    }
    let logged = rows(&mut gman.session, "SELECT j FROM log").expect("a log");
    let once = [r#"[[1,"a"],0]"#, r#"[[2,"b"],0]"#, "[[3,null],0]"];
    assert_eq!(logged, [once, once].concat());

    let mut several = gman
        .session
        .query_iter("SELECT json_array_udf(1); DO 1; SELECT json_object_udf(2 AS a); SELECT json_array_udf(3)")
        .expect("several statements");
    let mut texts = Vec::new();
    while let Some(set) = several.iter() {
        texts.extend(set.map(|row| row.expect("a row").get::<String, _>(0).expect("text")));
    }
    assert_eq!(texts, ["[1]", r#"{"a":2}"#, "[3]"]);
}

/// Modes that change what text, quotes and nothing at all mean.
#[test]
fn json_is_right_in_every_mode_of_sql() {
    let mut gman = stage();
    let mut known = 0;
    for (mode, call, expected) in [
        (
            "ORACLE",
            "json_object_udf(1 AS a, 'x' || 'y' AS b)",
            r#"{"a":1,"b":"xy"}"#,
        ),
        ("ORACLE", "json_object_udf('' AS a)", r#"{"a":""}"#),
        (
            "ORACLE",
            "json_object_udf('a', 'b' || 'c')",
            r#"{"a":"bc"}"#,
        ),
        (
            "EMPTY_STRING_IS_NULL",
            "json_object_udf('' AS a)",
            r#"{"a":null}"#,
        ),
        ("ANSI_QUOTES", r#"json_object_udf(1 AS "x")"#, r#"{"x":1}"#),
        (
            "NO_BACKSLASH_ESCAPES",
            r"json_object_udf('a\b' AS x)",
            r#"{"x":"a\\b"}"#,
        ),
        (
            "PIPES_AS_CONCAT,IGNORE_SPACE",
            "json_object_udf ('a', 'b' || 'c')",
            r#"{"a":"bc"}"#,
        ),
        (
            "NO_UNSIGNED_SUBTRACTION",
            "json_array_udf(CAST(0 AS UNSIGNED) - 1)",
            "[-1]",
        ),
        ("REAL_AS_FLOAT,ANSI", "json_array_udf(0.5e0)", "[0.5]"),
    ] {
        let session = &mut gman.database.connect();
        if session
            .query_drop(format!("SET sql_mode = '{mode}'"))
            .is_err()
        {
            continue;
        }
        known += 1;
        let text = rows(session, &format!("SELECT {call}"))
            .unwrap_or_else(|error| panic!("{mode}: {call}: {error}"));
        assert_eq!(text, [expected], "{mode}: {call}");
    }
    let session = &mut gman.database.connect();
    if session.query_drop("SET sql_mode = 'ORACLE'").is_ok() {
        let text = rows(session, "BEGIN SELECT json_array_udf(1) FROM DUAL; END").expect("a block");
        assert_eq!(text, ["[1]"]);
    }
    let immediate = rows(
        &mut gman.session,
        "EXECUTE IMMEDIATE 'SELECT json_array_udf(?, ?)' USING 1, 'a'",
    );
    if let Ok(text) = immediate {
        assert_eq!(text, [r#"[1,"a"]"#]);
    }
    assert!(known >= 4, "{known}");
}
