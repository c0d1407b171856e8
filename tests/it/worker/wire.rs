//! The worker behind a bad wire to the job server.

use std::time::{Duration, Instant};

use super::{PATIENCE, count, submit_marks, wait_for_an_empty_queue};
use crate::support::{FUNCTION, Fault, FaultyWire, Gearmand, Redis, RedisWorker, wait_until};
use crate::wire::{FAULTS, MEMORY_BYTES, keeps_requests, restart, times};

/// How many jobs are submitted at once.
const JOBS: u32 = 100;

/// How long jobs may wait for what makes other requests of requests.
const LONG_ENOUGH: Duration = Duration::from_secs(10);

#[test]
fn no_fault_of_the_wire_loses_a_job_or_ends_the_worker() {
    for (fault, once_in) in FAULTS {
        let (mut gearmand, redis) = (Gearmand::start(), Redis::start());
        let wire = FaultyWire::start(gearmand.port());
        let options = [
            format!("--gearmand={}", wire.address()),
            format!("--redis={}", redis.address()),
            "--mode=hash".to_owned(),
        ];
        let mut worker = RedisWorker::start_bare(&[&gearmand], &options);
        let before = worker.rss_bytes();
        wire.fail(fault, once_in);
        // A connection that NOOPs flow on is a good one, until an answer is missing for 30 s.
        let times = match fault {
            Fault::EndlessNoops => 1,
            _ => times(),
        };
        let (began, mut jobs) = (Instant::now(), 0);
        // A bit of CAN_DO or PRE_SLEEP that is another leaves a connection that no job comes on any more.
        let is_over =
            || wire.faults() >= times || (!keeps_requests(fault) && began.elapsed() > LONG_ENOUGH);
        while !is_over() {
            submit_marks(&gearmand, "k", jobs..jobs + JOBS);
            jobs += JOBS;
            wait_until(
                PATIENCE,
                "the fault to come, or the jobs to be done",
                || {
                    let queued = gearmand.status()[FUNCTION].queued;
                    match is_over() || queued == 0 {
                        true => Ok(()),
                        false => Err((fault, wire.faults(), queued)),
                    }
                },
            );
        }
        println!(
            "{fault:?}: {} times, {jobs} jobs, {:?}",
            wire.faults(),
            began.elapsed()
        );
        assert!(wire.faults() > 0, "{fault:?}");
        wire.mend();
        let grown = worker.rss_bytes().saturating_sub(before);
        assert!(grown < MEMORY_BYTES, "{fault:?}: {grown} bytes");
        match fault {
            // What was changed on its way is another job, or the end of another one.
            Fault::FlippedAnswers | Fault::FlippedBits => {
                restart(&mut gearmand);
                submit_marks(&gearmand, "good", 0..1);
                wait_until(PATIENCE, "a job over the good wire to be done", || {
                    let lost = count(&redis, "good", 1).lost;
                    if lost == 0 { Ok(()) } else { Err(worker.log()) }
                });
            }
            _ => {
                wait_for_an_empty_queue(&gearmand, FUNCTION);
                assert_eq!(count(&redis, "k", jobs).lost, 0, "{fault:?}");
            }
        }
        assert!(worker.stop().success(), "{fault:?}: {}", worker.log());
    }
}
