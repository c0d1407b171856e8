//! KILL, KILL QUERY and the shutdown of the server, in every state in which a call can wait.

use std::thread;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, Row};

use crate::support::fake_job_server::Reply;
use crate::support::{BlackHole, FakeJobServer, Gearmand, Gman, wait_until};

/// Longer than any call of these tests may take.
const LONG_MS: u32 = 60_000;

/// Within how long a statement ends that is killed, on a busy machine.
const SOON: Duration = Duration::from_secs(3);

/// How long a test waits for something to happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Job servers none of which does what it should, each with Gearman functions of its own, and calls that
/// wait for them.
struct Stage {
    gman: Gman,
    stopped: Gearmand,
    good: Gearmand,
    _hole: BlackHole,
    _others: Vec<FakeJobServer>,
}

/// What a call waits for, and the call.
const WAITING: [(&str, &str); 9] = [
    ("a connection", "gman_do_background('hole', 'w')"),
    ("an acknowledgement", "gman_do_background('silent', 'w')"),
    (
        "the one connection of the pool",
        "gman_do_background('silent', 'w')",
    ),
    (
        "an acknowledgement of a job for later",
        "gman_do_epoch('silent2', 'w', 1)",
    ),
    ("a result", "gman_do('taken', 'w')"),
    ("the results of a sum", "gman_sum('taken2', 'w')"),
    ("acknowledgements of rows", "gman_relay(1, 'silent3', 'w')"),
    (
        "a worker's confirmation",
        "gman_relay(1, 'taken3', 'w', NULL, 'worker')",
    ),
    ("an empty window", "gman_flush(60000)"),
];

impl Stage {
    fn start() -> Self {
        let (stopped, good) = (Gearmand::start(), Gearmand::start());
        let hole = BlackHole::start();
        let mut others = Vec::new();
        let mut lists = vec![
            ("hole", hole.address().to_string()),
            ("stopped", stopped.address()),
            ("good", good.address()),
        ];
        for (function, reply) in [
            ("silent", Reply::Silence),
            ("silent2", Reply::Silence),
            ("silent3", Reply::Silence),
            ("taken", Reply::Handle),
            ("taken2", Reply::Handle),
            ("taken3", Reply::Handle),
        ] {
            let server = FakeJobServer::always(reply);
            lists.push((function, server.address()));
            others.push(server);
        }
        let mut gman = Gman::with_switches();
        for (name, value) in [
            ("gman_on_failure", "error"),
            ("gman_timeout_ms", &LONG_MS.to_string()),
            ("gman_do_timeout_ms", &LONG_MS.to_string()),
            ("gman_connect_timeout_ms", &LONG_MS.to_string()),
            ("gman_max_connections", "1"),
            ("gman_delivery", "pipelined"),
        ] {
            gman.set(name, value);
        }
        for (function, list) in lists {
            let set = gman.call(&format!("gman_servers_set('{list}', '{function}')"));
            assert_eq!(set.text(), list);
        }
        stopped.stop();
        gman.call("gman_do_background('stopped', 'w')").text();
        gman.set("gman_delivery", "acked");
        Self {
            gman,
            stopped,
            good,
            _hole: hole,
            _others: others,
        }
    }

    /// Opens a session for each call, makes all calls at once, and has `end` end them once they all wait;
    /// returns what each ended with, and how long after that.
    fn while_they_wait(
        &mut self,
        end: impl FnOnce(&mut Gman, &[u64]),
    ) -> Vec<(mysql::Result<Vec<Row>>, Duration)> {
        let mut sessions: Vec<Conn> = WAITING
            .iter()
            .map(|_| self.gman.database.connect())
            .collect();
        let ids: Vec<u64> = sessions.iter_mut().map(id).collect();
        thread::scope(|scope| {
            let calls: Vec<_> = sessions
                .iter_mut()
                .zip(WAITING)
                .map(|(session, (_, call))| {
                    scope.spawn(move || {
                        let answer = session.query(format!("SELECT {call}"));
                        (answer, Instant::now())
                    })
                })
                .collect();
            let list: Vec<String> = ids.iter().map(u64::to_string).collect();
            let running = format!(
                "SELECT COUNT(*) FROM information_schema.processlist \
                 WHERE id IN ({}) AND info IS NOT NULL AND time > 0",
                list.join(",")
            );
            wait_until(PATIENCE, "all calls to wait", || {
                match self.gman.database.value::<usize>(&running) {
                    waiting if waiting == WAITING.len() => Ok(()),
                    waiting => Err(waiting),
                }
            });
            let began = Instant::now();
            end(&mut self.gman, &ids);
            calls
                .into_iter()
                .map(|call| {
                    let (answer, ended) = call.join().expect("a session");
                    (answer, ended.saturating_duration_since(began))
                })
                .collect()
        })
    }
}

fn id(session: &mut Conn) -> u64 {
    let id = session.query_first("SELECT CONNECTION_ID()");
    id.expect("a session").expect("a row")
}

#[test]
fn whatever_a_call_waits_for_it_can_be_killed() {
    let mut stage = Stage::start();
    for how in ["KILL QUERY", "KILL"] {
        let ended = stage.while_they_wait(|gman, ids| {
            for id in ids {
                gman.execute(&format!("{how} {id}"));
            }
        });
        for ((answer, took), (state, call)) in ended.into_iter().zip(WAITING) {
            println!("{how}, waiting for {state}: {took:?}: {answer:?}");
            match answer {
                Err(mysql::Error::MySqlError(error)) => {
                    assert!(error.message.contains("interrupted"), "{state}: {error}");
                }
                // The session is gone.
                Err(_) if how == "KILL" => {}
                answer => panic!("{how}, waiting for {state}: {call}: {answer:?}"),
            }
            assert!(took < SOON, "{how}, waiting for {state}: {took:?}");
        }
        let call =
            "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT gman_%'";
        wait_until(SOON, "the calls to end", || {
            match stage.gman.database.value::<u64>(call) {
                0 => Ok(()),
                calls => Err(calls),
            }
        });
        // Nobody keeps the one connection, and nothing else has suffered.
        stage.gman.call("gman_do_background('good', 'w')").text();
    }
    assert_eq!(stage.good.status()["good"].queued, 2);
    stage.stopped.cont();
    assert_eq!(stage.gman.call("gman_flush(30000)").text(), "0");
}

#[test]
fn a_shutdown_ends_whatever_waits() {
    /// What the window may take at the end.
    const TIMEOUT_MS: u32 = 1000;
    let mut stage = Stage::start();
    let began = Instant::now();
    let ended = stage.while_they_wait(|gman, _| {
        gman.set("gman_timeout_ms", TIMEOUT_MS);
        gman.database.shutdown();
    });
    let took = began.elapsed();
    for ((answer, took), (state, _)) in ended.into_iter().zip(WAITING) {
        println!("shutdown, waiting for {state}: {took:?}: {answer:?}");
        assert!(answer.is_err(), "{state}: {answer:?}");
    }
    // The test's own patience with a server is 20 seconds; then it is killed.
    assert!(took < Duration::from_secs(15), "{took:?}");
    let log = stage.gman.database.error_log();
    assert!(
        log.contains("no job server has taken these jobs: 1 for stopped"),
        "{log}"
    );
    assert!(!log.contains("got signal"), "{log}");
}
