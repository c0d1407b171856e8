//! What it costs that COMMIT waits for gearmand (`gman_commit_wait`), beside the deliveries that it competes with.

use std::time::Duration;

use mysql::Conn;
use mysql::prelude::Queryable;

use crate::in_transactions::{BLOCK, WARM_UP, deliver, flush, update_one_by_one};
use crate::median::median;
use crate::promise::Promise;
use crate::support::Database;
use crate::trigger_table::{self, assert_jobs, query, update};

/// How many rows the statement updates.
const ROWS: u32 = 20_000;

/// How often everything is measured; the median counts.
const ROUNDS: usize = 15;

/// A way of delivery, and its times.
pub(crate) struct Way {
    name: &'static str,
    delivery: &'static str,
    waits: bool,
    /// Of the one statement with its commit.
    statements: Vec<Duration>,
    /// Of blocks of single rows.
    blocks: Vec<Duration>,
}

impl Way {
    const fn new(name: &'static str, delivery: &'static str, waits: bool) -> Self {
        Self {
            name,
            delivery,
            waits,
            statements: Vec::new(),
            blocks: Vec::new(),
        }
    }

    fn measure(&mut self, database: &Database, session: &mut Conn) {
        let wait = if self.waits { "ON" } else { "OFF" };
        query(session, &format!("SET GLOBAL gman_commit_wait = {wait}"));
        let gearmand = deliver(session, self.delivery);
        self.statements.push(update(session, ROWS));
        self.settle(session);
        assert_jobs(&gearmand, ROWS);
        self.blocks.push(update_one_by_one(database));
        self.settle(session);
        assert_jobs(&gearmand, ROWS + WARM_UP + BLOCK);
    }

    /// Without it, jobs may still be on their way.
    fn settle(&self, session: &mut Conn) {
        if !self.waits {
            flush(session);
        }
    }

    fn statement_s(&self) -> f64 {
        median(&self.statements).as_secs_f64()
    }

    fn single_us(&self) -> f64 {
        median(&self.blocks).as_secs_f64() * 1e6 / f64::from(BLOCK)
    }
}

/// Measures, on a server with a binary log, without which a MariaDB cannot have it; nothing where it cannot be had.
pub(crate) fn measure() -> Option<[Way; 3]> {
    let database = Database::builder()
        .library()
        .option("--log-bin=log")
        .option("--server-id=1")
        .configuration("plugin-load-add=libgearman_mysql_udf.so")
        .configuration("gman_timeout_ms=60000\ngman_on_failure=error")
        .start();
    database.install_functions();
    let mut session = database.connect();
    if let Err(refused) = session.query_drop("SET GLOBAL gman_commit_wait = ON") {
        eprintln!("not measured: {refused}");
        return None;
    }
    trigger_table::create(&mut session, ROWS);
    let mut ways = [
        Way::new("acked", "acked", false),
        Way::new("committed", "committed", false),
        Way::new("committed, COMMIT waits", "committed", true),
    ];
    for round in 0..ROUNDS {
        for place in 0..ways.len() {
            // They take turns in being the first.
            ways[(round + place) % 3].measure(&database, &mut session);
        }
    }
    Some(ways)
}

/// Prints the table.
pub(crate) fn report(ways: &[Way; 3]) -> [Promise; 2] {
    println!(
        "\n| with a binary log | UPDATE of {ROWS} rows | a transaction of one row |\n|---|---|---|"
    );
    for way in ways {
        println!(
            "| {} | {:.3} s | {:.1} us |",
            way.name,
            way.statement_s(),
            way.single_us()
        );
    }
    let [acked, committed, waiting] = ways;
    let statement = waiting.statement_s() / committed.statement_s();
    let single = waiting.single_us() / acked.single_us();
    [
        Promise {
            promised: "COMMIT waits, one statement: at most 1.5 times committed".into(),
            found: format!("{statement:.2} times"),
            kept: statement <= 1.5,
        },
        Promise {
            promised: "COMMIT waits, single rows: at most the time of acked".into(),
            found: format!("{single:.2} times"),
            kept: single <= 1.0,
        },
    ]
}
