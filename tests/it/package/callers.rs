//! Sessions that submit jobs all the time while something happens to the library.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use mysql::Conn;
use mysql::prelude::Queryable;

use crate::support::Database;

const SESSIONS: u32 = 4;

/// For how long they call before and after.
const MARGIN: Duration = Duration::from_millis(300);

/// What became of the updates, each of which fires a trigger that submits a job.
#[derive(Debug, Default)]
pub(super) struct Updates {
    pub(super) done: usize,
    /// Jobs that were not delivered: the function answered NULL.
    pub(super) undelivered: usize,
    pub(super) errors: Vec<mysql::MySqlError>,
}

impl Updates {
    pub(super) fn assert_all_delivered(&self) {
        assert!(self.done > 0, "nothing was called");
        assert!(self.errors.is_empty(), "{:?}", self.errors);
        assert_eq!(self.undelivered, 0, "of {}", self.done);
    }
}

/// A table with a row for each session, whose trigger submits `call` and counts a NULL.
pub(super) fn create_table(database: &Database, call: &str) {
    database.execute("CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB");
    for id in 0..SESSIONS {
        database.execute(&format!("INSERT INTO t VALUES ({id}, 0)"));
    }
    database.execute(&format!(
        "CREATE TRIGGER changed AFTER UPDATE ON t FOR EACH ROW \
         SET @undelivered = @undelivered + ({call} IS NULL)"
    ));
}

/// Does `work` while all sessions update their rows.
pub(super) fn while_calling(database: &Database, work: impl FnOnce()) -> Updates {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|id| {
                let (session, stop) = (database.connect(), &stop);
                scope.spawn(move || update_until(stop, session, id))
            })
            .collect();
        {
            let _stop = StopWhenDropped(&stop);
            thread::sleep(MARGIN);
            work();
            thread::sleep(MARGIN);
        }
        let mut all = Updates::default();
        for session in sessions {
            let one = session.join().expect("a session");
            all.done += one.done;
            all.undelivered += one.undelivered;
            all.errors.extend(one.errors);
        }
        all
    })
}

/// Lets the sessions end, also when the work between them panics.
struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn update_until(stop: &AtomicBool, mut session: Conn, id: u32) -> Updates {
    let mut updates = Updates::default();
    session
        .query_drop("SET @undelivered = 0")
        .expect("a variable");
    while !stop.load(Ordering::Relaxed) {
        match session.query_drop(format!("UPDATE t SET n = n + 1 WHERE id = {id}")) {
            Ok(()) => updates.done += 1,
            Err(mysql::Error::MySqlError(error)) => updates.errors.push(error),
            Err(error) => panic!("the server is gone: {error}"),
        }
    }
    let undelivered: Option<usize> = session
        .query_first("SELECT @undelivered")
        .expect("a variable");
    updates.undelivered = undelivered.expect("a number");
    updates
}
