//! How a load goes: its options, what it prints, and what it says where it cannot go on.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::{Path, rows, timeless};
use crate::support::{
    Job, RecordingWorker, gman_command, product_file, ran, run_gman, unsupported, wait_until,
};

fn with_rows(path: &mut Path, rows: u32) {
    path.gman
        .execute("CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB");
    let values: Vec<String> = (1..=rows).map(|id| format!("({id}, 0)")).collect();
    path.gman
        .execute(&format!("INSERT INTO t VALUES {}", values.join(",")));
}

/// Disables the relay, and waits until the one that may run has ended.
fn stop_relay(path: &mut Path) {
    path.gman.execute("ALTER EVENT gman_outbox_relay DISABLE");
    wait_until(Duration::from_secs(60), "the relay to end", || {
        let free: Vec<bool> = path.gman.query(
            "SELECT IS_FREE_LOCK(CONCAT('gman_outbox ', CRC32(DATABASE()), ' ', LEFT(DATABASE(), 40)))",
        );
        if free == [true] { Ok(()) } else { Err(free) }
    });
}

fn row(id: u32) -> String {
    format!(r#"{{"key":"test.t:{id}","row":{{"id":{id},"n":0}}}}"#)
}

#[test]
fn every_row_is_sent_once_in_the_order_of_the_key() {
    let mut path = Path::start();
    with_rows(&mut path, 1000);
    path.create_triggers("test.t", &[]);
    let printed = path.load("test.t", &["--chunk", "7"]);
    assert!(
        printed.starts_with("loaded `test`.`t`: 1000 rows in "),
        "{printed}"
    );
    let expected: Vec<String> = (1..=1000).map(row).collect();
    assert_eq!(path.jobs(1000), expected);
}

#[test]
fn rows_share_jobs_in_their_order() {
    let mut path = Path::start();
    with_rows(&mut path, 1000);
    path.create_triggers("test.t", &[]);
    path.load_in_lists("test.t", 500, &["--chunk", "30"]);
    let lists = path.lists(1000);
    assert!(lists.iter().all(|list| list.len() <= 30), "{lists:?}");
    let expected: Vec<String> = (1..=1000).map(row).collect();
    assert_eq!(lists.concat(), expected);
}

#[test]
fn a_row_that_is_large_has_a_job_of_its_own() {
    let mut path = Path::start();
    with_rows(&mut path, 9);
    path.gman.execute("ALTER TABLE t ADD COLUMN doc LONGTEXT");
    for (id, bytes) in [(4, 300_000), (6, 3_000_000)] {
        let set = format!("UPDATE t SET doc = REPEAT('x', {bytes}) WHERE id = {id}");
        path.gman.execute(&set);
    }
    path.create_triggers("test.t", &[]);
    path.load_in_lists("test.t", 500, &[]);
    let lists = path.lists(9);
    let lengths: Vec<usize> = lists.iter().map(Vec::len).collect();
    assert_eq!(lengths, [3, 1, 1, 1, 3]);
    assert!(lists[1][0].len() > 300_000 && lists[3][0].len() > 3_000_000);
}

#[test]
fn rows_of_a_lane_share_jobs_with_rows_of_that_lane() {
    let mut path = Path::start();
    with_rows(&mut path, 100);
    let lanes = ["syncRowToRedis.1", "syncRowToRedis.2"];
    path.worker = RecordingWorker::start(path.gearmand.port(), &lanes);
    path.create_triggers("test.t", &["--lanes", "2"]);
    path.gman.execute("UPDATE t SET n = 0");
    path.gman.execute("UPDATE t SET n = 1");
    let sent = path.worker.wait_for(100);
    let lane = |job: &str, jobs: &[Job]| {
        let key = |row: &str| row.split(',').next().map(str::to_owned);
        let has = |other: &&Job| {
            let workload = String::from_utf8_lossy(&other.workload);
            rows(&workload).iter().any(|row| key(row) == key(job))
        };
        jobs.iter().find(has).map(|job| job.function.clone())
    };
    path.load_in_lists("test.t", 500, &[]);
    let loaded = path.worker.wait_for(102).split_off(100);
    for job in &sent {
        let workload = String::from_utf8_lossy(&job.workload);
        assert_eq!(lane(&workload, &loaded), Some(job.function.clone()));
    }
}

#[test]
fn an_empty_table_is_loaded() {
    let mut path = Path::start();
    path.gman.execute("CREATE TABLE t (id INT PRIMARY KEY)");
    path.create_triggers("test.t", &[]);
    let printed = path.load("test.t", &[]);
    assert!(
        printed.starts_with("loaded `test`.`t`: 0 rows"),
        "{printed}"
    );
}

#[test]
fn the_outbox_has_the_rows_where_the_triggers_use_it() {
    let mut path = Path::start();
    path.gman.execute("DROP FUNCTION gman_do_background");
    path.gman
        .database
        .run_script(&product_file("sql/outbox.sql"));
    stop_relay(&mut path);
    with_rows(&mut path, 100);
    path.gman
        .execute("ALTER TABLE t ADD COLUMN doc LONGBLOB, ADD COLUMN text VARCHAR(99)");
    path.gman.execute(
        "UPDATE t SET text = 'it''s \\\\ \"x\"', doc = REPEAT('x', 3000000) WHERE id = 50",
    );
    let expected = |path: &mut Path| -> Vec<String> {
        let jobs: Vec<String> = path
            .gman
            .query("SELECT CONVERT(workload USING utf8mb4) FROM gman_outbox ORDER BY id");
        jobs.iter().flat_map(|job| rows(job)).collect()
    };
    let mut styles: Vec<&[&str]> = vec![&["--outbox"], &[]];
    if path.try_execute(&["SELECT JSON_OBJECT('a', 1)"]) {
        styles.push(&["--outbox", "--native-json"]);
    }
    for style in styles {
        path.create_triggers("test.t", style);
        path.gman.execute("DELETE FROM gman_outbox");
        path.gman.execute("UPDATE t SET n = n + 1");
        let by_triggers = expected(&mut path);
        assert_eq!(by_triggers.len(), 100);
        for rows_per_job in [1, 20] {
            path.gman.execute("DELETE FROM gman_outbox");
            let printed = path.load_in_lists("test.t", rows_per_job, &["--chunk", "30"]);
            let loaded = expected(&mut path);
            assert_eq!(loaded.len(), 100, "{style:?}, {rows_per_job}: {printed}");
            for (loaded, sent) in loaded.iter().zip(&by_triggers) {
                let beginning = |text: &str| text.chars().take(200).collect::<String>();
                assert!(
                    loaded == sent,
                    "{style:?}, {rows_per_job}: {} {}",
                    beginning(loaded),
                    beginning(sent)
                );
            }
        }
    }
}

#[test]
fn a_hand_written_trigger_is_read() {
    let mut path = Path::start();
    path.gman
        .database
        .run_script(&product_file("sql/test-native-json.sql"));
    let rows: Vec<(u32, Option<String>)> = path.gman.query("SELECT id, name FROM test ORDER BY id");
    path.load("test.test", &[]);
    let sent = path.jobs(rows.len());
    for ((id, name), job) in rows.iter().zip(&sent) {
        let job: Value = serde_json::from_str(job).expect("JSON");
        assert_eq!(job["id"], *id);
        assert_eq!(job["name"], Value::from(name.clone()));
    }
}

#[test]
fn a_condition_chooses_rows() {
    let mut path = Path::start();
    with_rows(&mut path, 100);
    path.create_triggers("test.t", &[]);
    path.load(
        "test.t",
        &["--where", "id % 50 = 0 OR n = 7", "--chunk", "10"],
    );
    assert_eq!(path.jobs(2), [row(50), row(100)]);
    let ran = run_gman(
        &path.gman.database,
        &["load", "test.t", "--where", "nothing"],
    );
    assert_eq!(ran.status, Some(1));
    assert!(ran.said.contains("Unknown column 'nothing'"), "{ran:?}");
}

#[test]
fn a_dry_run_shows_what_would_be_sent() {
    let mut path = Path::start();
    with_rows(&mut path, 100);
    path.create_triggers("test.t", &[]);
    let printed = path.load("test.t", &["--dry-run"]);
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 4, "{printed}");
    assert!(lines[0].starts_with("`test`.`t`: about "), "{printed}");
    assert_eq!(timeless(lines[1]), format!("syncRowToRedis\\t{}", row(1)));
    path.load("test.t", &["--where", "id = 7"]);
    assert_eq!(path.jobs(1), [row(7)]);
}

