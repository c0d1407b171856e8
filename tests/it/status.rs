//! `gman status`: what is wrong is said, with what to do.

use std::time::Duration;

use mysql::prelude::Queryable;
use serde_json::Value;

use crate::support::{
    Gearmand, Gman, Language, Ran, Redis, RedisWorker, RelayProcess, gman_succeeds, product_file,
    run_gman, wait_until,
};

/// How long a test waits for what takes seconds at most.
const PATIENCE: Duration = Duration::from_secs(60);

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
        text == "nobody relays the outbox of test, in which 1 jobs wait: event_scheduler is off"
            || text.starts_with("the outbox of test fails since ")
    };
    assert!(found.iter().any(is_said), "{found:?}");
}

#[test]
fn an_outbox_says_who_relays_it_and_whose_word_it_waits_for() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let mut gman = Gman::start();
    gman.set_servers(&gearmand.address());
    gman.database
        .run_script(&product_file("sql/outbox-plain.sql"));
    let nobody = |found: &[String]| {
        let text = "nobody relays the outbox of test, in which 0 jobs wait: no relay has the lease";
        found.iter().any(|found| found == text)
    };
    let (found, exit) = problems(&gman, &gearmand, &redis);
    assert!(nobody(&found) && exit == Some(0), "{found:?}");

    let socket = gman.database.socket();
    let relay = RelayProcess::start(&[
        format!("--mysql=mysql://root@localhost?socket={}", socket.display()),
        format!("--gearmand={}", gearmand.address()),
    ]);
    wait_until(PATIENCE, "the relay", || {
        let log = relay.log();
        if log.contains("relaying") {
            Ok(())
        } else {
            Err(log)
        }
    });
    gman.execute("UPDATE gman_outbox_state SET confirm = 'worker'");
    let ran = status(&gman, &gearmand, &redis, &[]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    for text in [
        "all is well\n",
        "outbox      test: 0 jobs, the oldest 0.0 s, 0 set aside; confirmed by the worker\n",
        "            relayed by gman relay ",
    ] {
        assert!(ran.printed.contains(text), "{text}: {}", ran.printed);
    }

    gman.execute("INSERT INTO gman_outbox_dead (id, `function`, workload, error) VALUES (1, 'f', 'w', 'why')");
    let (found, _) = problems(&gman, &gearmand, &redis);
    assert_eq!(found, ["1 jobs of the outbox of test were set aside"]);

    let mut other = gman.database.connect();
    other
        .query_drop("LOCK TABLES gman_outbox WRITE")
        .expect("a lock");
    let (found, exit) = problems(&gman, &gearmand, &redis);
    assert_eq!(exit, Some(1));
    assert!(
        found[0].starts_with("the outbox of test cannot be read: Lock wait timeout exceeded"),
        "{found:?}"
    );
    drop(other);
    gman.execute("ALTER TABLE gman_outbox DROP COLUMN created");
    let (found, exit) = problems(&gman, &gearmand, &redis);
    assert_eq!(exit, Some(1));
    assert!(
        found[0].starts_with(
            "the outbox of test cannot be read: View 'test.gman_outbox_status' references invalid"
        ),
        "{found:?}"
    );
}

/// The view says so too, if its own definer is another account.
#[test]
fn an_event_whose_definer_was_dropped_is_said() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let mut gman = Gman::start();
    gman.execute("DROP FUNCTION gman_do_background");
    gman.database.run_script(&product_file("sql/outbox.sql"));
    for sql in [
        "SET GLOBAL event_scheduler = ON",
        "CREATE USER relay@localhost",
        "GRANT ALL ON test.* TO relay@localhost",
        "ALTER DEFINER = relay@localhost EVENT gman_outbox_relay ENABLE",
        "INSERT INTO gman_outbox (`function`, workload) VALUES ('f', 'w')",
    ] {
        gman.execute(sql);
    }
    let problem = "SELECT COALESCE(problem, '') FROM gman_outbox_status";
    wait_until(PATIENCE, "the event to relay", || {
        let owner: String = gman.database.value("SELECT owner FROM gman_outbox_state");
        if owner.is_empty() { Err(owner) } else { Ok(()) }
    });
    gman.execute("DROP USER relay@localhost");
    wait_until(PATIENCE, "the view to say that nobody relays", || {
        let problem: String = gman.database.value(problem);
        match problem.starts_with("nobody relays since ") {
            true => Ok(()),
            false => Err(problem),
        }
    });
    let (found, exit) = problems(&gman, &gearmand, &redis);
    assert_eq!(exit, Some(1));
    let expected = "nobody relays the outbox of test, in which 1 jobs wait: its event runs as relay@localhost, which is no account";
    assert!(found.iter().any(|text| text == expected), "{found:?}");
}
