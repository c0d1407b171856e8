//! What JSON costs for each row: our function against the server's own, in one server and one run.
//!
//! `scripts/bench json` runs it. Every statement reads the same rows; the time of the plain scan is
//! taken off before two are compared. `GMAN_TEST_SERVER` chooses the server.

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use clap::Parser;
use mysql::prelude::Queryable;
use mysql::{Conn, Row};

use support::Database;

/// What is measured, and its SQL. The first is the scan; the others are compared with the second.
const STATEMENTS: [(&str, &str); 4] = [
    (
        "scan",
        "SELECT COUNT(id), COUNT(name), COUNT(price), COUNT(created) FROM t",
    ),
    (
        "native JSON_OBJECT",
        "SELECT COUNT(JSON_OBJECT('id', id, 'name', name, 'price', price, 'created', created)) FROM t",
    ),
    (
        "json_object_udf, names",
        "SELECT COUNT(json_object_udf(id, name, price, created)) FROM t",
    ),
    (
        "json_object_udf, pairs",
        "SELECT COUNT(json_object_udf('id', id, 'name', name, 'price', price, 'created', created)) FROM t",
    ),
];

/// Measures the JSON functions.
#[derive(Parser)]
struct Options {
    /// How many rows the table has.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u32,
    /// How often each statement runs; the fastest time counts.
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    let database = Database::builder()
        .option("--innodb-buffer-pool-size=512M")
        .start();
    database.install_functions();
    let mut session = database.connect();
    fill(&mut session, options.rows);

    let version: String = database.value("SELECT VERSION()");
    println!(
        "{version}, {} rows, fastest of {} rounds\n",
        options.rows, options.rounds
    );
    print_table(&measure(&mut session, &options), options.rows);
}

/// Makes the table, doubling it until it is large enough.
fn fill(session: &mut Conn, rows: u32) {
    let execute = |session: &mut Conn, sql: &str| {
        session
            .query_drop(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    };
    execute(
        session,
        "CREATE TABLE t (
           id INT NOT NULL PRIMARY KEY, name VARCHAR(40), price DECIMAL(10,2), created DATETIME
         ) DEFAULT CHARSET=utf8mb4 ENGINE=InnoDB",
    );
    execute(session, "INSERT INTO t (id) VALUES (0)");
    let mut filled = 1;
    while filled < rows {
        let more = filled.min(rows - filled);
        execute(
            session,
            &format!("INSERT INTO t (id) SELECT id + {filled} FROM t WHERE id < {more}"),
        );
        filled += more;
    }
    execute(
        session,
        "UPDATE t SET name = CONCAT('customer ', id), price = id % 100000 / 100,
                      created = '2020-01-01' + INTERVAL id SECOND",
    );
    execute(session, "ANALYZE TABLE t");
}

/// The fastest time of each statement; `None` if the server does not know the function. The
/// statements take turns, so that what disturbs the machine disturbs all of them.
fn measure(session: &mut Conn, options: &Options) -> Vec<Option<Duration>> {
    let mut fastest = vec![None; STATEMENTS.len()];
    for _ in 0..options.rounds {
        for (fastest, (_, sql)) in fastest.iter_mut().zip(STATEMENTS) {
            let begin = Instant::now();
            match session.query_first::<Row, _>(sql) {
                Ok(counts) => {
                    let count: Option<u32> = counts.and_then(|row| row.get(0));
                    assert_eq!(count, Some(options.rows), "{sql}");
                }
                Err(mysql::Error::MySqlError(error)) if error.code == NO_FUNCTION => continue,
                Err(error) => panic!("{sql}: {error}"),
            }
            let time = begin.elapsed();
            *fastest = Some(fastest.map_or(time, |before: Duration| before.min(time)));
        }
    }
    fastest
}

/// `ER_SP_DOES_NOT_EXIST`.
const NO_FUNCTION: u16 = 1305;

fn print_table(times: &[Option<Duration>], rows: u32) {
    let seconds = |i: usize| times[i].map(|time| time.as_secs_f64());
    let scan = seconds(0).expect("a time of the scan");
    let native = seconds(1).map(|time| time - scan);
    println!("| statement              |    time | without scan |   a row | to native |");
    println!("|------------------------|--------:|-------------:|--------:|----------:|");
    for (i, (name, _)) in STATEMENTS.iter().enumerate() {
        let Some(time) = seconds(i) else {
            println!("| {name:<22} |       - |            - |       - |         - |");
            continue;
        };
        let cost = time - scan;
        let per_row = cost * 1e9 / f64::from(rows);
        let ratio = match native {
            Some(native) if i > 0 => format!("{:.2}", cost / native),
            _ => "-".to_owned(),
        };
        println!("| {name:<22} | {time:5.3} s | {cost:10.3} s | {per_row:4.0} ns | {ratio:>9} |");
    }
}