#[test]
fn a_load_goes_on_from_its_file() {
    let mut path = Path::start();
    with_rows(&mut path, 100);
    path.create_triggers("test.t", &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("state");
    let options = ["--resume", file.to_str().expect("UTF-8")];
    path.load("test.t", &options);
    path.jobs(100);
    path.load("test.t", &options);

    let text = fs::read_to_string(&file).expect("the file");
    let mut state: Value = serde_json::from_str(&text).expect("JSON");
    state["tables"]["`test`.`t`"]["after"] = Value::from(vec!["90"]);
    state["tables"]["`test`.`t`"]["is_done"] = Value::from(false);
    fs::write(&file, state.to_string()).expect("room");
    path.load("test.t", &options);
    let expected: Vec<String> = (91..=100).map(row).collect();
    assert_eq!(path.jobs(10), expected);
}

#[test]
fn a_job_server_that_is_away_is_waited_for() {
    let mut path = Path::start();
    with_rows(&mut path, 5000);
    path.create_triggers("test.t", &[]);
    path.gearmand.kill();
    let options = ["load", "test.t", "--chunk", "100", "--rows-per-job", "1"];
    let mut command = gman_command(&path.gman.database, &options);
    let load = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gman starts");
    wait_until(Duration::from_secs(60), "a failure", || {
        let log = path.gman.database.error_log();
        match log.contains("gman_relay") {
            true => Ok(()),
            false => Err(log),
        }
    });
    path.gearmand.restart();
    let _worker = RecordingWorker::start(path.gearmand.port(), &["syncRowToRedis"]);
    let ran = ran(load.wait_with_output().expect("gman ends"));
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.printed.contains("5000 rows"), "{ran:?}");
}

