//! Many sessions that submit at the same time, to a job server as Debian starts it.

use std::env;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use mysql::Conn;
use mysql::prelude::Queryable;

use crate::support::{Database, Gearmand};

/// The environment variable that names other numbers of sessions to try, such as `32,512,2000`.
const SESSIONS: &str = "GMAN_TEST_SESSIONS";

/// How many updates all sessions make together.
const UPDATES: usize = 10_240;

fn update(session: &mut Conn, id: usize) {
    session
        .query_drop(format!("UPDATE t SET n = n + 1 WHERE id = {id}"))
        .unwrap_or_else(|error| panic!("row {id}: {error}"));
}

/// Updates rows one by one in `sessions` sessions that begin together; returns how many a second.
fn update_together(database: &Database, sessions: usize) -> f64 {
    let begin = Barrier::new(sessions + 1);
    thread::scope(|scope| {
        let submitters: Vec<_> = (1..=sessions)
            .map(|id| {
                let mut session = database.connect();
                let begin = &begin;
                scope.spawn(move || {
                    // Opens the table and its trigger, which costs each session more than an update.
                    update(&mut session, 0);
                    begin.wait();
                    for _ in 0..UPDATES / sessions {
                        update(&mut session, id);
                    }
                })
            })
            .collect();
        begin.wait();
        let began = Instant::now();
        for submitter in submitters {
            submitter.join().expect("a session that submits");
        }
        let updates = UPDATES / sessions * sessions;
        updates as f64 / began.elapsed().as_secs_f64()
    })
}

/// A table with a row for each session, whose trigger does `action` on an update. Each row has a page of
/// its own: on one page every lock is looked for among those of all open transactions, so that with
/// hundreds of them InnoDB itself comes to a standstill.
fn create_table(database: &Database, sessions: usize, action: &str) {
    database.execute("DROP TABLE IF EXISTS t");
    database.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL, filling VARBINARY(7900) NOT NULL) \
         ENGINE=InnoDB",
    );
    let rows: Vec<String> = (1..=sessions)
        .map(|id| format!("({id}, 0, REPEAT('x', 7900))"))
        .collect();
    database.execute(&format!("INSERT INTO t VALUES {}", rows.join(",")));
    database.execute(&format!(
        "CREATE TRIGGER changed AFTER UPDATE ON t FOR EACH ROW SET @handle = {action}"
    ));
}

#[test]
fn no_job_is_lost_when_many_sessions_begin_together() {
    let chosen = env::var(SESSIONS).ok();
    for sessions in chosen.as_deref().unwrap_or("128").split(',') {
        let sessions: usize = sessions.parse().expect("a number of sessions");
        let gearmand = Gearmand::start();
        let database = Database::builder()
            .option(format!("--max-connections={}", sessions + 10))
            .option("--innodb-flush-log-at-trx-commit=0")
            .start();
        database.install_functions();
        let servers = gearmand.address();
        database.execute(&format!("DO gman_servers_set('{servers}')"));
        // What the server itself makes of so many sessions, where somebody wants to know: of those that
        // wait for nothing, and of those that wait in their transactions, for whatever it is.
        let bare = chosen.is_some().then(|| {
            ["NEW.id", "SLEEP(0.02)"].map(|action| {
                create_table(&database, sessions, action);
                update_together(&database, sessions)
            })
        });
        create_table(&database, sessions, "gman_do_background('f', NEW.id)");
        let rate = update_together(&database, sessions);
        let opened = gearmand.open_sockets();
        let queued = gearmand.status().get("f").map_or(0, |status| status.queued);
        let lost = (UPDATES / sessions * sessions) as u64 - queued;
        println!(
            "{sessions} sessions: {rate:.0} updates a second{}, {lost} jobs lost, \
             {opened} connections left open",
            bare.map_or(String::new(), |[idle, waiting]| format!(
                " ({idle:.0} without jobs, {waiting:.0} if each sleeps 20 ms)"
            ))
        );
        assert_eq!(lost, 0, "{}", database.error_log());
    }
}
