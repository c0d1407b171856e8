//! Jobs that carry several rows.

use super::{PATIENCE, run_job, start, statistic, wait_for_an_empty_queue, wait_for_lines};
use crate::support::{
    FUNCTION, Gearmand, ROW_FUNCTION, Redis, RedisCluster, Submitter, wait_until,
};

const KEYS: u32 = 100;

fn row(n: u32) -> String {
    format!(r#"{{"key":"r{}","row":{{"n":{n}}}}}"#, n % KEYS)
}

/// Jobs with one row and with up to 150 in turn: lists in which a key comes twice are among them.
fn jobs(rows: u32) -> Vec<String> {
    let (mut jobs, mut next) = (Vec::new(), 0);
    for length in (0..).map(|n| [1, 150, 2, 1, 40][n % 5]) {
        let list: Vec<String> = (next..rows.min(next + length)).map(row).collect();
        next += length;
        match &list[..] {
            [] => return jobs,
            [only] => jobs.push(only.clone()),
            several => jobs.push(format!(" [{}]", several.join(" , "))),
        }
    }
    jobs
}

fn newest(redis: &Redis, rows: u32) {
    for key in 0..KEYS {
        let last = (rows - KEYS + key).to_string();
        assert_eq!(redis.hash(&format!("r{key}")).remove("n"), Some(last));
    }
}

#[test]
fn rows_of_lists_and_rows_alone_stay_in_their_order() {
    const ROWS: u32 = 20_000;
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let mut worker = start(&gearmand, &redis, &["--threads=4"]);
    Submitter::to(&gearmand).submit(ROW_FUNCTION, jobs(ROWS));
    wait_for_an_empty_queue(&gearmand, ROW_FUNCTION);
    newest(&redis, ROWS);
    worker.stop();
    assert_eq!(statistic(&worker, "done"), f64::from(ROWS));
    assert_eq!(statistic(&worker, "in_flight"), 0.0);
}

#[test]
fn a_list_is_done_whatever_dies_meanwhile() {
    const ROWS: u32 = 20_000;
    let (gearmand, mut redis) = (Gearmand::start(), Redis::start());
    let mut worker = start(&gearmand, &redis, &["--threads=2"]);
    redis.freeze();
    Submitter::to(&gearmand).submit(ROW_FUNCTION, jobs(ROWS));
    wait_for_lines(&worker, "keeping the jobs", 1);
    redis.thaw();
    redis.restart();
    wait_for_an_empty_queue(&gearmand, ROW_FUNCTION);
    newest(&redis, ROWS);

    redis.freeze();
    Submitter::to(&gearmand).submit(ROW_FUNCTION, [format!("[{},{}]", row(1), row(2))]);
    wait_for_lines(&worker, "keeping the jobs", 2);
    worker.kill();
    redis.thaw();
    let _next = start(&gearmand, &redis, &[]);
    wait_for_an_empty_queue(&gearmand, ROW_FUNCTION);
    assert_eq!(redis.hash("r2").remove("n").as_deref(), Some("2"));
}

#[test]
fn a_row_that_nobody_can_write_fails_alone() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let mut worker = start(&gearmand, &redis, &["--mode=hash"]);
    let () = redis.command(&["SET", "2", "another type"]).expect("SET");
    let list =
        r#"[{"id":1,"name":"a"},{"id":2,"name":"b"},{"name":"c"},[{"id":3}],{"id":4,"name":"d"}]"#;
    run_job(&gearmand, FUNCTION, list);
    for (key, name) in [("1", "a"), ("4", "d")] {
        assert_eq!(redis.hash(key).remove("name").as_deref(), Some(name));
    }
    assert_eq!(redis.get("2").as_deref(), Some("another type"));
    for problem in [
        r#"with a string or number "id"; the workload was: {"name":"c"}"#,
        r#"expected an object: invalid type: sequence"#,
        "the key 2 holds another type",
    ] {
        wait_for_lines(&worker, problem, 1);
    }
    for malformed in ["[]", "[1", r#"[{"id":5,"name":"e"}] x"#] {
        run_job(&gearmand, FUNCTION, malformed);
    }
    assert!(redis.hash("5").is_empty());
    worker.stop();
    assert_eq!(statistic(&worker, "done"), 2.0);
    assert_eq!(statistic(&worker, "failed"), 6.0);
}

#[test]
fn a_list_has_versions_and_lookup_keys_and_is_spread_over_a_cluster() {
    let (gearmand, cluster) = (Gearmand::start(), RedisCluster::start());
    let options = ["--version-field=v"];
    let mut worker = super::start_for(&gearmand, &cluster.url(), &options);
    let row = |n: u32, version: u32| {
        format!(
            r#"{{"key":"u:{n}","row":{{"v":{version}}},"lookups":["u:mail:{n}-{version}"],"old_lookups":[]}}"#
        )
    };
    let list = |version| {
        let rows: Vec<String> = (0..50).map(|n| row(n, version + n % 2)).collect();
        format!("[{}]", rows.join(","))
    };
    run_job(&gearmand, ROW_FUNCTION, &list(2));
    // Only every second of these is newer.
    run_job(
        &gearmand,
        ROW_FUNCTION,
        &format!("[{},{}]", row(0, 3), row(1, 2)),
    );
    let get = |key: &str| -> Option<String> {
        redis::Commands::get(&mut cluster.connect(), key).expect("GET")
    };
    for (key, value) in [
        ("u:mail:0-2", Some("u:0")),
        ("u:mail:49-3", Some("u:49")),
        ("u:mail:0-3", Some("u:0")),
        ("u:mail:1-2", None),
    ] {
        assert_eq!(get(key).as_deref(), value, "{key}");
    }
    worker.stop();
    assert_eq!(statistic(&worker, "done"), 52.0);
    assert_eq!(statistic(&worker, "left_out"), 1.0);
}

/// Rows take more room than their text.
#[test]
fn lists_are_held_in_a_bounded_memory() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let worker = start(&gearmand, &redis, &["--in-flight-bytes=8000000"]);
    redis.freeze();
    let list = |at: u32| {
        let rows: Vec<String> = (0..1000).map(|n| row(at * 1000 + n)).collect();
        format!("[{}]", rows.join(","))
    };
    Submitter::to(&gearmand).submit(ROW_FUNCTION, (0..200).map(list));
    wait_for_lines(&worker, "keeping the jobs", 2);
    let running = gearmand.status()[ROW_FUNCTION].running;
    assert!((4..=9).contains(&running), "{running}");
    redis.thaw();
    wait_until(PATIENCE, "all rows", || {
        match gearmand.status()[ROW_FUNCTION].queued {
            0 => Ok(()),
            queued => Err(queued),
        }
    });
    newest(&redis, 200_000);
    assert!(
        worker.rss_bytes() < 60 << 20,
        "{} bytes",
        worker.rss_bytes()
    );
}

#[test]
fn a_redis_that_forgets_its_scripts_is_told_them_again() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let worker = start(&gearmand, &redis, &["--version-field=n"]);
    for round in 0..20 {
        let () = redis.command(&["SCRIPT", "FLUSH"]).expect("SCRIPT FLUSH");
        let rows: Vec<String> = (0..KEYS).map(|n| row(round * KEYS + n)).collect();
        run_job(&gearmand, ROW_FUNCTION, &format!("[{}]", rows.join(",")));
        newest(&redis, (round + 1) * KEYS);
    }
    assert!(!worker.log().contains("NOSCRIPT"), "{}", worker.log());
}
