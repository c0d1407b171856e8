//! A poller: it asks a hundred times a second for the rows whose `updated_at` is later than the latest that it
//! has seen, and writes them to Redis. A process of its own in the benchmark.
//!
//! It loses rows, as all do that go by such a column: `updated_at` is the time of the statement, and a row
//! becomes visible at COMMIT. One that commits after a row with a later time was seen is never asked for again.

use std::thread;
use std::time::Duration;

use mysql::prelude::Queryable;

use super::Place;

const PAUSE: Duration = Duration::from_millis(10);

/// Runs until the server goes away.
pub(crate) fn run(place: &Place) {
    let mut session = place.connect();
    let redis = redis::Client::open(format!("redis://{}/", place.redis));
    let mut redis = redis
        .and_then(|client| client.get_connection())
        .expect("Redis");
    let latest = "SELECT CAST(COALESCE(MAX(updated_at), '2000-01-01') AS CHAR) FROM t";
    let mut seen: String = session.query_first(latest).expect("a time").expect("a row");
    let later = "SELECT id, name, CAST(updated_at AS CHAR) FROM t
                  WHERE updated_at > ? ORDER BY updated_at";
    let later = session.prep(later).expect("a statement");
    loop {
        let rows: Vec<(u32, String, String)> = session.exec(&later, (&seen,)).expect("rows");
        let mut pipeline = redis::pipe();
        for (id, name, updated_at) in rows {
            pipeline.set(id, name).ignore();
            seen = updated_at;
        }
        if !pipeline.is_empty() {
            pipeline.exec(&mut redis).expect("SET");
        }
        thread::sleep(PAUSE);
    }
}
