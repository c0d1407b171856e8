//! What `gman triggers` does besides printing.

use std::fs::File;
use std::process::{Command, Stdio};

use mysql::prelude::Queryable;
use serde_json::{Value, json};

use super::{FUNCTION, Path, without_time};
use crate::support::{Port, gman_program, gman_succeeds, product_file, unsupported};

const NAMES: [&str; 3] = [
    "`test`.`t_insert_to_redis`",
    "`test`.`t_update_to_redis`",
    "`test`.`t_delete_to_redis`",
];

fn lines(word: &str, names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("{word} {name}\n"))
        .collect()
}

#[test]
fn triggers_are_created_replaced_and_dropped() {
    let mut path = Path::start();
    path.gman
        .execute("CREATE TABLE t (id INT PRIMARY KEY, n INT)");
    path.make_triggers("test.t", &[]);
    let by_client = path.triggers();
    for _ in 0..2 {
        let (printed, said) = path.create_triggers("test.t", &[]);
        assert_eq!((printed, said), (lines("created", &NAMES), String::new()));
        assert_eq!(path.triggers(), by_client);
    }
    let job = path.job("INSERT INTO t VALUES (1, 2)");
    assert_eq!(
        job,
        json!({ "key": "test.t:1", "row": { "id": 1, "n": 2 } })
    );

    path.gman
        .execute("CREATE TRIGGER other BEFORE INSERT ON t FOR EACH ROW SET @a = 1");
    let output = path.gman_triggers("test.t", &["--drop"]);
    assert!(output.status.success(), "{output:?}");
    let mut dropped: Vec<_> = std::str::from_utf8(&output.stdout)
        .expect("UTF-8")
        .lines()
        .collect();
    dropped.sort_unstable();
    assert_eq!(dropped.len(), 3, "{dropped:?}");
    assert_eq!(path.triggers().len(), 1);
    let output = path.gman_triggers("test.t", &["--drop"]);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("has no triggers of ours"));
}

#[test]
fn creating_the_triggers_again_misses_no_change() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let mut path = Path::start();
    path.gman
        .execute("CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB");
    path.create_triggers("test.t", &[]);
    path.jobs("INSERT INTO t VALUES (1, 0)", 1);
    let stop = AtomicBool::new(false);
    let changes = std::thread::scope(|scope| {
        let (mut session, stop) = (path.gman.database.connect(), &stop);
        let writer = scope.spawn(move || {
            let mut changes = 0;
            while !stop.load(Ordering::Relaxed) {
                session
                    .query_drop("UPDATE t SET n = n + 1")
                    .expect("the UPDATE");
                changes += 1;
            }
            changes
        });
        for _ in 0..3 {
            path.create_triggers("test.t", &[]);
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("a number")
    });
    assert_eq!(path.worker.wait_for(1 + changes).len(), 1 + changes);
}

#[test]
fn a_trigger_that_cannot_be_created_leaves_the_old_one() {
    let mut path = Path::start();
    path.gman.execute("CREATE TABLE t (id INT PRIMARY KEY)");
    path.create_triggers("test.t", &[]);
    let before = path.triggers();
    path.gman.execute("DROP FUNCTION json_object_udf");
    let problem = path.refusal_of("test.t", &["--create", "--prefix", "x:"]);
    assert!(
        problem.contains("the function json_object_udf is missing"),
        "{problem}"
    );
    assert_eq!(path.triggers(), before);
    let problem = path.refusal_of("test.t", &["--create", "--outbox", "--native-json"]);
    assert!(
        problem.contains("there is no outbox in `test`"),
        "{problem}"
    );
    assert_eq!(path.triggers(), before);
}

