//! Updates whose trigger submits a job, by the statement and by the row.

use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use crate::job_server;
use crate::support::{Database, Gearmand};
use crate::trigger_table::{JSON, query, set_trigger};

/// How many transactions a block has.
pub(crate) const BLOCK: u32 = 500;

/// How many come before them.
pub(crate) const WARM_UP: u32 = 50;

/// Has every update of a row submit a job to a new job server, in this way.
pub(crate) fn deliver(session: &mut Conn, delivery: &str) -> Gearmand {
    let gearmand = job_server::start();
    query(
        session,
        &format!("SET GLOBAL gman_servers = '{}'", gearmand.address()),
    );
    query(session, &format!("SET GLOBAL gman_delivery = '{delivery}'"));
    let call = format!("SET @r = gman_do_background('f', {JSON})");
    set_trigger(session, Some(&call));
    gearmand
}

pub(crate) fn flush(session: &mut Conn) {
    let left: Option<i64> = session
        .query_first("SELECT gman_flush(60000)")
        .expect("gman_flush");
    assert_eq!(left, Some(0), "jobs in the window");
}

/// Updates rows, each in a transaction of its own, in a session of its own, whose end lets the participant be
/// removed. The first ones are not timed: they parse the trigger, and connect to the job server.
pub(crate) fn update_one_by_one(database: &Database) -> Duration {
    let mut session = database.connect();
    let update = session
        .prep("UPDATE t SET n = n + 1 WHERE id = ?")
        .expect("a statement");
    let mut began = Instant::now();
    for id in 1..=WARM_UP + BLOCK {
        session.exec_drop(&update, (id,)).expect("an update");
        if id == WARM_UP {
            began = Instant::now();
        }
    }
    began.elapsed()
}