#[test]
fn what_cannot_be_loaded_is_refused_with_the_reason() {
    let mut path = Path::start();
    with_rows(&mut path, 1);
    let refused = |table: &str, reason: &str| {
        let ran = run_gman(&path.gman.database, &["load", table]);
        assert_eq!(ran.status, Some(1), "{ran:?}");
        assert_eq!(ran.said.lines().count(), 1, "{ran:?}");
        assert!(ran.said.contains(reason), "{ran:?}");
    };
    refused("test.t", "`test`.`t` has no triggers that send its rows");
    refused("test.missing", "no table `test`.`missing`");
    path.gman.execute(
        "CREATE TRIGGER sometimes AFTER INSERT ON t FOR EACH ROW BEGIN
           IF NEW.n > 0 THEN SET @a = gman_do_background('f', NEW.n); END IF;
         END",
    );
    let ran = run_gman(&path.gman.database, &["load", "test.t"]);
    assert!(
        ran.said.contains("it sends jobs under a condition"),
        "{ran:?}"
    );
    let order: u64 = path.gman.database.value(
        "SELECT ACTION_ORDER FROM information_schema.TRIGGERS WHERE TRIGGER_NAME = 'sometimes'",
    );
    if order == 0 {
        unsupported!("one trigger for each event");
    }
}
