//! The triggers of `sql/triggers.sql`, and those that `gman triggers` makes for any table: each
//! change of a row is a job that says what its key in Redis is from then on.

mod cascade;
mod check;
mod options;
mod values;

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mysql::prelude::Queryable;
use serde_json::{Value, json};

use crate::support::{
    Gearmand, Gman, Language, RecordingWorker, Redis, RedisWorker, gman_program, product_file,
    unsupported, wait_until,
};

const FUNCTION: &str = "syncRowToRedis";

/// ER_PARSE_ERROR, and MariaDB's and MySQL's answers to a type that they do not have.
const UNKNOWN_TYPES: [u16; 2] = [1064, 4161];

/// A database with the functions, and a worker that gets the triggers' jobs.
struct Path {
    gman: Gman,
    worker: RecordingWorker,
    gearmand: Gearmand,
    /// How many jobs the test has seen.
    seen: usize,
}

impl Path {
    fn start() -> Self {
        let gearmand = Gearmand::start();
        let worker = RecordingWorker::start(gearmand.port(), &[FUNCTION]);
        let mut gman = Gman::start();
        gman.set_servers(&gearmand.address());
        Self {
            gman,
            worker,
            gearmand,
            seen: 0,
        }
    }

    /// Prints the triggers of `table` and creates them, as a user would.
    fn make_triggers(&self, table: &str, options: &[&str]) {
        self.make_triggers_with_warnings(table, options);
    }

    /// As [`Path::make_triggers`]; returns what was said besides.
    fn make_triggers_with_warnings(&self, table: &str, options: &[&str]) -> String {
        let output = self.gman_triggers(table, options);
        let problems = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{table}: {problems}");
        let script = String::from_utf8(output.stdout).expect("UTF-8");
        self.gman.database.run_text(&script);
        problems
    }

    /// Has them created; returns what was printed, and what was said besides.
    fn create_triggers(&self, table: &str, options: &[&str]) -> (String, String) {
        let output = self.gman_triggers(table, &[options, &["--create"]].concat());
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let (printed, said) = (text(output.stdout), text(output.stderr));
        assert!(output.status.success(), "{table}: {said}");
        (printed, said)
    }

    /// What is said to a table that cannot have triggers: one line, and what to do.
    fn refusal(&self, table: &str) -> String {
        self.refusal_of(table, &[])
    }

    fn refusal_of(&self, table: &str, options: &[&str]) -> String {
        let output = self.gman_triggers(table, options);
        assert!(!output.status.success(), "{table}: {output:?}");
        assert!(output.stdout.is_empty(), "{table}: {output:?}");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(said.lines().count(), 1, "{said}");
        said
    }

    fn gman_triggers(&self, table: &str, options: &[&str]) -> Output {
        let socket = self.gman.database.socket();
        self.gman_triggers_at(
            &format!("mysql://root@localhost?socket={}", socket.display()),
            table,
            options,
        )
    }

    fn gman_triggers_at(&self, server: &str, table: &str, options: &[&str]) -> Output {
        Command::new(gman_program())
            .arg("triggers")
            .args(options)
            .args(["--mysql", server, table])
            .env_remove("HOME")
            .output()
            .expect("gman starts")
    }

    /// Runs `change`, and returns the workloads of the jobs that it sends, without the time.
    #[track_caller]
    fn jobs(&mut self, change: &str, count: usize) -> Vec<String> {
        self.gman.execute(change);
        let jobs = self.worker.wait_for(self.seen + count);
        let jobs = &jobs[self.seen..];
        assert_eq!(jobs.len(), count, "{change}: {jobs:?}");
        self.seen += count;
        jobs.iter()
            .inspect(|job| assert_eq!(job.function, FUNCTION))
            .map(|job| without_time(&job.workload))
            .collect()
    }

