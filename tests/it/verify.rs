//! `gman verify`: whether Redis has what the tables have.

mod schema_change;

use std::time::{Duration, Instant};

use redis::Commands;
use serde_json::Value;

use crate::support::{
    Gearmand, Gman, Language, ROWS, Ran, Redis, RedisWorker, gman_succeeds, product_file, run_gman,
    scale, while_written,
};

/// The whole path, from a database to Redis.
struct Path {
    gman: Gman,
    redis: Redis,
    /// `None` once it was stopped.
    worker: Option<RedisWorker>,
    gearmand: Gearmand,
}

impl Path {
    fn start() -> Self {
        Self::with_worker(&["--threads=2"])
    }

    fn with_worker(options: &[&str]) -> Self {
        let (gearmand, redis) = (Gearmand::start(), Redis::start());
        let worker = RedisWorker::start_with(Language::Rust, &gearmand, &redis, options);
        let mut gman = Gman::start();
        gman.set_servers(&gearmand.address());
        Self {
            gman,
            redis,
            worker: Some(worker),
            gearmand,
        }
    }

    /// A table whose rows are in Redis.
    fn create_table(&mut self, rows: u32, options: &[&str]) {
        self.gman
            .execute("CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB");
        let arguments = [&["triggers", "--create", "test.t"], options].concat();
        gman_succeeds(&self.gman.database, &arguments);
        for first in (0..rows).step_by(1000) {
            let ids = first..rows.min(first + 1000);
            let values: Vec<String> = ids.map(|id| format!("({id}, 7)")).collect();
            self.gman
                .execute(&format!("INSERT INTO t VALUES {}", values.join(",")));
        }
    }

    fn verify(&self, options: &[&str]) -> Ran {
        let redis = format!("--redis={}", self.redis.address());
        let arguments = [&["verify", "test.t", &redis], options].concat();
        run_gman(&self.gman.database, &arguments)
    }

    /// What `--json` says of the table; with the exit status.
    fn report(&self, options: &[&str]) -> (Value, Option<i32>) {
        let ran = self.verify(&[&["--json"], options].concat());
        let mut json: Value =
            serde_json::from_str(&ran.printed).unwrap_or_else(|error| panic!("{ran:?}: {error}"));
        (json["tables"][0].take(), ran.status)
    }

    #[track_caller]
    fn is_right(&self) {
        let ran = self.verify(&[]);
        assert_eq!(ran.status, Some(0), "{ran:?}");
    }
}

/// How many keys of each kind a report has.
fn counts(report: &Value) -> [usize; 3] {
    ["missing", "stale", "orphaned"].map(|kind| report[kind].as_array().expect("a list").len())
}

#[test]
fn a_row_of_many_megabytes_is_compared() {
    let mut path = Path::start();
    path.gman
        .execute("CREATE TABLE t (id INT PRIMARY KEY, n LONGTEXT) ENGINE=InnoDB");
    gman_succeeds(&path.gman.database, &["triggers", "--create", "test.t"]);
    path.gman
        .execute("INSERT INTO t VALUES (1, REPEAT('x', 9000000))");
    path.is_right();
}

#[test]
fn lookup_keys_are_nobodys_rows_and_are_loaded_with_them() {
    let mut path = Path::start();
    path.gman
        .execute("CREATE TABLE t (id VARCHAR(20) PRIMARY KEY, mail VARCHAR(20)) ENGINE=InnoDB");
    path.gman.execute("INSERT INTO t VALUES ('a', 'old')");
    let arguments = ["triggers", "--create", "test.t", "--lookup=mail"];
    gman_succeeds(&path.gman.database, &arguments);
    path.gman
        .execute("INSERT INTO t VALUES ('b', 'new'), ('c', NULL)");
    gman_succeeds(&path.gman.database, &["load", "test.t"]);
    path.is_right();
    for (mail, id) in [("old", "a"), ("new", "b")] {
        let row = path.redis.get(&format!("test.t:mail:{mail}"));
        assert_eq!(row, Some(format!("test.t:{id}")));
    }
}

#[test]
fn lookup_keys_are_compared_and_repaired() {
    let mut path = Path::start();
    path.gman
        .execute("CREATE TABLE t (id INT PRIMARY KEY, mail VARCHAR(20)) ENGINE=InnoDB");
    let arguments = ["triggers", "--create", "test.t", "--lookup=mail"];
    gman_succeeds(&path.gman.database, &arguments);
    let rows: Vec<String> = (0..1_000).map(|n| format!("({n}, 'm{n}')")).collect();
    path.gman
        .execute(&format!("INSERT INTO t VALUES {}", rows.join(",")));
    // Two rows with one value: the key leads to either of them.
    path.gman
        .execute("INSERT INTO t VALUES (2000, 'both'), (2001, 'both'), (2002, NULL)");
    path.is_right();

    let mail = |value: &str| format!("test.t:mail:{value}");
    let mut pipeline = redis::pipe();
    for n in 0..100 {
        pipeline.del(mail(&format!("m{n}")));
        let other = format!("m{}", 100 + n);
        pipeline.set(mail(&other), "test.t:7");
        pipeline.set(mail(&format!("m{}", 200 + n)), "nothing of ours");
        pipeline.set(mail(&format!("gone{n}")), format!("test.t:{n}"));
        pipeline.set(mail(&format!("never{n}")), "test.t:5000");
    }
    pipeline.set(mail("both"), "test.t:2000");
    let () = pipeline.query(&mut path.redis.connect()).expect("faults");
    let (report, status) = path.report(&[]);
    assert_eq!(status, Some(1));
    assert_eq!(counts(&report), [100, 200, 200], "{report}");

    let (report, status) = path.report(&["--repair", "--yes"]);
    assert_eq!(status, Some(0), "{:?}", report["repaired"]);
    path.is_right();
    assert_eq!(path.redis.get(&mail("m100")).as_deref(), Some("test.t:100"));
    assert_eq!(path.redis.get(&mail("gone1")), None);
}