#[test]
fn columns_can_be_left_out_and_the_key_cannot() {
    let mut path = Path::start();
    path.gman.execute(
        "CREATE TABLE t (id INT, part INT, name TEXT, `a,b` INT, hash BLOB, PRIMARY KEY (id, part))",
    );
    let insert = "INSERT INTO t VALUES (1, 2, 'ann', 3, 'secret')";
    let mut sent = |options: &[&str]| {
        path.create_triggers("test.t", options);
        path.gman.execute("TRUNCATE t");
        path.job(insert)["row"].clone()
    };
    let all = json!({ "id": 1, "part": 2, "name": "ann", "a,b": 3 });
    assert_eq!(sent(&["--except", "HASH"]), all);
    assert_eq!(sent(&["--except", "hash,id,part"]), all);
    assert_eq!(sent(&["--columns", "name,`a,b`"]), all);
    let one = json!({ "id": 1, "part": 2, "name": "ann" });
    assert_eq!(sent(&["--columns", "name"]), one);
    for option in ["--columns", "--except"] {
        let problem = path.refusal_of("test.t", &[option, "nmae"]);
        assert!(problem.contains("has no column `nmae`"), "{problem}");
        assert!(problem.contains("`name`"), "{problem}");
        let problem = path.refusal_of("test.t", &[option, "a,,b"]);
        assert!(problem.contains("expected names of columns"), "{problem}");
    }
}

#[test]
fn several_tables_have_their_triggers_in_one_call() {
    let mut path = Path::start();
    path.gman.execute("CREATE TABLE a (id INT PRIMARY KEY)");
    path.gman.execute("CREATE TABLE b (id INT PRIMARY KEY)");
    path.create_triggers("test.a", &["test.b"]);
    assert_eq!(path.triggers().len(), 6);
    assert_eq!(path.job("INSERT INTO a VALUES (1)")["key"], "test.a:1");
    assert_eq!(path.job("INSERT INTO b VALUES (1)")["key"], "test.b:1");
    let problem = path.refusal_of("test.a", &["test.b", "--prefix", "x:"]);
    assert!(
        problem.contains("--prefix: expected one table"),
        "{problem}"
    );
    // None is changed if one cannot be.
    let output = path.gman_triggers("test.a", &["--drop", "test.b"]);
    assert!(output.status.success());
    path.refusal_of("test.a", &["test.missing", "--create"]);
    assert_eq!(path.triggers().len(), 0);
}

/// The jobs that wait in the outbox.
fn waiting(path: &mut Path) -> Vec<Value> {
    let rows: Vec<(String, Vec<u8>)> = path
        .gman
        .query("SELECT `function`, workload FROM gman_outbox ORDER BY id");
    path.gman.execute("DELETE FROM gman_outbox");
    rows.into_iter()
        .inspect(|(function, _)| assert_eq!(function, FUNCTION))
        .map(|(_, workload)| serde_json::from_str(&without_time(&workload)).expect("JSON"))
        .collect()
}

fn with_outbox(functions: bool) -> Path {
    let mut path = Path::start();
    path.gman.execute("DROP FUNCTION gman_do_background");
    path.gman
        .database
        .run_script(&product_file("sql/outbox.sql"));
    path.gman.execute("ALTER EVENT gman_outbox_relay DISABLE");
    path.gman.execute("DROP FUNCTION test.gman_do_background");
    if !functions {
        path.gman
            .database
            .run_script(&product_file("sql/uninstall.sql"));
    }
    path
}

#[test]
fn jobs_go_into_the_outbox() {
    let mut path = with_outbox(true);
    path.gman
        .execute("CREATE TABLE t (id INT PRIMARY KEY, n INT) ENGINE=InnoDB");
    let (_, said) = path.create_triggers("test.t", &["--outbox"]);
    assert_eq!(said, "");
    path.gman.execute("INSERT INTO t VALUES (1, 5)");
    path.gman.execute("UPDATE t SET id = 2");
    path.gman.execute("DELETE FROM t");
    assert_eq!(
        waiting(&mut path),
        [
            json!({ "key": "test.t:1", "row": { "id": 1, "n": 5 } }),
            json!({ "key": "test.t:1", "row": null }),
            json!({ "key": "test.t:2", "row": { "id": 2, "n": 5 } }),
            json!({ "key": "test.t:2", "row": null }),
        ]
    );
}

