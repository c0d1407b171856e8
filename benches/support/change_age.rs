//! How old a change is when Redis has it, by the worker's own numbers.

use std::fmt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;

use crate::support::{Database, Gearmand, Port, Redis, RedisWorker, gman_program, run, wait_until};

const SESSIONS: u32 = 4;
const CHANGES_A_SECOND: u32 = 1000;
const SECONDS: u32 = 10;
const ROWS: u32 = 1000;

/// Two of its quantiles, in seconds: no more than these.
pub(crate) struct ChangeAge {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl fmt::Display for ChangeAge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{CHANGES_A_SECOND} changes a second by {SESSIONS} sessions, `committed`, for {SECONDS} s: half of them are in \
             Redis after {:.2} ms, 99 of 100 after {:.2} ms",
            self.p50 * 1000.0,
            self.p99 * 1000.0
        )
    }
}

/// Changes rows one by one at a steady pace; `None` if this server cannot deliver at commit.
pub(crate) fn measure() -> Option<ChangeAge> {
    let (database, gearmand, redis) = (
        Database::builder().library().start(),
        Gearmand::start(),
        Redis::without_persistence(),
    );
    database.install_functions();
    let mut session = database.connect();
    for plugin in ["gman", "gman_commit"] {
        let sql = format!("INSTALL PLUGIN {plugin} SONAME 'libgearman_mysql_udf.so'");
        session.query_drop(sql).ok()?;
    }
    database.execute(&format!(
        "SET GLOBAL gman_servers = '{}'",
        gearmand.address()
    ));
    database.execute("SET GLOBAL gman_delivery = 'committed'");
    database.execute("CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB");
    for id in 1..=ROWS {
        database.execute(&format!("INSERT INTO t VALUES ({id}, 0)"));
    }
    let server = format!(
        "mysql://root@localhost?socket={}",
        database.socket().display()
    );
    let triggers = ["triggers", "test.t", "--create", "--mysql", &server];
    run(Command::new(gman_program())
        .args(triggers)
        .env_remove("HOME"));
    let port = Port::free();
    let metrics = format!("127.0.0.1:{}", port.number());
    let options = [
        format!("--gearmand={}", gearmand.address()),
        format!("--redis={}", redis.address()),
        format!("--metrics={metrics}"),
    ];
    let _worker = RedisWorker::start_bare(&[&gearmand], &options);
    thread::scope(|scope| {
        for number in 0..SESSIONS {
            let database = &database;
            scope.spawn(move || change(database, number));
        }
    });
    let expected = u64::from(SESSIONS * of_one_session());
    let url = format!("http://{metrics}/metrics");
    let buckets = wait_until(Duration::from_secs(60), "every change in Redis", || {
        let mut answer = ureq::get(&url).call().expect("the worker's numbers");
        let buckets = buckets(&answer.body_mut().read_to_string().expect("a text"));
        match buckets.last() {
            Some(&(_, count)) if count == expected => Ok(buckets),
            last => Err(last.copied()),
        }
    });
    let quantile = |part| quantile(&buckets, part);
    Some(ChangeAge {
        p50: quantile(0.5),
        p99: quantile(0.99),
    })
}

fn of_one_session() -> u32 {
    CHANGES_A_SECOND * SECONDS / SESSIONS
}

fn change(database: &Database, session: u32) {
    let mut conn = database.connect();
    let update = conn
        .prep("UPDATE t SET n = n + 1 WHERE id = ?")
        .expect("a statement");
    let pause = Duration::from_secs(1) * SESSIONS / CHANGES_A_SECOND;
    let began = Instant::now();
    for n in 0..of_one_session() {
        thread::sleep((pause * n).saturating_sub(began.elapsed()));
        let id = 1 + (n * SESSIONS + session) % ROWS;
        conn.exec_drop(&update, (id,)).expect("an update");
    }
}

/// The upper bounds of the histogram's buckets, and how many changes are below each.
fn buckets(text: &str) -> Vec<(f64, u64)> {
    text.lines()
        .filter_map(|line| {
            let rest = line.strip_prefix("gman_worker_change_age_seconds_bucket{le=\"")?;
            let (bound, count) = rest.split_once("\"} ")?;
            Some((bound.parse().ok()?, count.parse().ok()?))
        })
        .collect()
}

/// As `histogram_quantile` of Prometheus: within a bucket, changes count as spread evenly.
fn quantile(buckets: &[(f64, u64)], part: f64) -> f64 {
    let wanted = buckets.last().map_or(0.0, |&(_, all)| all as f64 * part);
    let (mut low, mut below) = (0.0, 0.0);
    for &(bound, count) in buckets {
        let count = count as f64;
        if count >= wanted {
            return low + (bound - low) * (wanted - below) / (count - below).max(1.0);
        }
        (low, below) = (bound, count);
    }
    f64::INFINITY
}
