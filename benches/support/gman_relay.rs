//! The relay as a process, in the place of the event.

use std::time::{Duration, Instant};

use crate::bare_worker::BareWorker;
use crate::job_server;
use crate::promise::Promise;
use crate::support::{Database, RelayProcess};
use crate::trigger_table::{keep_fastest, query};
use crate::{Options, fill, wait_until_gone};

/// How long the fastest of some rounds took from the commit of all jobs to the last row's end, and
/// what processor time the database took for a job.
pub(crate) struct Speed {
    fastest: Option<Duration>,
    pub(crate) processor: Option<Duration>,
}

impl Speed {
    pub(crate) fn new() -> Self {
        Self {
            fastest: None,
            processor: None,
        }
    }

    /// One round, while something relays.
    pub(crate) fn round(&mut self, database: &Database, jobs: u32) {
        let mut session = database.connect();
        query(&mut session, "START TRANSACTION");
        let last = fill(&mut session, jobs);
        let (began, before) = (Instant::now(), database.processor_time());
        query(&mut session, "COMMIT");
        wait_until_gone(database, last);
        keep_fastest(&mut self.fastest, began.elapsed());
        keep_fastest(&mut self.processor, database.processor_time() - before);
    }

    pub(crate) fn a_second(&self, jobs: u32) -> f64 {
        f64::from(jobs) / self.fastest.expect("a round").as_secs_f64()
    }

    /// Microseconds of the database's processor for each job.
    pub(crate) fn processor_us(&self, jobs: u32) -> f64 {
        self.processor.expect("a round").as_secs_f64() * 1e6 / f64::from(jobs)
    }
}

/// As the event's, with both confirmations.
pub(crate) fn speeds(database: &Database, options: &Options) -> [Speed; 2] {
    let mut session = database.connect();
    ["gearmand", "worker"].map(|confirm| {
        let set = format!("UPDATE gman_outbox_state SET confirm = '{confirm}'");
        query(&mut session, &set);
        let mut speed = Speed::new();
        let gearmand = job_server::start();
        let _worker = (confirm == "worker").then(|| BareWorker::start(&gearmand, "f"));
        // One for all rounds, as the event is: its horizon moves on within seconds.
        let mut relay = RelayProcess::between(database, &gearmand);
        for _ in 0..options.rounds {
            speed.round(database, options.jobs);
        }
        assert!(relay.stop().success(), "{}", relay.log());
        query(
            &mut session,
            "UPDATE gman_outbox_state SET confirm = 'gearmand'",
        );
        speed
    })
}

/// What the issue of speed promises.
pub(crate) fn promises(event: &Speed, [gearmand, worker]: &[Speed; 2], jobs: u32) -> [Promise; 3] {
    let at_least = |what: &str, bar: f64, found: f64| Promise {
        promised: format!("{what} at least {bar:.0} jobs a second"),
        found: format!("{found:.0}"),
        kept: found >= bar,
    };
    let (ours, events) = (gearmand.processor_us(jobs), event.processor_us(jobs));
    [
        at_least("gman relay hands over", 60_000.0, gearmand.a_second(jobs)),
        at_least(
            "confirmed by one worker, gman relay settles",
            20_000.0,
            worker.a_second(jobs),
        ),
        Promise {
            promised:
                "gman relay takes no more of the database's processor for a job than the event"
                    .into(),
            found: format!("{ours:.1} us, the event {events:.1} us"),
            kept: ours <= events,
        },
    ]
}
