//! Sixteen sessions that change the rows of a table.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use mysql::prelude::Queryable;

use super::database::Database;

const WRITERS: u32 = 16;

/// How many rows the table `t (id INT PRIMARY KEY, n INT)` has at most: `id` is below it.
pub(crate) const ROWS: u32 = 2_000;

/// Lets the writers change rows of `t` while `meanwhile` runs; returns how many changes they made. Some of
/// their transactions are rolled back if `rolls_back`.
pub(crate) fn while_written(
    database: &Database,
    rolls_back: bool,
    meanwhile: impl FnOnce(),
) -> u64 {
    /// Tells the writers to stop, even if `meanwhile` panics.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (stop, changes) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        for number in 0..WRITERS {
            let (stop, changes) = (&stop, &changes);
            scope.spawn(move || write(database, number, stop, changes, rolls_back));
        }
        meanwhile();
    });
    changes.into_inner()
}

/// Changes rows of `t` until it is told to stop, some of them in transactions that are rolled back if
/// `rolls_back`.
fn write(
    database: &Database,
    number: u32,
    stop: &AtomicBool,
    changes: &AtomicU64,
    rolls_back: bool,
) {
    let mut session = database.connect();
    let mut seed = u64::from(number) + 1;
    let mut random = |below: u32| {
        // Knuth's MMIX.
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u32 % below
    };
    while !stop.load(Ordering::Relaxed) {
        let (id, n) = (random(ROWS), random(1_000_000));
        let sql = match random(10) {
            0 => format!("DELETE FROM t WHERE id = {id}"),
            1 | 2 => format!("INSERT IGNORE INTO t (id, n) VALUES ({id}, {n})"),
            3 => format!("UPDATE t SET id = {} WHERE id = {id}", random(ROWS)),
            4 => format!("UPDATE t SET n = {n} WHERE id BETWEEN {id} AND {id} + 3"),
            _ => format!("UPDATE t SET n = {n} WHERE id = {id}"),
        };
        let is_undone = rolls_back && random(4) == 0;
        let result = if is_undone {
            session
                .query_drop("START TRANSACTION")
                .and_then(|()| session.query_drop(&sql))
                .and_then(|()| session.query_drop("ROLLBACK"))
        } else {
            session.query_drop(&sql)
        };
        match result {
            // A key that is taken, or a deadlock between the writers: the statement is undone.
            Err(mysql::Error::MySqlError(error)) if [1062, 1213].contains(&error.code) => {
                let _ = session.query_drop("ROLLBACK");
            }
            result => result.unwrap_or_else(|error| panic!("{sql}: {error}")),
        }
        changes.fetch_add(1, Ordering::Relaxed);
    }
}