#[test]
fn the_servers_own_json_needs_no_library() {
    let mut path = with_outbox(false);
    if path
        .gman
        .session
        .query_drop("DO JSON_OBJECT('a', 1)")
        .is_err()
    {
        unsupported!("no JSON_OBJECT");
    }
    path.gman.execute(
        "CREATE TABLE t (
           d DOUBLE, big BIGINT UNSIGNED, deci DECIMAL(10,2), bits BIT(5), y YEAR,
           da DATE, dt DATETIME, ts TIMESTAMP NULL, ti TIME, e ENUM('ä', 'b') CHARACTER SET latin1,
           l VARCHAR(9) CHARACTER SET latin1, m VARCHAR(9) CHARACTER SET utf8mb4, doc JSON,
           bi BLOB, geo POINT, nothing INT, PRIMARY KEY (d, dt)
         ) ENGINE=InnoDB",
    );
    let options = ["--outbox", "--native-json"];
    path.create_triggers("test.t", &options);
    path.gman.execute("SET time_zone = '+02:00'");
    path.gman.execute(
        "INSERT INTO t VALUES (0.1234567890123, 18446744073709551615, 12.50, b'10101', 2024, '2024-02-29', '2024-02-29 12:34:56',
           '2024-02-29 12:34:56', '-01:02:03', 'ä', 'ü\"', '🐬', '{\"a\": [1, \"x\"]}', REPEAT(X'00', 100), ST_GeomFromText('POINT(1 2)'), NULL)",
    );
    path.gman.execute("DELETE FROM t");
    let jobs = waiting(&mut path);
    let key = "test.t:0.1234567890123:2024-02-29 12:34:56";
    assert_eq!(
        jobs[0],
        json!({
            "key": key,
            "row": {
                "d": 0.1234567890123, "big": u64::MAX, "deci": 12.50, "bits": 21, "y": 2024,
                "da": "2024-02-29", "dt": "2024-02-29 12:34:56", "ts": "2024-02-29T10:34:56Z", "ti": "-01:02:03",
                "e": "ä", "l": "ü\"", "m": "🐬", "doc": { "a": [1, "x"] },
                "bi": format!("{}==", "A".repeat(134)), "geo": "POINT(1 2)", "nothing": null,
            }
        })
    );
    assert_eq!(jobs[1], json!({ "key": key, "row": null }));
}

#[test]
fn what_the_servers_own_json_cannot_hold_is_an_error_and_never_null() {
    let mut path = with_outbox(false);
    if path
        .gman
        .session
        .query_drop("DO JSON_OBJECT('a', 1)")
        .is_err()
    {
        unsupported!("no JSON_OBJECT");
    }
    path.gman.execute("SET GLOBAL max_allowed_packet = 1048576");
    path.gman.session = path.gman.database.connect();
    path.gman.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, b LONGBLOB, c LONGTEXT, d LONGTEXT) ENGINE=InnoDB",
    );
    path.create_triggers("test.t", &["--outbox", "--native-json"]);
    for values in [
        "1, REPEAT('a', 900000), NULL, NULL",
        "1, NULL, REPEAT('a', 900000), REPEAT('a', 900000)",
    ] {
        path.gman
            .session
            .query_drop(format!("INSERT INTO t VALUES ({values})"))
            .expect_err(values);
    }
    assert_eq!(waiting(&mut path), Vec::<Value>::new());
}

