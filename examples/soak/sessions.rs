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
    /// `gman_do_background`, delivered as the server is set.
    Direct,
    /// `gman_outbox`.
    Outbox,
}

/// How a change ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With its statement.
    Statement,
    Commit,
    Rollback,
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
            let end = self.end();
            let fate = match self.table {
                Table::Direct => update_direct(&mut connection, self.number, job, end),
                Table::Outbox => update_outbox(&mut connection, self.number, job, end),
            };
            self.ledger.settle(self.number, job, fate);
            // A session that fell behind does not catch up.
            due = (due + self.interval).max(Instant::now());
        }
    }

    fn end(&mut self) -> End {
        if self.rng.u32(..ROLL_BACK) == 0 {
            End::Rollback
        } else if self.rng.bool() {
            End::Commit
        } else {
            End::Statement
        }
    }

    fn connect(&self) -> Conn {
        Conn::new(self.opts.clone()).unwrap_or_else(|error| panic!("cannot connect: {error}"))
    }
}

/// The trigger leaves what the function returned in `@answer`, and the setting just before and just after
/// the call in `@before` and `@after`.
fn update_direct(session: &mut Conn, number: usize, job: usize, end: End) -> Fate {
    let update = format!("UPDATE direct SET n = {job} WHERE id = {number}");
    let updated = change(session, &update, end);
    let (answer, before, after): (Option<String>, String, Option<String>) = session
        .query_first("SELECT CONVERT(@answer USING utf8mb4), @before, @after")
        .unwrap_or_else(|error| panic!("{update}: {error}"))
        .expect("a row");
    let setting = Delivery::of_setting(&before).expect("a delivery");
    let has_changed = after.as_ref() != Some(&before);
    match (updated, answer) {
        (Ok(()), Some(answer)) if answer.starts_with("H:") => Fate::Promised(Delivery::Acked),
        (Ok(()), Some(unique)) if unique == format!("{number}:{job}") => match end {
            End::Rollback if has_changed => Fate::Unclear(Delivery::Committed),
            End::Rollback if setting == Delivery::Committed => Fate::RolledBack(setting),
            // Not acked, as it would be the handle of the job.
            _ if has_changed => Fate::Promised(Delivery::Pipelined),
            _ => Fate::Promised(setting),
        },
        (Ok(()), None) => Fate::Failed(setting),
        // gman_on_failure = error
        (Err(mysql::Error::MySqlError(error)), _)
            if error.message.contains("gman_do_background") =>
        {
            Fate::Failed(setting)
        }
        other => panic!("{update}: {other:?}"),
    }
}

fn update_outbox(session: &mut Conn, number: usize, job: usize, end: End) -> Fate {
    let update = format!("UPDATE transactional SET n = {job} WHERE id = {number}");
    change(session, &update, end).unwrap_or_else(|error| panic!("{update}: {error}"));
    match end {
        End::Statement | End::Commit => Fate::Promised(Delivery::Outbox),
        End::Rollback => Fate::RolledBack(Delivery::Outbox),
    }
}

/// Runs `update`, in a transaction unless it ends with its statement; returns whether the update failed.
fn change(session: &mut Conn, update: &str, end: End) -> mysql::Result<()> {
    let end = match end {
        End::Statement => return session.query_drop(update),
        End::Commit => "COMMIT",
        End::Rollback => "ROLLBACK",
    };
    succeed(session, "BEGIN");
    let updated = session.query_drop(update);
    succeed(session, end);
    updated
}

fn succeed(session: &mut Conn, sql: &str) {
    session
        .query_drop(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}