    /// As [`Path::jobs`], for a change that sends one row.
    #[track_caller]
    fn job(&mut self, change: &str) -> Value {
        let jobs = self.jobs(change, 1);
        serde_json::from_str(&jobs[0]).unwrap_or_else(|error| panic!("{}: {error}", jobs[0]))
    }

    /// Creates a table; `false` where the server does not have the types in it.
    fn create(&mut self, table: &str) -> bool {
        match self.gman.session.query_drop(table) {
            Err(mysql::Error::MySqlError(error)) if UNKNOWN_TYPES.contains(&error.code) => false,
            created => {
                created.unwrap_or_else(|error| panic!("{table}: {error}"));
                true
            }
        }
    }

    /// The triggers that there are, by name, with their bodies.
    fn triggers(&mut self) -> Vec<(String, String)> {
        self.gman.query(
            "SELECT TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS
             WHERE TRIGGER_SCHEMA = 'test' ORDER BY 1",
        )
    }
}

/// A workload without the time of the change.
#[track_caller]
pub(crate) fn without_time(workload: &[u8]) -> String {
    let (before, _, after) = around_time(workload);
    before + &after
}

/// What stands before the time of the change, the time in milliseconds, and what stands behind it.
#[track_caller]
fn around_time(workload: &[u8]) -> (String, f64, String) {
    let workload = String::from_utf8(workload.to_vec()).expect("UTF-8");
    let (before, after) = workload
        .rsplit_once(r#","at":"#)
        .unwrap_or_else(|| panic!("no time in {workload}"));
    let end = after.find([',', '}']).expect("the end of the object");
    let (at, after) = after.split_at(end);
    let at = at.parse().expect("a number");
    (before.to_owned(), at, after.to_owned())
}

#[test]
fn a_job_says_when_its_statement_began() {
    let mut path = Path::start();
    path.gman.execute("CREATE TABLE t (id INT PRIMARY KEY)");
    path.make_triggers("test.t", &[]);
    let now = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.expect("a time").as_secs_f64() * 1000.0
    };
    let before = now();
    // A second of the statement passes before the trigger runs.
    path.gman.execute("INSERT INTO t SELECT 1 + SLEEP(1)");
    let after = now();
    let at = around_time(&path.worker.wait_for(1)[0].workload).1;
    assert!(
        (before - 1.0..after - 999.0).contains(&at),
        "{before} {at} {after}"
    );
    // By the session's own clock, whatever it calls the time.
    path.gman
        .execute("SET time_zone = '+08:00', timestamp = 1729992600.25");
    path.gman.execute("DELETE FROM t");
    let at = around_time(&path.worker.wait_for(2)[1].workload).1;
    assert_eq!(at, 1_729_992_600_250.0);
}

