//! Servers and workers that are killed in the middle of thousands of jobs, every one of which is
//! counted.

use super::{
    ALL_IN_ORDER, PATIENCE, count, options, start, statistic, submit_marks, wait_for_a_mark,
    wait_for_an_empty_queue, wait_for_lines,
};
use crate::support::{FUNCTION, Gearmand, Redis, RedisWorker, Submitter, wait_until};

/// How many jobs there are between two faults.
const JOBS: u32 = 3_000;

/// How many jobs come while something is away, so that somebody notices.
const MORE: u32 = 100;

const KILLS: u32 = 3;

#[test]
fn no_job_is_lost_or_overtaken_when_redis_is_killed() {
    let gearmand = Gearmand::start();
    // By default Redis answers before the change is in its file, whenever the disk is busy.
    let always = ["--appendfsync", "always"].map(str::to_owned);
    let mut redis = Redis::start_with(always.to_vec(), "");
    let mode = ["--mode=hash", "--threads=2"];
    let worker = start(&gearmand, &redis, &mode);
    let mut jobs = 0;
    for kill in 1..=KILLS {
        submit_marks(&gearmand, "k", jobs..jobs + JOBS);
        wait_for_a_mark(&redis, "k", jobs);
        redis.kill();
        jobs += JOBS;
        submit_marks(&gearmand, "k", jobs..jobs + MORE);
        jobs += MORE;
        wait_for_lines(&worker, "keeping the job", kill as usize);
        redis.restart();
        wait_for_an_empty_queue(&gearmand, FUNCTION);
    }
    assert_eq!(count(&redis, "k", jobs), ALL_IN_ORDER);
}

#[test]
fn no_job_is_lost_or_overtaken_when_a_job_server_that_keeps_its_queue_is_killed() {
    let mut one = Gearmand::start_persistent("H:one");
    let other = Gearmand::start();
    let redis = Redis::start();
    let options = options(&[&one, &other], &redis, &["--mode=hash", "--threads=2"]);
    let worker = RedisWorker::start_bare(&[&one, &other], &options);

    submit_marks(&one, "one", 0..JOBS);
    wait_for_a_mark(&redis, "one", 0);
    one.kill();
    wait_for_lines(&worker, "trying again", 1);

    submit_marks(&other, "other", 0..JOBS);
    wait_for_an_empty_queue(&other, FUNCTION);
    assert_eq!(count(&redis, "other", JOBS), ALL_IN_ORDER);

    one.restart();
    submit_marks(&one, "one", JOBS..JOBS + MORE);
    wait_for_an_empty_queue(&one, FUNCTION);
    assert_eq!(count(&redis, "one", JOBS + MORE), ALL_IN_ORDER);
}

#[test]
fn no_job_is_lost_or_overtaken_when_a_worker_is_asked_to_stop() {
    for threads in ["--threads=1", "--threads=4"] {
        let (gearmand, redis) = (Gearmand::start(), Redis::start());
        let mode = ["--mode=hash", threads];
        let mut jobs = 0;
        let mut worker = start(&gearmand, &redis, &mode);
        for _ in 0..KILLS {
            submit_marks(&gearmand, "k", jobs..jobs + JOBS);
            wait_for_a_mark(&redis, "k", jobs);
            assert!(worker.stop().success(), "{}", worker.log());
            assert_eq!(statistic(&worker, "given_back"), 0.0, "{}", worker.log());
            assert_eq!(statistic(&worker, "in_flight"), 0.0, "{}", worker.log());
            jobs += JOBS;
            submit_marks(&gearmand, "k", jobs..jobs + MORE);
            jobs += MORE;
            worker = start(&gearmand, &redis, &mode);
        }
        wait_for_an_empty_queue(&gearmand, FUNCTION);
        assert_eq!(count(&redis, "k", jobs), ALL_IN_ORDER, "{threads}");
    }
}

#[test]
fn no_job_is_lost_when_a_worker_is_killed() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let mut jobs = 0;
    for _ in 0..KILLS {
        let mut worker = start(&gearmand, &redis, &["--mode=hash"]);
        submit_marks(&gearmand, "k", jobs..jobs + JOBS);
        wait_for_a_mark(&redis, "k", jobs);
        worker.kill();
        wait_for_workers(&gearmand, FUNCTION, 0);
        jobs += JOBS;
    }
    let _worker = start(&gearmand, &redis, &["--mode=hash"]);
    submit_marks(&gearmand, "k", jobs..jobs + MORE);
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    assert_eq!(count(&redis, "k", jobs + MORE).lost, 0);
}

/// Waits until gearmand misses a killed worker: the next one counts as started once it knows one more.
fn wait_for_workers(gearmand: &Gearmand, function: &str, count: u64) {
    wait_until(PATIENCE, "gearmand to miss the killed worker", || {
        let status = gearmand.status();
        match status.get(function).map_or(0, |status| status.workers) {
            workers if workers == count => Ok(()),
            workers => Err(workers),
        }
    });
}

/// Where order cannot be promised: the jobs of a killed worker come again behind all others, and
/// meanwhile several workers are at work.
#[test]
fn with_versions_no_change_is_overtaken_when_workers_are_killed() {
    const KEYS: u32 = 20;
    let rows = |numbers: std::ops::Range<u32>| {
        numbers.map(|n| format!(r#"{{"key":"r{}","row":{{"v":{n}}}}}"#, n % KEYS))
    };
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let submitter = Submitter::to(&gearmand);
    let _other = start(&gearmand, &redis, &["--version-field=v"]);
    let mut jobs = 0;
    for _ in 0..KILLS {
        let mut worker = start(&gearmand, &redis, &["--version-field=v"]);
        submitter.submit("syncRowToRedis", rows(jobs..jobs + JOBS));
        wait_until(PATIENCE, "a row of this round", || {
            let version = redis.hash("r0").remove("v");
            match version.as_ref().and_then(|text| text.parse::<u32>().ok()) {
                Some(version) if version >= jobs => Ok(()),
                _ => Err(version),
            }
        });
        worker.kill();
        jobs += JOBS;
        wait_for_workers(&gearmand, "syncRowToRedis", 1);
    }
    wait_for_an_empty_queue(&gearmand, "syncRowToRedis");
    for key in 0..KEYS {
        let last = (key..jobs)
            .step_by(KEYS as usize)
            .next_back()
            .expect("a job");
        assert_eq!(redis.hash(&format!("r{key}"))["v"], last.to_string());
    }
}

#[test]
fn a_worker_that_cannot_finish_in_time_gives_its_jobs_back() {
    let (gearmand, mut redis) = (Gearmand::start(), Redis::start());
    let mut worker = start(&gearmand, &redis, &["--mode=hash", "--stop-timeout=0"]);
    redis.kill();
    submit_marks(&gearmand, "k", 0..MORE);
    wait_for_lines(&worker, "keeping the job", 1);
    assert!(worker.stop().success(), "{}", worker.log());
    assert!(statistic(&worker, "given_back") > 0.0, "{}", worker.log());

    redis.restart();
    let _next = start(&gearmand, &redis, &["--mode=hash"]);
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    assert_eq!(count(&redis, "k", MORE).lost, 0);
}