#[test]
fn every_planted_fault_is_found_and_repaired() {
    const OF_EACH: u32 = 1_000;
    let mut path = Path::start();
    path.create_table(10 * OF_EACH, &[]);
    path.is_right();

    let key = |id: u32| format!("test.t:{id}");
    let mut pipeline = redis::pipe();
    for n in 0..OF_EACH {
        pipeline.del(key(n));
        pipeline.hset(key(OF_EACH + n), "n", "8");
        pipeline.hdel(key(2 * OF_EACH + n), "n");
        pipeline.hset(key(3 * OF_EACH + n), "more", "x");
        pipeline.set(key(4 * OF_EACH + n), "another type");
        pipeline.hset(key(100 * OF_EACH + n), "id", "1");
        // Somebody else's, that begins in the same way.
        pipeline.set(format!("test.t:{n}:cache"), "x");
    }
    let () = pipeline.query(&mut path.redis.connect()).expect("faults");

    let (report, status) = path.report(&[]);
    assert_eq!(status, Some(1));
    assert_eq!(counts(&report), [1_000, 4_000, 1_000]);
    assert_eq!(report["rows"], 10 * OF_EACH);
    assert_eq!(report["other_keys"], OF_EACH);
    let stale = report["stale"].as_array().expect("a list");
    let one = stale
        .iter()
        .find(|one| one["key"] == key(OF_EACH))
        .expect("a key");
    assert_eq!(
        one["columns"],
        serde_json::json!([{ "column": "n", "table": "7", "redis": "8" }])
    );

    let (report, status) = path.report(&["--repair", "--yes"]);
    assert_eq!(status, Some(0), "{:?}", report["repaired"]);
    assert_eq!(report["repaired"]["left"], 0);
    assert_eq!(report["repaired"]["deleted"], OF_EACH);
    path.is_right();
    assert_eq!(path.redis.get("test.t:7:cache").as_deref(), Some("x"));
}

#[test]
fn faults_are_found_while_the_rows_change() {
    let mut path = Path::start();
    path.create_table(ROWS, &[]);
    // Rows that the writers do not reach, in the same table.
    let values: Vec<String> = (0..300).map(|n| format!("({}, 7)", 10_000 + n)).collect();
    path.gman
        .execute(&format!("INSERT INTO t VALUES {}", values.join(",")));
    path.is_right();
    let mut pipeline = redis::pipe();
    for n in 0..100 {
        pipeline.del(format!("test.t:{}", 10_000 + n));
        pipeline.hset(format!("test.t:{}", 10_100 + n), "n", "8");
        pipeline.hset(format!("test.t:{}", 20_000 + n), "n", "8");
    }
    let () = pipeline.query(&mut path.redis.connect()).expect("faults");
    while_written(&path.gman.database, false, || {
        let (report, _) = path.report(&[]);
        assert_eq!(counts(&report), [100, 100, 100], "{report}");
    });
}

/// `GMAN_VERIFY_SECONDS` for longer.
#[test]
fn nothing_is_reported_that_is_only_under_way() {
    let mut path = Path::start();
    path.create_table(ROWS, &[]);
    let long = Duration::from_secs(scale("GMAN_VERIFY_SECONDS", 10).into());
    let mut runs = 0;
    let changes = while_written(&path.gman.database, false, || {
        let began = Instant::now();
        while began.elapsed() < long || runs < 3 {
            let (report, status) = path.report(&[]);
            assert_eq!((counts(&report), status), ([0; 3], Some(0)), "{report}");
            runs += 1;
        }
    });
    assert!(changes > 1000, "{runs} runs, {changes} changes");
    path.is_right();
}

#[test]
fn rows_of_the_outbox_are_compared_too() {
    let mut path = Path::start();
    path.gman.execute("DROP FUNCTION gman_do_background");
    path.gman
        .database
        .run_script(&product_file("sql/outbox.sql"));
    path.gman.execute("SET GLOBAL event_scheduler = ON");
    path.create_table(100, &["--outbox"]);
    path.is_right();
    let () = path.redis.connect().del("test.t:7").expect("DEL");
    let (report, status) = path.report(&["--expires"]);
    assert_eq!((counts(&report), status), ([0; 3], Some(0)), "{report}");
    assert_eq!(report["expired"], 1);
    let (report, status) = path.report(&["--repair"]);
    assert_eq!((counts(&report), status), ([1, 0, 0], Some(0)), "{report}");
    path.is_right();
}

