//! Sixteen writers while a table is loaded: afterwards Redis has the rows' newest values.

use std::collections::BTreeMap;
use std::time::Duration;

use mysql::prelude::Queryable;
use redis::Commands;

use crate::support::{
    Database, Gearmand, Gman, Language, ROWS, Redis, RedisWorker, gman_succeeds, product_file,
    scale, unsupported, wait_until, while_written,
};

fn wanted(gman: &mut Gman) -> BTreeMap<String, String> {
    let rows: Vec<(u32, u32)> = gman.query("SELECT id, n FROM t");
    rows.into_iter()
        .map(|(id, n)| (format!("test.t:{id}"), format!("{id} {n}")))
        .collect()
}

fn found(redis: &Redis) -> BTreeMap<String, String> {
    let mut connection = redis.connect();
    let keys: Vec<String> = connection.keys("test.t:*").expect("keys");
    keys.into_iter()
        .map(|key| {
            let hash = redis.hash(&key);
            let member = |name: &str| hash.get(name).map_or("", String::as_str).to_owned();
            (key, format!("{} {}", member("id"), member("n")))
        })
        .collect()
}

/// The table is loaded again and again under writers, into a Redis that is emptied before each time.
fn is_right_afterwards(gman: &mut Gman, gearmand: &Gearmand, options: &[&str], rolls_back: bool) {
    let redis = Redis::start();
    let _worker = RedisWorker::start_with(Language::Rust, gearmand, &redis, &["--threads=2"]);
    gman.execute("CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB");
    let rows: Vec<String> = (0..ROWS / 2).map(|id| format!("({}, 0)", id * 2)).collect();
    gman.execute(&format!("INSERT INTO t VALUES {}", rows.join(",")));
    let arguments = [&["triggers", "--create", "test.t"], options].concat();
    gman_succeeds(&gman.database, &arguments);

    let changes = while_written(&gman.database, rolls_back, || {
        for _ in 0..scale("GMAN_LOADS", 3) {
            let () = redis.connect().flushall().expect("FLUSHALL");
            gman_succeeds(&gman.database, &["load", "test.t", "--rate", "4000"]);
        }
    });
    let wanted = wanted(gman);
    assert!(changes > 1_000, "{changes} changes");
    wait_until(Duration::from_secs(60), "Redis to have the table", || {
        let found = found(&redis);
        let differing: Vec<_> = wanted
            .iter()
            .filter(|(key, row)| found.get(*key) != Some(row))
            .chain(found.iter().filter(|(key, _)| !wanted.contains_key(*key)))
            .take(5)
            .map(|(key, row)| (key.clone(), row.clone(), found.get(key).cloned()))
            .collect();
        match differing.is_empty() {
            true => Ok(()),
            false => Err(differing),
        }
    });
}

/// A database with the plugins.
fn with_delivery(delivery: &str) -> Option<Gman> {
    let database = Database::builder().library().start();
    database.install_functions();
    let mut session = database.connect();
    let plugins: &[&str] = match delivery {
        "committed" => &["gman", "gman_commit"],
        _ => &["gman"],
    };
    for plugin in plugins {
        let sql = format!("INSTALL PLUGIN {plugin} SONAME 'libgearman_mysql_udf.so'");
        session.query_drop(sql).ok()?;
    }
    session
        .query_drop(format!("SET GLOBAL gman_delivery = '{delivery}'"))
        .ok()?;
    Some(Gman { session, database })
}

#[test]
fn redis_has_the_newest_rows_after_a_load_with_acked_delivery() {
    let gearmand = Gearmand::start();
    let mut gman = Gman::start();
    gman.set_servers(&gearmand.address());
    is_right_afterwards(&mut gman, &gearmand, &[], false);
}

#[test]
fn redis_has_the_newest_rows_after_a_load_with_pipelined_delivery() {
    let gearmand = Gearmand::start();
    let Some(mut gman) = with_delivery("pipelined") else {
        unsupported!("no plugin");
    };
    gman.set_servers(&gearmand.address());
    is_right_afterwards(&mut gman, &gearmand, &[], false);
}

#[test]
fn redis_has_the_newest_rows_after_a_load_with_committed_delivery() {
    let gearmand = Gearmand::start();
    let Some(mut gman) = with_delivery("committed") else {
        unsupported!("no committed delivery");
    };
    gman.set_servers(&gearmand.address());
    is_right_afterwards(&mut gman, &gearmand, &[], true);
}

#[test]
fn redis_has_the_newest_rows_after_a_load_through_the_outbox() {
    let gearmand = Gearmand::start();
    let mut gman = Gman::start();
    gman.set_servers(&gearmand.address());
    gman.execute("DROP FUNCTION gman_do_background");
    gman.database.run_script(&product_file("sql/outbox.sql"));
    gman.execute("SET GLOBAL event_scheduler = ON");
    is_right_afterwards(&mut gman, &gearmand, &["--outbox"], true);
}
