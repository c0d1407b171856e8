//! `gman status`: what is wrong is said, with what to do.

mod outbox;

use serde_json::Value;

use crate::support::{
    Certificates, FUNCTION, Gearmand, Gman, Language, Port, ROW_FUNCTION, Ran, Redis, RedisWorker,
    Stunnel, Submitter, gman_succeeds, run_gman, wait_until,
};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

fn status(gman: &Gman, gearmand: &Gearmand, redis: &Redis, options: &[&str]) -> Ran {
    let gearmand = format!("--gearmand={}", gearmand.address());
    let redis = format!("--redis={}", redis.address());
    run_gman(
        &gman.database,
        &[&["status", &gearmand, &redis], options].concat(),
    )
}

/// What is printed with `--json`, and the exit status.
fn json(gman: &Gman, gearmand: &Gearmand, redis: &Redis, options: &[&str]) -> (Value, Option<i32>) {
    let ran = status(gman, gearmand, redis, &[&["--json"], options].concat());
    let json =
        serde_json::from_str(&ran.printed).unwrap_or_else(|error| panic!("{ran:?}: {error}"));
    (json, ran.status)
}

fn texts(json: &Value) -> Vec<String> {
    let problems = json["problems"].as_array().expect("a list");
    let texts = problems
        .iter()
        .map(|problem| problem["text"].as_str().expect("a text").to_owned());
    texts.collect()
}

/// The texts of the problems, and the exit status.
fn problems(gman: &Gman, gearmand: &Gearmand, redis: &Redis) -> (Vec<String>, Option<i32>) {
    let (json, status) = json(gman, gearmand, redis, &[]);
    (texts(&json), status)
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
fn the_numbers_of_a_worker_are_read_and_what_it_says_is_wrong() {
    let (gearmand, mut redis) = (Gearmand::start(), Redis::start());
    let gman = Gman::start();
    let port = Port::free();
    let address = format!("127.0.0.1:{}", port.number());
    let mut worker = RedisWorker::start_with(
        Language::Rust,
        &gearmand,
        &redis,
        &[&format!("--metrics={address}")],
    );
    let option = format!("--worker=http://{address}");
    let options = [option.as_str()];
    Submitter::to(&gearmand).submit(
        ROW_FUNCTION,
        [
            r#"{"key":"k","row":{"a":1},"at":1000}"#.to_owned(),
            r#"{"key":"k","row":{"a":2}}"#.to_owned(),
            "no json".to_owned(),
        ],
    );
    wait_until(PATIENCE, "three jobs", || {
        match gearmand.status()[ROW_FUNCTION].queued {
            0 => Ok(()),
            jobs => Err(jobs),
        }
    });
    let (seen, _) = json(&gman, &gearmand, &redis, &options);
    let found = &seen["workers"][0];
    assert_eq!(found["address"], *address, "{found}");
    assert_eq!(found["jobs"]["written"], 2, "{found}");
    assert_eq!(found["jobs"]["failed"], 1, "{found}");
    assert_eq!(found["in_flight"], 0, "{found}");
    // Made in 1970: beyond every bound.
    assert_eq!(found["ages"]["p99_seconds"], Value::Null, "{found}");
    assert_eq!(found["ages"]["are_recent"], false, "{found}");
    let failed = format!("1 jobs have failed in the worker at {address} since it started");
    assert!(texts(&seen).contains(&failed), "{seen}");
    let screen = status(&gman, &gearmand, &redis, &options).printed;
    let line = format!("worker      {address}: jobs 2 written, 1 failed; 0 in flight\n");
    assert!(screen.contains(&line), "{screen}");
    assert!(
        screen.contains("99 % more than an hour, since it started\n"),
        "{screen}"
    );

    redis.stop();
    let job = r#"{"id":1,"name":"sm"}"#.to_owned();
    Submitter::to(&gearmand).submit(FUNCTION, [job]);
    wait_until(PATIENCE, "the worker's line", || match worker.log() {
        log if log.contains("keeping the jobs") => Ok(()),
        log => Err(log),
    });
    let (seen, status) = json(&gman, &gearmand, &redis, &options);
    assert_eq!(status, Some(1));
    for expected in [
        format!("the worker at {address} says: Redis {}", redis.address()),
        format!("Redis refuses what the worker at {address} writes, or is lost: lost ("),
    ] {
        let found = texts(&seen);
        let is_said = found.iter().any(|text| text.starts_with(&expected));
        assert!(is_said, "{expected}: {found:?}");
    }

    worker.kill();
    let (seen, status) = json(&gman, &gearmand, &redis, &options);
    assert_eq!(status, Some(1));
    let expected = format!("the worker at {address} cannot be asked: Connection refused");
    let found = texts(&seen);
    assert!(
        found.iter().any(|text| text.starts_with(&expected)),
        "{found:?}"
    );
    // Somebody else may listen there.
    let option = format!("--worker={}", gearmand.address());
    let (seen, _) = json(&gman, &gearmand, &redis, &[&option]);
    let expected = format!("the worker at {} cannot be asked", gearmand.address());
    let found = texts(&seen);
    assert!(
        found.iter().any(|text| text.starts_with(&expected)),
        "{found:?}"
    );
}

#[test]
fn queues_are_read_over_tls_and_a_job_server_that_wants_it_is_named() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let gman = Gman::start();
    let certificates = Certificates::new();
    let stunnel = Stunnel::start(&certificates, gearmand.port());
    let address = format!("--gearmand={}", stunnel.address());
    let redis = format!("--redis={}", redis.address());
    Submitter::to(&gearmand).submit(FUNCTION, ["one".to_owned()]);
    let look = |options: &[&str]| -> Value {
        let ran = run_gman(
            &gman.database,
            &[&["status", "--json", &address, &redis], options].concat(),
        );
        serde_json::from_str(&ran.printed).unwrap_or_else(|error| panic!("{ran:?}: {error}"))
    };
    let ca = format!("--gearmand-ca={}", certificates.path("ca.pem"));
    let seen = look(&[&ca]);
    let queues = seen["job_servers"][0]["queues"].as_array().expect("a list");
    let is_ours = |queue: &&Value| queue["function"] == FUNCTION && queue["jobs"] == 1;
    assert!(queues.iter().any(|queue| is_ours(&queue)), "{seen}");

    let seen = look(&[]);
    let problems = &seen["problems"];
    let remedy = "--gearmand names another address, --gearmand-ca turns TLS on";
    assert!(problems.to_string().contains(remedy), "{problems}");
}

#[test]
fn lanes_that_do_not_fit_those_of_the_workers_are_said() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let mut gman = Gman::start();
    gman.set_servers(&gearmand.address());
    gman.execute("CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB");
    gman_succeeds(
        &gman.database,
        &["triggers", "--create", "test.t", "--lanes=2"],
    );
    let start = |lane: &str| {
        let option = format!("--lane={lane}");
        RedisWorker::start_with(Language::Rust, &gearmand, &redis, &[&option])
    };
    let _first = start("1/3");
    let _third = start("3/3");
    let (found, status) = problems(&gman, &gearmand, &redis);
    assert_eq!(status, Some(1));
    let expected = [
        "the triggers spread syncRowToRedis over 2 lanes, and no worker serves lane 2",
        "a worker serves lane 3 of syncRowToRedis, and the triggers fill only 2",
    ];
    assert_eq!(found, expected);
    let _second = start("2/2");
    let (found, status) = problems(&gman, &gearmand, &redis);
    assert_eq!(status, Some(0));
    assert_eq!(found, expected[1..]);
}