#[test]
fn an_engine_without_transactions_is_told_where_there_is_an_outbox() {
    let mut path = with_outbox(true);
    path.gman
        .execute("CREATE TABLE t (id INT PRIMARY KEY) ENGINE=MyISAM");
    let said = |options: &[&str]| {
        let output = path.gman_triggers("test.t", options);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let warning = said(&["--outbox"]);
    assert!(
        warning.contains("MyISAM, which has no transactions"),
        "{warning}"
    );
    assert_eq!(said(&[]), "");
}

#[test]
fn triggers_that_came_with_a_copy_are_told() {
    let mut path = Path::start();
    path.gman.execute("CREATE TABLE t (id INT PRIMARY KEY)");
    path.gman.execute("CREATE DATABASE copy");
    path.gman
        .execute("CREATE TABLE copy.t (id INT PRIMARY KEY)");
    path.create_triggers("test.t", &[]);
    let output = path.gman_triggers("test.t", &["--check"]);
    assert!(output.status.success(), "{output:?}");
    path.gman.execute(
        "CREATE TRIGGER copy.t_delete_to_redis AFTER DELETE ON copy.t FOR EACH ROW BEGIN
           SET @RECV = gman_do_background('syncRowToRedis', json_object_udf('key', CONCAT('test.t:', OLD.`id`), 'row', NULL));
         END",
    );
    let output = path.gman_triggers("copy.t", &["--check"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(
        found.contains("trigger `copy`.`t_delete_to_redis` sends keys of the schema `test`"),
        "{found}"
    );
    let (_, said) = path.create_triggers("copy.t", &[]);
    assert!(said.contains("sends keys of the schema `test`"), "{said}");
    let output = path.gman_triggers("copy.t", &["--check"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn what_is_wrong_is_one_line_that_says_what_to_do() {
    let mut path = Path::start();
    path.gman.execute("CREATE TABLE t (id INT PRIMARY KEY)");
    path.gman
        .execute("CREATE USER app@localhost IDENTIFIED BY 'x'");
    path.gman.execute("GRANT SELECT ON test.t TO app@localhost");
    let socket = path.gman.database.socket();
    let socket = socket.display();
    let away = format!("mysql://root@127.0.0.1:{}", Port::free().number());
    let server = |account: &str| format!("mysql://{account}@localhost?socket={socket}");
    for (server, table, options, code, expected) in [
        (
            away.as_str(),
            "test.t",
            &[][..],
            1,
            "cannot reach the database server",
        ),
        (
            "/no/such/socket",
            "test.t",
            &[],
            1,
            "cannot reach the database server at /no/such/socket",
        ),
        (
            &server("app:wrong"),
            "test.t",
            &[],
            1,
            "refuses the account",
        ),
        (
            &server("root"),
            "test.unknown",
            &[],
            1,
            "no table `test`.`unknown`",
        ),
        (
            &server("app:x"),
            "test.t",
            &["--create"],
            1,
            "the account needs TRIGGER",
        ),
        (
            &server("root"),
            "unknown",
            &[],
            2,
            "expected DATABASE.TABLE",
        ),
    ] {
        let output = path.gman_triggers_at(server, table, options);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
    // A pipe that nobody reads, and a device that is full.
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("it is there");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    for stdout in [Stdio::from(full), Stdio::from(writer)] {
        let output = Command::new(gman_program())
            .args(["triggers", "test.t", "--mysql", &server("root")])
            .stdout(stdout)
            .stderr(Stdio::piped())
            .output()
            .expect("gman starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("stdout"), "{said}");
    }
}

#[test]
fn what_is_done_with_each_trigger_is_told_as_json() {
    let mut path = Path::start();
    path.gman
        .execute("CREATE TABLE t (id INT PRIMARY KEY, n INT)");
    let list = |path: &Path, options: &[&str]| -> Vec<Value> {
        let arguments = [&["triggers", "test.t", "--json"], options].concat();
        let printed = gman_succeeds(&path.gman.database, &arguments);
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    };
    for (options, action, are_there) in [
        (&[][..], "printed", 0),
        (&["--create"], "created", 3),
        (&["--drop"], "dropped", 0),
    ] {
        let listed = list(&path, options);
        let told = |name: &str| -> Vec<&str> {
            let values = listed.iter().map(|one| one[name].as_str());
            values.map(|value| value.expect("a text")).collect()
        };
        let mut names = told("trigger");
        names.sort_unstable();
        let mut expected = NAMES;
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(told("action"), [action; 3]);
        assert_eq!(told("table"), ["`test`.`t`"; 3]);
        for one in &listed {
            let statement = one["statement"].as_str();
            let is_told = statement.is_some_and(|sql| sql.starts_with("CREATE TRIGGER"));
            assert_eq!(is_told, action != "dropped", "{one}");
        }
        assert_eq!(path.triggers().len(), are_there);
    }
}