#[test]
fn the_example_sends_what_a_key_is_from_then_on() {
    let mut path = Path::start();
    path.gman
        .database
        .run_script(&product_file("sql/triggers.sql"));
    path.seen = path.worker.wait_for(2).len();
    path.jobs("DELETE FROM product", 2);

    assert_eq!(
        path.jobs("INSERT INTO product VALUES (1, 'tea', 2.50, 12)", 1),
        [r#"{"key":"product:1","row":{"id":1,"name":"tea","price":2.50,"stock":12}}"#]
    );
    assert_eq!(
        path.jobs("UPDATE product SET stock = 11 WHERE id = 1", 1),
        [r#"{"key":"product:1","row":{"id":1,"name":"tea","price":2.50,"stock":11}}"#]
    );
    assert_eq!(
        path.jobs("UPDATE product SET id = 7 WHERE id = 1", 2),
        [
            r#"{"key":"product:1","row":null}"#,
            r#"{"key":"product:7","row":{"id":7,"name":"tea","price":2.50,"stock":11}}"#,
        ]
    );
    assert_eq!(
        path.jobs("UPDATE product SET id = id", 1),
        [r#"{"key":"product:7","row":{"id":7,"name":"tea","price":2.50,"stock":11}}"#]
    );
    assert_eq!(
        path.jobs("DELETE FROM product", 1),
        [r#"{"key":"product:7","row":null}"#]
    );
}

#[test]
fn the_rows_of_the_example_are_in_redis_as_they_are_in_the_table() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let _worker = RedisWorker::start(Language::Rust, &gearmand, &redis);
    let mut gman = Gman::start();
    gman.set_servers(&gearmand.address());
    gman.database.run_script(&product_file("sql/triggers.sql"));
    gman.execute("UPDATE product SET stock = stock - 1, price = 2.75 WHERE id = 1");
    gman.execute("UPDATE product SET id = 7 WHERE id = 2");
    gman.execute("INSERT INTO product VALUES (8, 'milk', 1.10, 3)");
    gman.execute("DELETE FROM product WHERE id = 8");
    gman.execute("INSERT INTO product VALUES (9, 'last', 0, 0)");
    wait_until(Duration::from_secs(60), "the last row", || {
        match redis.hash("product:9") {
            last if last.is_empty() => Err(last),
            _ => Ok(()),
        }
    });
    let row = |fields: [&str; 4]| {
        let names = ["id", "name", "price", "stock"];
        BTreeMap::from_iter(
            names
                .into_iter()
                .zip(fields)
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        )
    };
    assert_eq!(redis.hash("product:1"), row(["1", "tea", "2.75", "11"]));
    assert_eq!(redis.hash("product:7"), row(["7", "coffee", "3.20", "7"]));
    for gone in ["product:2", "product:8"] {
        assert_eq!(redis.hash(gone), BTreeMap::new(), "{gone}");
    }
}

#[test]
fn what_the_example_says_that_triggers_do_not_see_they_do_not_see() {
    let mut path = Path::start();
    path.gman
        .execute("CREATE TABLE parent (id INT PRIMARY KEY) ENGINE=InnoDB");
    path.gman.execute(
        "CREATE TABLE child (id INT PRIMARY KEY, parent INT,
           FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE) ENGINE=InnoDB",
    );
    path.make_triggers("test.child", &["--prefix", "child:"]);
    path.gman.execute("INSERT INTO parent VALUES (1), (2)");
    path.jobs("INSERT INTO child VALUES (1, 1), (2, 2), (3, 2)", 3);

    path.gman.execute("UPDATE parent SET id = 10 WHERE id = 1");
    path.gman.execute("DELETE FROM parent WHERE id = 2");
    path.gman
        .execute("ALTER TABLE child ADD COLUMN more INT DEFAULT 7");
    path.gman.execute("TRUNCATE child");

    // One job alone: jobs arrive in their order, so those above would have come before it.
    let job = path.job("INSERT INTO child VALUES (4, 10, 8)");
    assert_eq!(job["key"], "child:4");
}

#[test]
fn making_the_triggers_again_misses_no_change() {
    let mut path = Path::start();
    path.gman
        .execute("CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB");
    path.make_triggers("test.t", &["--prefix", "t:"]);
    path.jobs("INSERT INTO t VALUES (1, 0)", 1);
    let stop = AtomicBool::new(false);
    let changes = thread::scope(|scope| {
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
            path.make_triggers("test.t", &["--prefix", "t:"]);
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("a number")
    });

    let jobs = path.worker.wait_for(1 + changes);
    let expected = |n| format!(r#"{{"key":"t:1","row":{{"id":1,"n":{n}}}}}"#);
    for (n, job) in jobs.iter().enumerate() {
        assert_eq!(without_time(&job.workload), expected(n));
    }
    assert_eq!(jobs.len(), 1 + changes);
}

#[test]
fn the_triggers_write_into_the_outbox_where_there_is_one() {
    let mut path = Path::start();
    path.gman.execute("DROP FUNCTION gman_do_background");
    path.gman
        .database
        .run_script(&product_file("sql/outbox.sql"));
    path.gman.execute("ALTER EVENT gman_outbox_relay DISABLE");
    path.gman
        .execute("CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB");
    // Twice: the second time the triggers that are replaced are in use.
    path.make_triggers("test.t", &["--prefix", "t:"]);
    path.make_triggers("test.t", &["--prefix", "t:"]);

    path.gman.execute("INSERT INTO t VALUES (1)");

    let rows: Vec<(String, Vec<u8>)> = path
        .gman
        .query("SELECT `function`, workload FROM gman_outbox");
    let [(function, workload)] = rows.as_slice() else {
        panic!("{rows:?}");
    };
    assert_eq!(function, FUNCTION);
    assert_eq!(without_time(workload), r#"{"key":"t:1","row":{"id":1}}"#);
}

#[test]
fn the_example_is_what_gman_triggers_prints() {
    let mut path = Path::start();
    path.gman
        .database
        .run_script(&product_file("sql/triggers.sql"));
    let example = path.triggers();
    assert_eq!(example.len(), 3, "{example:?}");

    path.make_triggers("test.product", &["--prefix", "product:"]);

    assert_eq!(path.triggers(), example);
}

#[test]
fn triggers_are_made_for_the_table_of_the_tutorial() {
    let mut path = Path::start();
    path.gman
        .database
        .run_script(&product_file("sql/test-native-json.sql"));
    let order: u64 = path.gman.database.value(
        "SELECT ACTION_ORDER FROM information_schema.TRIGGERS WHERE TRIGGER_NAME = 'datatoredis'",
    );
    if order == 0 {
        // A server with one trigger for each event.
        let problem = path.refusal("test.test");
        assert!(
            problem.contains("one AFTER UPDATE trigger") && problem.contains("`datatoredis`"),
            "{problem}"
        );
        path.gman.execute("DROP TRIGGER datatoredis");
    }
    path.make_triggers("test.test", &[]);

    assert_eq!(
        path.jobs("UPDATE test SET name = 'sm' WHERE id = 1", 1),
        [r#"{"key":"test.test:1","row":{"id":1,"name":"sm"}}"#]
    );
    assert_eq!(
        path.jobs("REPLACE INTO test VALUES (1, NULL)", 2),
        [
            r#"{"key":"test.test:1","row":null}"#,
            r#"{"key":"test.test:1","row":{"id":1,"name":null}}"#,
        ]
    );
    assert_eq!(
        path.jobs("INSERT INTO test VALUES (10, 'ten')", 1),
        [r#"{"key":"test.test:10","row":{"id":10,"name":"ten"}}"#]
    );
    assert_eq!(
        path.jobs("DELETE FROM test WHERE id = 10", 1),
        [r#"{"key":"test.test:10","row":null}"#]
    );
}

#[test]
fn the_prefix_and_the_function_are_options() {
    let mut path = Path::start();
    path.gman.execute("CREATE TABLE t (id INT PRIMARY KEY)");
    let other = RecordingWorker::start(path.gearmand.port(), &["other"]);
    path.make_triggers("test.t", &["--prefix", "größe's\\:", "--function=other"]);
    path.gman.execute("INSERT INTO t VALUES (1)");
    let jobs = other.wait_for(1);
    assert_eq!(
        without_time(&jobs[0].workload),
        r#"{"key":"größe's\\:1","row":{"id":1}}"#
    );
}

#[test]
fn columns_of_every_type_arrive() {
    let mut path = Path::start();
    path.gman.execute(
        "CREATE TABLE t (
           id INT PRIMARY KEY,
           big BIGINT UNSIGNED, deci DECIMAL(10,2), f FLOAT, d DOUBLE, bits BIT(5), y YEAR, z INT(6) ZEROFILL,
           da DATE, dt DATETIME, ts TIMESTAMP NULL, ti TIME,
           e ENUM('ä', 'b') CHARACTER SET latin1, s SET('x', 'y'),
           plain TEXT CHARACTER SET utf8, l VARCHAR(9) CHARACTER SET latin1, u CHAR(9) CHARACTER SET ucs2,
           g TEXT CHARACTER SET gbk, m VARCHAR(9) CHARACTER SET utf8mb4,
           bi BINARY(2), pic BLOB, geo POINT, line GEOMETRY
         )",
    );
    path.make_triggers("test.t", &["--prefix", "t:"]);
    path.gman.execute("SET time_zone = '+00:00'");

    let job = path.job(
        "INSERT INTO t VALUES (
           1,
           18446744073709551615, 12.50, 0.1, 1e308, b'10101', 2024, 7,
           '2024-02-29', '2024-02-29 12:34:56', '2024-02-29 12:34:56', '-01:02:03',
           'ä', 'x,y',
           'é', 'ü', '日本', '漢字', '🐬',
           X'00FF', REPEAT(X'00', 100), ST_GeomFromText('POINT(1 2)'), NULL
         )",
    );
    let zeros = format!("{}{}", "A".repeat(134), "==");
    assert_eq!(job["key"], "t:1");
    assert_eq!(
        job["row"],
        json!({
            "id": 1,
            "big": u64::MAX, "deci": 12.50, "f": 0.1, "d": 1e308, "bits": 21, "y": 2024, "z": 7,
            "da": "2024-02-29", "dt": "2024-02-29 12:34:56", "ts": "2024-02-29T12:34:56Z", "ti": "-01:02:03",
            "e": "ä", "s": "x,y",
            "plain": "é", "l": "ü", "u": "日本", "g": "漢字", "m": "🐬",
            "bi": "AP8=", "pic": zeros, "geo": "POINT(1 2)", "line": null,
        })
    );
}

#[test]
fn names_may_hold_anything() {
    let mut path = Path::start();
    path.gman.execute(r#"CREATE DATABASE `my.shop`"#);
    path.gman.execute(
        r#"CREATE TABLE `my.shop`.`odd ``table'.$$ ; "\{0}
-- %s` (
             `id'; --` INT PRIMARY KEY,
             `a``tick` INT, `it's` INT, `say "hi"` INT, `back\slash` INT, `$$` INT,
             `dot.ted name` INT, `größe` INT, `{brace}` INT, `end\` INT, `a tab	here` INT
           )"#,
    );
    path.make_triggers("`my.shop`.`odd ``table'.$$ ; \"\\{0}\n-- %s`", &[]);

    let job = path.job(
        "INSERT INTO `my.shop`.`odd ``table'.$$ ; \"\\{0}\n-- %s` VALUES (0,1,2,3,4,5,6,7,8,9,10)",
    );
    assert_eq!(job["key"], "my.shop.odd `table'.$$ ; \"\\{0}\n-- %s:0");
    assert_eq!(
        job["row"],
        json!({
            "id'; --": 0, "a`tick": 1, "it's": 2, "say \"hi\"": 3, "back\\slash": 4, "$$": 5,
            "dot.ted name": 6, "größe": 7, "{brace}": 8, "end\\": 9, "a tab\there": 10,
        })
    );
}

#[test]
fn long_table_names_have_triggers_of_their_own() {
    let mut path = Path::start();
    let [a, b] = ["a", "b"].map(|end| format!("{}{end}", "t".repeat(63)));
    for table in [&a, &b] {
        path.gman
            .execute(&format!("CREATE TABLE {table} (id INT PRIMARY KEY)"));
        path.make_triggers(&format!("test.{table}"), &[]);
    }
    assert_eq!(path.triggers().len(), 6);
    for table in [&a, &b] {
        let job = path.job(&format!("INSERT INTO {table} VALUES (1)"));
        assert_eq!(job["key"], format!("test.{table}:1"));
    }
}

#[test]
fn different_rows_have_different_keys() {
    let mut path = Path::start();
    path.gman.execute(
        "CREATE TABLE t (
           b VARCHAR(9) CHARACTER SET latin1, a VARCHAR(9) CHARACTER SET utf8 COLLATE utf8_unicode_ci,
           bi BINARY(2), n INT, PRIMARY KEY (a, b, bi, n)
         )",
    );
    path.make_triggers("test.t", &["--prefix", "t:"]);
    let mut key = |values: &str| {
        let job = path.job(&format!("INSERT INTO t (a, b, bi, n) VALUES ({values})"));
        job["key"].as_str().expect("a key").to_owned()
    };
    assert_eq!(key("'ä', 'ö', X'00FF', 1"), "t:ä:ö:00FF:1");
    assert_eq!(key("'x:y', 'z', '', 1"), "t:x%3Ay:z:0000:1");
    assert_eq!(key("'x', 'y:z', '', 1"), "t:x:y%3Az:0000:1");
    assert_eq!(key("'x%3Ay', 'z', '', 1"), "t:x%253Ay:z:0000:1");
}

#[test]
fn a_key_that_changes_only_in_its_case_is_another_key() {
    let mut path = Path::start();
    path.gman
        .execute("CREATE TABLE t (id VARCHAR(9) PRIMARY KEY) DEFAULT CHARSET=utf8");
    path.make_triggers("test.t", &["--prefix", "t:"]);
    path.gman.execute("INSERT INTO t VALUES ('a')");
    path.seen = 1;
    for (change, old, new) in [
        ("UPDATE t SET id = 'A'", "t:a", "t:A"),
        ("UPDATE t SET id = 'A '", "t:A", "t:A "),
    ] {
        let jobs = path.jobs(change, 2).join(" ");
        assert!(
            jobs.starts_with(&format!(r#"{{"key":"{old}","row":null}}"#)),
            "{jobs}"
        );
        assert!(
            jobs.contains(&format!(r#"{{"key":"{new}","row":{{"#)),
            "{jobs}"
        );
    }
}

#[test]
fn keys_of_numbers_and_times_are_exact() {
    let mut path = Path::start();
    path.gman.execute(
        "CREATE TABLE t (d DOUBLE, bits BIT(12), ts TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
                         PRIMARY KEY (d, bits, ts))",
    );
    path.make_triggers("test.t", &["--prefix", "t:"]);
    path.gman.execute("SET time_zone = '+00:00'");
    let job = path.job("INSERT INTO t VALUES (0.1234567890123, 257, '2024-02-29 12:00:00')");
    assert_eq!(job["key"], "t:0.1234567890123:257:2024-02-29T12:00:00Z");
    // A session elsewhere means the same row.
    path.gman.execute("SET time_zone = '+05:00'");
    let job = path.job("DELETE FROM t");
    assert_eq!(job["key"], "t:0.1234567890123:257:2024-02-29T12:00:00Z");
}

#[test]
fn json_columns_go_in_as_json() {
    let mut path = Path::start();
    if !path.create("CREATE TABLE t (id INT PRIMARY KEY, doc JSON, text LONGTEXT)") {
        unsupported!("no type JSON");
    }
    path.make_triggers("test.t", &["--prefix", "t:"]);
    let job = path.job(r#"INSERT INTO t VALUES (1, '{"a": [1, "x"]}', '{"a": 1}')"#);
    assert_eq!(
        job["row"],
        json!({ "id": 1, "doc": { "a": [1, "x"] }, "text": "{\"a\": 1}" })
    );
    let job = path.job(r#"UPDATE t SET doc = '"text"'"#);
    assert_eq!(job["row"]["doc"], "text");
    let job = path.job("UPDATE t SET doc = NULL");
    assert_eq!(job["row"]["doc"], Value::Null);
}

#[test]
fn generated_columns_go_in_like_others() {
    let mut path = Path::start();
    if !path.create(
        "CREATE TABLE t (id INT PRIMARY KEY, n INT, twice INT AS (n * 2) VIRTUAL, kept INT AS (n * 3) STORED)",
    ) {
        unsupported!("no stored generated columns");
    }
    path.make_triggers("test.t", &["--prefix", "t:"]);
    let job = path.job("INSERT INTO t (id, n) VALUES (1, 1)");
    assert_eq!(
        job["row"],
        json!({ "id": 1, "n": 1, "twice": 2, "kept": 3 })
    );
    let job = path.job("UPDATE t SET n = 5");
    assert_eq!(
        job["row"],
        json!({ "id": 1, "n": 5, "twice": 10, "kept": 15 })
    );
}

#[test]
fn vectors_go_in_as_their_bytes() {
    let mut path = Path::start();
    if !path.create("CREATE TABLE t (id INT PRIMARY KEY, v VECTOR(2))") {
        unsupported!("no type VECTOR");
    }
    path.make_triggers("test.t", &["--prefix", "t:"]);
    let job = path.job("INSERT INTO t VALUES (1, X'0000803F00000040')");
    assert_eq!(job["row"], json!({ "id": 1, "v": "AACAPwAAAEA=" }));
}

#[test]
fn uuids_and_addresses_go_in_as_text() {
    let mut path = Path::start();
    if !path.create("CREATE TABLE t (id UUID PRIMARY KEY, ip INET6)") {
        unsupported!("no type UUID");
    }
    path.make_triggers("test.t", &["--prefix", "t:"]);
    let job = path.job("INSERT INTO t VALUES ('123e4567-e89b-12d3-a456-426655440000', '::1')");
    assert_eq!(
        job,
        json!({
            "key": "t:123e4567-e89b-12d3-a456-426655440000",
            "row": { "id": "123e4567-e89b-12d3-a456-426655440000", "ip": "::1" },
        })
    );
}

#[test]
fn a_table_that_cannot_have_them_is_refused_with_the_reason() {
    let mut path = Path::start();
    path.gman.execute("CREATE TABLE bare (id INT, UNIQUE (id))");
    path.gman.execute("CREATE VIEW seen AS SELECT * FROM bare");
    for (table, reason) in [
        ("test.bare", "`test`.`bare` has no primary key"),
        ("test.seen", "`test`.`seen` is a view"),
        ("test.missing", "no table `test`.`missing`"),
        ("test", "expected DATABASE.TABLE, got test"),
        ("a.b.c", "expected DATABASE.TABLE, got a.b.c"),
    ] {
        let problem = path.refusal(table);
        assert!(problem.starts_with("gman: "), "{problem}");
        assert!(problem.contains(reason), "{table}: {problem}");
    }
}

#[test]
fn a_table_that_keeps_its_history_sends_what_is_current() {
    let mut path = Path::start();
    if !path.create(
        "CREATE TABLE t (id INT PRIMARY KEY, n INT,
           since TIMESTAMP(6) GENERATED ALWAYS AS ROW START, until TIMESTAMP(6) GENERATED ALWAYS AS ROW END,
           PERIOD FOR SYSTEM_TIME (since, until)) WITH SYSTEM VERSIONING",
    ) {
        unsupported!("no system versioning");
    }
    path.make_triggers("test.t", &["--prefix", "t:"]);
    path.jobs("INSERT INTO t (id, n) VALUES (1, 1)", 1);
    let job = path.job("UPDATE t SET n = 2");
    assert_eq!((&job["row"]["n"], &job["key"]), (&json!(2), &json!("t:1")));
    let since: String = path.gman.database.value(
        "SELECT DATE_FORMAT(CONVERT_TZ(since, @@time_zone, '+00:00'), '%Y-%m-%dT%H:%i:%s.%fZ') FROM t",
    );
    assert_eq!(job["row"]["since"], since);
    assert_eq!(
        path.jobs("DELETE FROM t", 1),
        [r#"{"key":"t:1","row":null}"#]
    );
}