#[test]
fn keys_without_a_row_are_found_for_keys_of_every_type() {
    let mut path = Path::start();
    path.gman.execute("SET time_zone = '+00:00'");
    let kinds = [
        (
            "id BIGINT UNSIGNED PRIMARY KEY",
            "18446744073709551615",
            "1",
        ),
        ("id DECIMAL(9,3) PRIMARY KEY", "-1.500", "2"),
        ("id DOUBLE PRIMARY KEY", "0.1234567890123", "-1e300"),
        ("id FLOAT PRIMARY KEY", "0.1", "0.3"),
        ("id BIT(9) PRIMARY KEY", "257", "1"),
        ("id DATE PRIMARY KEY", "'2024-02-29'", "'2024-03-01'"),
        (
            "id DATETIME(3) PRIMARY KEY",
            "'2024-02-29 10:00:00.125'",
            "'2024-03-01'",
        ),
        (
            "id TIMESTAMP PRIMARY KEY",
            "'2024-10-27 00:30:00'",
            "'2024-10-27 01:30:00'",
        ),
        ("id TIME PRIMARY KEY", "'-12:34:56'", "'00:00:00'"),
        (
            "id VARCHAR(9) CHARACTER SET latin1 PRIMARY KEY",
            "'ä:b%'",
            "'A'",
        ),
        (
            "id VARCHAR(9) CHARACTER SET gbk PRIMARY KEY",
            "'漢字'",
            "'a'",
        ),
        (
            "id VARCHAR(9) CHARACTER SET utf8 PRIMARY KEY",
            "'日本'",
            "'it''s'",
        ),
        ("id VARBINARY(9) PRIMARY KEY", "X'00FF27'", "''"),
        (
            "id ENUM('ä','b') CHARACTER SET latin1 PRIMARY KEY",
            "'ä'",
            "'b'",
        ),
        (
            "id VARCHAR(9) CHARACTER SET latin1, at DATETIME, n INT, PRIMARY KEY (id, at, n)",
            "'a:ü', '2024-02-29 10:00:00', -7",
            "'a:ü', '2024-02-29 10:00:00', 7",
        ),
    ];
    for (columns, one, two) in kinds {
        path.gman
            .execute(&format!("CREATE TABLE t ({columns}) ENGINE=InnoDB"));
        gman_succeeds(&path.gman.database, &["triggers", "--create", "test.t"]);
        for row in [one, two] {
            path.gman.execute(&format!("INSERT INTO t VALUES ({row})"));
        }
        let ran = path.verify(&[]);
        assert_eq!(ran.status, Some(0), "{columns}: {ran:?}");
        path.gman.execute("DROP TRIGGER t_delete_to_redis");
        path.gman.execute("DELETE FROM t ORDER BY id LIMIT 1");
        let (report, status) = path.report(&["--repair", "--yes"]);
        assert_eq!(
            (counts(&report), status),
            ([0, 0, 1], Some(0)),
            "{columns}: {report}"
        );
        path.gman.execute("DELETE FROM t");
        let (report, _) = path.report(&["--repair", "--yes"]);
        assert_eq!(counts(&report), [0, 0, 1], "{columns}: {report}");
        path.gman.execute("DROP TABLE t");
    }
}

#[test]
fn a_sample_compares_some_rows() {
    let mut path = Path::start();
    path.create_table(2_000, &[]);
    let (report, status) = path.report(&["--sample", "10"]);
    let rows = report["rows"].as_u64().expect("a number");
    assert!(status == Some(0) && (50..800).contains(&rows), "{report}");
}

#[test]
fn without_a_worker_nothing_is_said_of_what_is_under_way() {
    let mut path = Path::start();
    path.create_table(10, &[]);
    path.is_right();
    path.worker = None;
    path.gman.execute("UPDATE t SET n = 9 WHERE id = 1");
    let ran = path.verify(&["--patience", "1"]);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(
        ran.said.contains("jobs do not arrive in Redis within 1 s"),
        "{ran:?}"
    );
    assert_eq!(ran.said.lines().count(), 1, "{ran:?}");
    assert_eq!(path.gearmand.status()["syncRowToRedis"].workers, 0);
}

#[test]
fn the_tables_of_hand_written_triggers_are_compared_as_the_worker_writes_them() {
    let path = Path::with_worker(&["--mode=hash", "--prefix=p:"]);
    path.gman
        .database
        .run_script(&product_file("sql/test-native-json.sql"));
    let redis = format!("--redis={}", path.redis.address());
    let options = ["--mode=hash", "--prefix=p:", &redis];
    gman_succeeds(&path.gman.database, &["load", "test.test"]);
    let verify = [&["verify", "test.test"], &options[..]].concat();
    let ran = run_gman(&path.gman.database, &verify);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let () = path
        .redis
        .connect()
        .hset("p:1", "name", "other")
        .expect("HSET");
    let ran = run_gman(&path.gman.database, &verify);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.printed.contains("stale     p:1: name is "), "{ran:?}");
}
