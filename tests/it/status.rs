//! `gman status`: what is wrong is said, with what to do.

use serde_json::Value;

use crate::support::{
    Gearmand, Gman, Language, Ran, Redis, RedisWorker, gman_succeeds, product_file, run_gman,
};

fn status(gman: &Gman, gearmand: &Gearmand, redis: &Redis, options: &[&str]) -> Ran {
    let gearmand = format!("--gearmand={}", gearmand.address());
    let redis = format!("--redis={}", redis.address());
    run_gman(
        &gman.database,
        &[&["status", &gearmand, &redis], options].concat(),
    )
}

/// The texts of the problems, and the exit status.
fn problems(gman: &Gman, gearmand: &Gearmand, redis: &Redis) -> (Vec<String>, Option<i32>) {
    let ran = status(gman, gearmand, redis, &["--json"]);
    let json: Value =
        serde_json::from_str(&ran.printed).unwrap_or_else(|error| panic!("{ran:?}: {error}"));
    let problems = json["problems"].as_array().expect("a list");
    let texts = problems
        .iter()
        .map(|problem| problem["text"].as_str().expect("a text").to_owned());
    (texts.collect(), ran.status)
}

#[test]
fn the_whole_way_is_on_one_screen_and_what_is_broken_is_said() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let mut gman = Gman::start();
    gman.set_servers(&gearmand.address());
    gman.execute("CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB");
    gman_succeeds(&gman.database, &["triggers", "--create", "test.t"]);

    let mut worker = RedisWorker::start(Language::Rust, &gearmand, &redis);
    let ran = status(&gman, &gearmand, &redis, &[]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    for text in [
        "all is well\n",
        "database    ",
        "triggers    on 1 tables: `test`.`t`\n",
        "syncRowToRedis: 0 jobs, 0 of them running, 1 workers\n",
        " keys evicted\n",
    ] {
        assert!(ran.printed.contains(text), "{text}: {}", ran.printed);
    }

    worker.stop();
    gman.execute("INSERT INTO t VALUES (1)");
    gman.execute("ALTER TABLE t ADD COLUMN note INT");
    let (found, status) = problems(&gman, &gearmand, &redis);
    assert_eq!(status, Some(1));
    let expected = [
        "the triggers of `test`.`t` do not send `note`, which came later".to_owned(),
        format!(
            "1 jobs for syncRowToRedis wait in gearmand {}, and no worker does them",
            gearmand.address()
        ),
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_cannot_be_reached_is_said() {
    let (mut gearmand, mut redis) = (Gearmand::start(), Redis::start());
    let mut gman = Gman::start();
    gman.set_servers(&gearmand.address());
    gearmand.kill();
    redis.stop();
    let (found, status) = problems(&gman, &gearmand, &redis);
    assert_eq!(status, Some(1));
    assert!(
        found[0].starts_with(&format!("{}: down", gearmand.address())),
        "{found:?}"
    );
    assert!(
        found[1].starts_with(&format!("Redis {}", redis.address())),
        "{found:?}"
    );
    assert!(found[2].starts_with("the queues of gearmand"), "{found:?}");
}

#[test]
fn an_outbox_that_nobody_relays_is_said() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let mut gman = Gman::start();
    gman.execute("DROP FUNCTION gman_do_background");
    gman.database.run_script(&product_file("sql/outbox.sql"));
    gman.execute("SET GLOBAL event_scheduler = OFF");
    gman.execute(
        "INSERT INTO gman_outbox (`function`, workload, created) VALUES ('f', 'w', NOW() - INTERVAL 1 HOUR)",
    );
    let (found, status) = problems(&gman, &gearmand, &redis);
    assert_eq!(status, Some(1));
    // If the event has run before that, it says why nobody takes the job.
    let is_said = |text: &String| {
        text == "1 jobs wait in the outbox of test, and event_scheduler is off"
            || text.starts_with("the outbox of test fails since ")
    };
    assert!(found.iter().any(is_said), "{found:?}");
}
