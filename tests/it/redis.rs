//! The whole path: an UPDATE in the database becomes a value in Redis, by both workers.

use std::time::Duration;

use mysql::prelude::Queryable;

use crate::support::{
    Database, FUNCTION, Gearmand, Language, Redis, RedisWorker, product_file, wait_until,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// The servers of the path, with the table `test` and its trigger, and without a worker.
struct Servers {
    database: Database,
    gearmand: Gearmand,
    redis: Redis,
}

impl Servers {
    /// As the tutorial leaves them: row 1 is in Redis as a page has put it there.
    fn start() -> Self {
        let servers = Self {
            database: Database::start(),
            gearmand: Gearmand::start(),
            redis: Redis::start(),
        };
        servers.database.install_functions();
        let address = servers.gearmand.address();
        let set: String = servers
            .database
            .value(&format!("SELECT gman_servers_set('{address}')"));
        assert_eq!(set, address);
        servers
            .database
            .run_script(&product_file("sql/test-native-json.sql"));
        servers.redis.set("1", "test1");
        servers
    }

    fn worker(&self, language: Language) -> RedisWorker {
        RedisWorker::start(language, &self.gearmand, &self.redis)
    }

    /// Changes row 1, and makes sure that gearmand has the trigger's job.
    fn rename_row_1(&self, name: Option<&str>) {
        let mut session = self.database.connect();
        session
            .exec_drop("UPDATE test SET name = ? WHERE id = 1", (name,))
            .expect("the UPDATE");
        let handle: Option<Option<String>> =
            session.query_first("SELECT @RECV").expect("the handle");
        assert!(
            handle.flatten().is_some(),
            "no job: {}",
            self.database.error_log()
        );
    }

    fn wait_for_key_1(&self, value: Option<&str>) {
        wait_until(PATIENCE, &format!("key 1 to be {value:?}"), || {
            let found = self.redis.get("1");
            if found.as_deref() == value {
                Ok(())
            } else {
                Err(found)
            }
        });
    }

    fn wait_for_an_empty_queue(&self) {
        wait_until(PATIENCE, "all jobs to be finished", || {
            match self.gearmand.status()[FUNCTION].queued {
                0 => Ok(()),
                queued => Err(queued),
            }
        });
    }
}

fn wait_for_line(worker: &RedisWorker, part: &str) {
    wait_until(PATIENCE, &format!("the worker to print {part}"), || {
        let log = worker.log();
        if log.contains(part) { Ok(()) } else { Err(log) }
    });
}

#[test]
fn an_update_reaches_redis_by_the_rust_worker() {
    an_update_reaches_redis(Language::Rust);
}

#[test]
fn an_update_reaches_redis_by_the_php_worker() {
    an_update_reaches_redis(Language::Php);
}

fn an_update_reaches_redis(language: Language) {
    let servers = Servers::start();
    let _worker = servers.worker(language);
    assert_eq!(servers.redis.get("1").as_deref(), Some("test1"));

    servers.rename_row_1(Some("sm"));
    servers.wait_for_key_1(Some("sm"));

    servers.rename_row_1(None);
    servers.wait_for_key_1(None);
}

#[test]
fn the_rust_worker_keeps_a_job_while_redis_is_away() {
    a_worker_keeps_a_job_while_redis_is_away(Language::Rust);
}

#[test]
fn the_php_worker_keeps_a_job_while_redis_is_away() {
    a_worker_keeps_a_job_while_redis_is_away(Language::Php);
}

fn a_worker_keeps_a_job_while_redis_is_away(language: Language) {
    let mut servers = Servers::start();
    let worker = servers.worker(language);
    servers.redis.stop();

    servers.rename_row_1(Some("kept"));
    wait_for_line(&worker, "keeping the job");
    let status = servers.gearmand.status()[FUNCTION];
    assert_eq!((status.queued, status.running), (1, 1), "{}", worker.log());

    servers.redis.restart();
    servers.wait_for_key_1(Some("kept"));
    servers.wait_for_an_empty_queue();
}

#[test]
fn the_rust_worker_gives_back_a_job_that_it_cannot_finish() {
    a_worker_gives_back_a_job_that_it_cannot_finish(Language::Rust);
}

#[test]
fn the_php_worker_gives_back_a_job_that_it_cannot_finish() {
    a_worker_gives_back_a_job_that_it_cannot_finish(Language::Php);
}

fn a_worker_gives_back_a_job_that_it_cannot_finish(language: Language) {
    let mut servers = Servers::start();
    let mut worker = servers.worker(language);
    servers.redis.stop();
    servers.rename_row_1(Some("given"));
    wait_for_line(&worker, "keeping the job");

    assert!(worker.stop().success(), "{}", worker.log());

    wait_until(PATIENCE, "the job to be back in the queue", || {
        let status = servers.gearmand.status()[FUNCTION];
        if (status.queued, status.running) == (1, 0) {
            Ok(())
        } else {
            Err(status)
        }
    });
    servers.redis.restart();
    let _next = servers.worker(language);
    servers.wait_for_key_1(Some("given"));
}

#[test]
fn the_rust_worker_returns_to_a_restarted_gearmand() {
    a_worker_returns_to_a_restarted_gearmand(Language::Rust);
}

#[test]
fn the_php_worker_returns_to_a_restarted_gearmand() {
    a_worker_returns_to_a_restarted_gearmand(Language::Php);
}

fn a_worker_returns_to_a_restarted_gearmand(language: Language) {
    let mut servers = Servers::start();
    let worker = servers.worker(language);
    servers.gearmand.kill();
    wait_for_line(&worker, "trying again");
    servers.gearmand.restart();

    wait_until(PATIENCE, "the worker to register again", || {
        let status = servers.gearmand.status();
        match status.get(FUNCTION) {
            Some(function) if function.workers == 1 => Ok(()),
            _ => Err((status, worker.log())),
        }
    });
    servers.rename_row_1(Some("again"));
    servers.wait_for_key_1(Some("again"));
}

#[test]
fn the_rust_worker_reports_a_malformed_job_and_goes_on() {
    a_worker_reports_a_malformed_job_and_goes_on(Language::Rust);
}

#[test]
fn the_php_worker_reports_a_malformed_job_and_goes_on() {
    a_worker_reports_a_malformed_job_and_goes_on(Language::Php);
}

fn a_worker_reports_a_malformed_job_and_goes_on(language: Language) {
    let servers = Servers::start();
    let worker = servers.worker(language);
    for malformed in [
        "no json",
        "true",
        r#"{"id":1}"#,
        r#"{"id":null,"name":"sm"}"#,
        r#"{"id":1,"name":[]}"#,
    ] {
        let sql = format!("SELECT gman_do_background('{FUNCTION}', '{malformed}')");
        let _handle: String = servers.database.value(&sql);
        wait_for_line(&worker, &format!("the workload was: {malformed}"));
    }
    assert_eq!(servers.redis.get("1").as_deref(), Some("test1"));

    servers.rename_row_1(Some("sm"));
    servers.wait_for_key_1(Some("sm"));
    servers.wait_for_an_empty_queue();
}

#[test]
fn the_rust_worker_holds_several_jobs_and_keeps_their_order() {
    const JOBS: u32 = 1000;
    let servers = Servers::start();
    let mut session = servers.database.connect();
    for n in 0..JOBS {
        let row = n % 3;
        let sql = format!(
            "DO gman_do_background('{FUNCTION}', '{{\"id\":\"row{row}\",\"name\":\"{n}\"}}')"
        );
        session.query_drop(sql).expect("a job");
    }
    let _worker = RedisWorker::start_with(
        Language::Rust,
        &servers.gearmand,
        &servers.redis,
        &["--in-flight=50"],
    );
    servers.wait_for_an_empty_queue();
    for row in 0..3 {
        let last = (0..JOBS).rfind(|n| n % 3 == row);
        let found = servers.redis.get(&format!("row{row}"));
        assert_eq!(found, last.map(|n| n.to_string()));
    }
}

#[test]
fn the_rust_worker_leaves_out_a_change_that_is_older_than_what_redis_has() {
    let servers = Servers::start();
    let _worker = RedisWorker::start_with(
        Language::Rust,
        &servers.gearmand,
        &servers.redis,
        &["--version-field=v"],
    );
    for (name, version) in [("'new'", 7), ("'old'", 6), ("'same'", 7), ("NULL", 5)] {
        let sql = format!(
            "SELECT gman_do_background('{FUNCTION}', json_object_udf('v' AS id, {name} AS name, {version} AS v))"
        );
        let _handle: String = servers.database.value(&sql);
    }
    servers.wait_for_an_empty_queue();
    assert_eq!(servers.redis.get("v").as_deref(), Some("same"));
    for (name, version) in [("NULL", 8), ("'late'", 7)] {
        let sql = format!(
            "SELECT gman_do_background('{FUNCTION}', json_object_udf('v' AS id, {name} AS name, {version} AS v))"
        );
        let _handle: String = servers.database.value(&sql);
    }
    servers.wait_for_an_empty_queue();
    assert_eq!(servers.redis.get("v"), None);
}
