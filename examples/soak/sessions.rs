//! The sessions that update rows.

use std::time::{Duration, Instant};

use fastrand::Rng;
use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};

use crate::ledger::{Delivery, Fate, Ledger};
use crate::stop::Stop;

/// How many jobs may be on their way before sessions wait: gearmand grows slow with more.
const MAX_OUTSTANDING: u64 = 20_000;

/// How long they wait then before they look again.
const PAUSE: Duration = Duration::from_millis(20);

/// One of so many updates opens its session anew.
const RECONNECT: u32 = 500;

/// One of so many transactions rolls back.
const ROLL_BACK: u32 = 6;

/// What a session's table hands its jobs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// `gman_do_background`, acked or pipelined as the server is set.
    Direct,
    /// `gman_outbox`.
    Outbox,
}

/// One session: it updates the row whose `id` is its number.
pub(crate) struct Session<'a> {
    pub(crate) number: usize,
    pub(crate) table: Table,
    pub(crate) opts: OptsBuilder,
    /// How long from one update to the next.
    pub(crate) interval: Duration,
    pub(crate) rng: Rng,
    pub(crate) ledger: &'a Ledger,
    pub(crate) stop: &'a Stop,
}

impl Session<'_> {
    /// Updates until it is time to end.
    pub(crate) fn run(mut self) {
        let mut connection = self.connect();
        let mut due = Instant::now() + self.interval.mul_f64(self.rng.f64());
        while self.stop.sleep_until(due) {
            if self.ledger.outstanding() > MAX_OUTSTANDING {
                due = Instant::now() + PAUSE;
                continue;
            }
            if self.rng.u32(..RECONNECT) == 0 {
                connection = self.connect();
            }
            let job = self.ledger.begin(self.number);
            let fate = match self.table {
                Table::Direct => update_direct(&mut connection, self.number, job),
                Table::Outbox => {
                    let commits = self.rng.u32(..ROLL_BACK) > 0;
                    update_outbox(&mut connection, self.number, job, commits)
                }
            };
            self.ledger.settle(self.number, job, fate);
            // A session that fell behind does not catch up.
            due = (due + self.interval).max(Instant::now());
        }
    }

    fn connect(&self) -> Conn {
        Conn::new(self.opts.clone()).unwrap_or_else(|error| panic!("cannot connect: {error}"))
    }
}

/// The trigger leaves what the function answered in `@answer`, and how it was to be delivered by
/// the setting just before in `@delivery`.
fn update_direct(session: &mut Conn, number: usize, job: usize) -> Fate {
    let update = format!("UPDATE direct SET n = {job} WHERE id = {number}");
    let updated = session.query_drop(&update);
    let (answer, setting): (Option<String>, String) = session
        .query_first("SELECT CONVERT(@answer USING utf8mb4), @delivery")
        .unwrap_or_else(|error| panic!("{update}: {error}"))
        .expect("a row");
    let set = if setting == Delivery::Acked.name() {
        Delivery::Acked
    } else {
        Delivery::Pipelined
    };
    match (updated, answer) {
        (Ok(()), Some(answer)) if answer.starts_with("H:") => Fate::Promised(Delivery::Acked),
        (Ok(()), Some(unique)) if unique == format!("{number}:{job}") => {
            Fate::Promised(Delivery::Pipelined)
        }
        (Ok(()), None) => Fate::Failed(set),
        // gman_on_failure = error
        (Err(mysql::Error::MySqlError(error)), _)
            if error.message.contains("gman_do_background") =>
        {
            Fate::Failed(set)
        }
        other => panic!("{update}: {other:?}"),
    }
}

fn update_outbox(session: &mut Conn, number: usize, job: usize, commits: bool) -> Fate {
    let update = format!("UPDATE transactional SET n = {job} WHERE id = {number}");
    let end = if commits { "COMMIT" } else { "ROLLBACK" };
    for statement in ["BEGIN", &update, end] {
        session
            .query_drop(statement)
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    if commits {
        Fate::Promised(Delivery::Outbox)
    } else {
        Fate::RolledBack
    }
}
