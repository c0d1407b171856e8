//! The statistics that SIGUSR1 asks for.

use nix::sys::signal::Signal;

use super::{run_job, start, statistic, submit_marks, wait_for_an_empty_queue, wait_for_lines};
use crate::support::{FUNCTION, Gearmand, Redis};

#[test]
fn sigusr1_prints_what_was_done_and_so_does_the_end() {
    let (mut gearmand, mut redis) = (Gearmand::start(), Redis::start());
    let mut worker = start(&gearmand, &redis, &["--mode=hash"]);
    submit_marks(&gearmand, "k", 0..1000);
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    run_job(&gearmand, FUNCTION, "no json");

    worker.signal(Signal::SIGUSR1);
    wait_for_lines(&worker, "statistics: ", 1);
    assert_eq!(statistic(&worker, "failed"), 1.0);
    assert_eq!(statistic(&worker, "in_flight"), 0.0);
    assert!(statistic(&worker, "per_second") > 0.0);
    let round_trips = statistic(&worker, "redis_round_trips");
    assert!((1.0..1000.0).contains(&round_trips), "{round_trips}");
    assert_eq!(statistic(&worker, "redis_reconnects"), 0.0);
    assert_eq!(statistic(&worker, "gearmand_reconnects"), 0.0);

    redis.restart();
    gearmand.restart();
    wait_for_lines(&worker, "waiting for syncToRedis", 2);
    run_job(&gearmand, FUNCTION, r#"{"id":"k0","last":1}"#);
    assert!(worker.stop().success(), "{}", worker.log());
    assert_eq!(statistic(&worker, "done"), 1001.0);
    assert_eq!(statistic(&worker, "redis_reconnects"), 1.0);
    assert_eq!(statistic(&worker, "gearmand_reconnects"), 1.0);
}
