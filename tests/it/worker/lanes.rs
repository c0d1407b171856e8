//! Several workers that share the changes of a table, each with the keys of a lane.

use std::process::Command;

use super::{PATIENCE, start, wait_for_an_empty_queue};
use crate::support::{Gearmand, Gman, Redis, RedisWorker, gman_program, run, wait_until};

const LANES: u32 = 4;
const ROWS: u32 = 100;

fn function(lane: u32) -> String {
    format!("syncRowToRedis.{lane}")
}

/// A table `t` whose changes go into lanes.
fn table(gearmand: &Gearmand, options: &[&str]) -> Gman {
    let mut gman = Gman::start();
    gman.set_servers(&gearmand.address());
    gman.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, n BIGINT NOT NULL, mail VARCHAR(20)) ENGINE=InnoDB",
    );
    let server = format!(
        "mysql://root@localhost?socket={}",
        gman.database.socket().display()
    );
    let lanes = format!("--lanes={LANES}");
    run(Command::new(gman_program())
        .args(["triggers", "test.t", "--create", &lanes, "--mysql", &server])
        .args(options)
        .env_remove("HOME"));
    gman
}

fn workers(gearmand: &Gearmand, redis: &Redis, more: &[&str]) -> Vec<RedisWorker> {
    let lane = |lane| {
        let option = format!("--lane={lane}/{LANES}");
        start(gearmand, redis, &[&[option.as_str()], more].concat())
    };
    (1..=LANES).map(lane).collect()
}

/// Inserts every row, and changes it over and over, so that its last `n` is the largest.
fn change(gman: &mut Gman, rounds: u32) {
    gman.execute("SET @n = 0");
    for id in 1..=ROWS {
        gman.execute(&format!(
            "INSERT INTO t VALUES ({id}, @n := @n + 1, 'mail{id}')"
        ));
    }
    for _ in 0..rounds {
        gman.execute("UPDATE t SET n = @n := @n + 1 ORDER BY id");
    }
}

fn assert_all_current(gman: &mut Gman, redis: &Redis) {
    for (id, n) in gman.query::<(u32, u64)>("SELECT id, n FROM t") {
        wait_until(PATIENCE, &format!("the last n of row {id}"), || match redis
            .hash(&format!("test.t:{id}"))
            .remove("n")
        {
            Some(found) if found == n.to_string() => Ok(()),
            found => Err((found, n)),
        });
    }
}

#[test]
fn workers_of_one_lane_each_keep_the_order_of_every_key() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let mut gman = table(&gearmand, &["--lookup=mail"]);
    let _workers = workers(&gearmand, &redis, &[]);
    change(&mut gman, 20);
    for lane in 1..=LANES {
        // Every lane has its part of the keys.
        let status = gearmand.status();
        assert!(status.contains_key(&function(lane)), "{status:?}");
        wait_for_an_empty_queue(&gearmand, &function(lane));
    }
    assert_all_current(&mut gman, &redis);
    assert_eq!(redis.get("test.t:mail:mail7").as_deref(), Some("test.t:7"));
    gman.execute("UPDATE t SET mail = NULL WHERE id = 7");
    gman.execute("UPDATE t SET mail = 'other' WHERE id = 8");
    gman.execute("DELETE FROM t WHERE id = 9");
    for (key, row) in [
        ("mail7", None),
        ("mail8", None),
        ("other", Some("test.t:8")),
        ("mail9", None),
    ] {
        wait_until(PATIENCE, &format!("the lookup key {key}"), || {
            match redis.get(&format!("test.t:mail:{key}")) {
                found if found.as_deref() == row => Ok(()),
                found => Err(found),
            }
        });
    }
    assert!(!gearmand.status().contains_key("syncRowToRedis"));
}

/// The jobs of a killed worker come again behind all others, and last of all the oldest.
fn kill_each_worker_with_its_hands_full(options: &[&str]) {
    const HELD: u64 = 10;
    let held = format!("--in-flight={HELD}");
    let options = [&[held.as_str()], options].concat();
    let options = options.as_slice();
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let mut gman = table(&gearmand, &[]);
    let mut workers = workers(&gearmand, &redis, options);
    change(&mut gman, 5);
    for lane in 1..=LANES {
        // So that the worker holds the first of these, and newer ones wait behind them.
        redis.freeze();
        change_all(&mut gman);
        wait_until(PATIENCE, "the worker to hold jobs", || {
            match gearmand.status()[&function(lane)] {
                status if status.running >= HELD => Ok(()),
                status => Err(status),
            }
        });
        workers[lane as usize - 1].kill();
        redis.thaw();
        wait_until(
            PATIENCE,
            "the job server to miss the worker",
            || match gearmand.status()[&function(lane)].workers {
                0 => Ok(()),
                workers => Err(workers),
            },
        );
        let option = format!("--lane={lane}/{LANES}");
        workers[lane as usize - 1] =
            start(&gearmand, &redis, &[&[option.as_str()], options].concat());
    }
    for lane in 1..=LANES {
        wait_for_an_empty_queue(&gearmand, &function(lane));
    }
    assert_all_current(&mut gman, &redis);
}

#[test]
fn the_jobs_of_a_killed_worker_are_not_written_after_newer_ones() {
    kill_each_worker_with_its_hands_full(&[]);
}

#[test]
fn with_versions_the_jobs_of_a_killed_worker_are_not_written_after_newer_ones() {
    kill_each_worker_with_its_hands_full(&["--version-field=n"]);
}

fn change_all(gman: &mut Gman) {
    for _ in 0..5 {
        gman.execute("UPDATE t SET n = @n := @n + 1 ORDER BY id");
    }
}

#[test]
fn a_lane_can_have_a_job_server_of_its_own() {
    let (one, other, redis) = (Gearmand::start(), Gearmand::start(), Redis::start());
    let mut gman = table(&one, &[]);
    for lane in [2, 4] {
        let call = format!(
            "gman_servers_set('{}', '{}')",
            other.address(),
            function(lane)
        );
        assert_eq!(gman.call(&call).text(), other.address());
    }
    let _workers: Vec<RedisWorker> = (1..=LANES)
        .map(|lane| {
            let server = if lane % 2 == 0 { &other } else { &one };
            start(server, &redis, &[&format!("--lane={lane}/{LANES}")])
        })
        .collect();
    change(&mut gman, 5);
    for lane in 1..=LANES {
        let server = if lane % 2 == 0 { &other } else { &one };
        wait_for_an_empty_queue(server, &function(lane));
    }
    assert_all_current(&mut gman, &redis);
}
