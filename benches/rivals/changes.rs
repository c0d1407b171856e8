//! Many changes at once, from the first statement until Redis has every row.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;

use super::running::Running;
use crate::support::Database;

/// One measurement.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) rows: u32,
    /// What the writers waited for.
    pub(crate) written: Duration,
    /// From the first statement until Redis had the last row that came, if the way leads there.
    pub(crate) arrived: Option<Duration>,
    /// Of all processes, from the first statement until all of them were idle.
    pub(crate) processor: Duration,
    /// Rows that Redis has not as the table has them.
    pub(crate) lost: usize,
}

impl Changes {
    /// `UPDATE` of all rows.
    pub(crate) fn of_one_statement(running: &Running<'_>, rows: u32, mark: &str) -> Self {
        let mut session = running.database().connect();
        let update =
            format!("UPDATE t SET name = CONCAT('{mark}-', id) WHERE id BETWEEN 1 AND {rows}");
        Self::measure(running, rows, || {
            let began = Instant::now();
            session.query_drop(&update).expect("an UPDATE");
            (began, began.elapsed())
        })
    }

    /// Sessions that each update so many rows one by one.
    pub(crate) fn of_sessions(running: &Running<'_>, sessions: u32, each: u32, mark: &str) -> Self {
        Self::measure(running, sessions * each, || {
            write(running.database(), sessions, each, mark)
        })
    }

    fn measure(
        running: &Running<'_>,
        rows: u32,
        write: impl FnOnce() -> (Instant, Duration),
    ) -> Self {
        running.forget();
        let before = running.processor_time();
        let (began, written) = write();
        let arrived = running
            .redis
            .as_ref()
            .map(|_| running.wait_for_keys(rows).duration_since(began));
        running.wait_until_idle();
        Self {
            rows,
            written,
            arrived,
            processor: running.processor_time() - before,
            lost: arrived.map_or(0, |_| running.lost(rows)),
        }
    }

    pub(crate) fn written_a_second(&self) -> f64 {
        f64::from(self.rows) / self.written.as_secs_f64()
    }

    /// Processor seconds for a million rows.
    pub(crate) fn processor_a_million(&self) -> f64 {
        self.processor.as_secs_f64() / f64::from(self.rows) * 1e6
    }
}

/// Returns when the sessions began, together, and how long it took until the last one had finished.
fn write(database: &Database, sessions: u32, each: u32, mark: &str) -> (Instant, Duration) {
    let ready = Barrier::new(sessions as usize + 1);
    let began = thread::scope(|scope| {
        for session in 0..sessions {
            let ready = &ready;
            scope.spawn(move || {
                let mut conn = database.connect();
                let update = conn
                    .prep("UPDATE t SET name = ? WHERE id = ?")
                    .expect("a statement");
                ready.wait();
                for id in session * each + 1..=(session + 1) * each {
                    let name = format!("{mark}-{id}");
                    conn.exec_drop(&update, (name, id)).expect("an UPDATE");
                }
            });
        }
        ready.wait();
        Instant::now()
    });
    (began, began.elapsed())
}
