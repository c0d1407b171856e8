//! A Redis behind Sentinels, whose master is lost in the middle of jobs.

use super::{
    ALL_IN_ORDER, count, run_job, start_for, submit_marks, wait_for_a_mark,
    wait_for_an_empty_queue, wait_for_lines,
};
use crate::support::{FUNCTION, Gearmand, RedisSentinel};

const JOBS: u32 = 5_000;

#[test]
fn no_job_is_lost_or_overtaken_when_the_master_is_killed_and_comes_back_as_a_replica() {
    let gearmand = Gearmand::start();
    let mut all = RedisSentinel::start_with(&["--appendfsync", "always"]);
    let worker = start_for(&gearmand, &all.url(), &["--mode=hash", "--replicas=1"]);
    submit_marks(&gearmand, "k", 0..JOBS);
    wait_for_a_mark(&all.nodes[0], "k", 0);
    all.nodes[0].kill();
    submit_marks(&gearmand, "k", JOBS..2 * JOBS);
    all.wait_for_failover();
    all.nodes[0].restart();
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    assert_eq!(
        count(&all.nodes[1], "k", 2 * JOBS),
        ALL_IN_ORDER,
        "{}",
        worker.log()
    );
}

#[test]
fn no_job_is_lost_or_overtaken_when_the_master_is_cut_off_and_comes_back() {
    let gearmand = Gearmand::start();
    let all = RedisSentinel::start_with(&[]);
    let worker = start_for(&gearmand, &all.url(), &["--mode=hash", "--replicas=1"]);
    submit_marks(&gearmand, "k", 0..JOBS);
    wait_for_a_mark(&all.nodes[0], "k", 0);
    all.nodes[0].freeze();
    submit_marks(&gearmand, "k", JOBS..2 * JOBS);
    all.wait_for_failover();
    all.nodes[0].thaw();
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    assert_eq!(
        count(&all.nodes[1], "k", 2 * JOBS),
        ALL_IN_ORDER,
        "{}",
        worker.log()
    );
}

#[test]
fn sentinels_and_their_redis_have_passwords_of_their_own() {
    const PASSWORD: &str = "s3cret";
    let gearmand = Gearmand::start();
    let all = RedisSentinel::start_with_password(PASSWORD);
    let worker = start_for(&gearmand, &all.url(), &[]);
    run_job(&gearmand, FUNCTION, r#"{"id":1,"name":"sm"}"#);
    assert_eq!(all.nodes[0].get("1").as_deref(), Some("sm"));
    let stranger = all
        .url()
        .replace("sentinel_password=", "sentinel_password=not-");
    let stranger = start_for(&gearmand, &stranger, &[]);
    wait_for_lines(&stranger, "refuses the password", 1);
    for log in [worker.log(), stranger.log()] {
        assert!(!log.contains(PASSWORD), "{log}");
    }
}
