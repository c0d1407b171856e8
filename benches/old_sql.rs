//! What the old names cost a statement that has none, and one that has.
//!
//! `scripts/bench old_sql` runs it: first the pure functions, on statements of 100 bytes; then, on a server
//! whose statements can be rewritten (`GMAN_TEST_SERVER=mysql-9.7`), a short statement again and again with
//! `gman_legacy_json_names` OFF and ON.

#[path = "support/median.rs"]
mod median;
#[path = "support/promise.rs"]
mod promise;
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use gearman_mysql_udf::old_sql::charset::Charset;
use gearman_mysql_udf::old_sql::tokens::Dialect;
use gearman_mysql_udf::old_sql::{is_concerned, places};
use mysql::Conn;
use mysql::prelude::Queryable;

use median::median;
use promise::Promise;
use support::Database;

/// Statements of exactly 100 bytes: without `json_`, with it in a place that means nothing, and with an old
/// call.
const STATEMENTS: [(&str, &str); 3] = [
    (
        "without json_",
        "SELECT id, name, price, created FROM shop.orders WHERE customer = 1234567 ORDER BY created LIMIT 100",
    ),
    (
        "json_ in a string",
        "SELECT id, name, price, 'json_object' FROM shop.orders WHERE customer = 12345 ORDER BY price LIMIT 1",
    ),
    (
        "an old call",
        "SELECT json_object(id AS `id`, name AS `name`) FROM shop.orders WHERE customer = 1 ORDER BY id DESC;",
    ),
];

/// What a statement without an old name may cost, in nanoseconds.
const MAX_NS: f64 = 30.0;

const DIALECT: Dialect = Dialect {
    charset: Charset::Utf8,
    backslash_escapes: true,
    ansi_quotes: false,
    version: 90_704,
    is_maria: false,
};

/// Measures what the old names cost.
#[derive(Parser)]
struct Options {
    /// How often each function is called.
    #[arg(long, default_value_t = 5_000_000)]
    calls: u32,
    /// How many statements a block has, which is sent to the server with one of the settings.
    #[arg(long, default_value_t = 1_000)]
    statements: u32,
    /// How many blocks are sent with each setting; the median of their times counts.
    #[arg(long, default_value_t = 200)]
    blocks: u32,
    /// How often each function is measured; the fastest time counts.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    println!("| statement of 100 bytes | looked through | taken apart |\n|---|---:|---:|");
    let mut without = f64::MAX;
    for (name, text) in STATEMENTS {
        assert_eq!(text.len(), 100, "{name}");
        let text = text.as_bytes();
        let looked = fastest(&options, || {
            black_box(is_concerned(black_box(text)));
        });
        let apart = is_concerned(text).then(|| {
            fastest(&options, || {
                black_box(places(black_box(text), DIALECT)).expect("memory");
            })
        });
        let apart = apart.map_or("not needed".to_owned(), |ns| format!("{ns:.0} ns"));
        println!("| {name} | {looked:.1} ns | {apart} |");
        without = without.min(looked);
    }
    in_server(&options);
    promise::judge(&[Promise {
        promised: format!("a statement of 100 bytes without json_: at most {MAX_NS} ns"),
        found: format!("{without:.1} ns"),
        kept: without <= MAX_NS,
    }])
}

/// The time of one call, in nanoseconds.
fn fastest(options: &Options, call: impl Fn()) -> f64 {
    let rounds = (0..options.rounds).map(|_| {
        let began = Instant::now();
        (0..options.calls).for_each(|_| call());
        began.elapsed()
    });
    let fastest = rounds.min().unwrap_or_default();
    fastest.as_secs_f64() * 1e9 / f64::from(options.calls)
}

/// The same statement with the hook off and on, by turns.
fn in_server(options: &Options) {
    let database = Database::start();
    database.install_functions();
    let mut session = database.connect();
    for plugin in ["gman", "gman_legacy"] {
        let install = format!("INSTALL PLUGIN {plugin} SONAME 'libgearman_mysql_udf.so'");
        if let Err(error) = session.query_drop(&install) {
            println!("\nnot measured in this server: {error}");
            return;
        }
    }
    let mut times = [Vec::new(), Vec::new()];
    for block in 0..options.blocks {
        // Each goes first in every other block, so that a machine that gets slower is slower for both.
        for place in [block % 2, (block + 1) % 2] {
            let place = place as usize;
            let set = format!(
                "SET GLOBAL gman_legacy_json_names = {}",
                ["OFF", "ON"][place]
            );
            session.query_drop(set).expect("the setting");
            times[place].push(send(&mut session, options.statements));
        }
    }
    let us = times.map(|times| median(&times).as_secs_f64() * 1e6 / f64::from(options.statements));
    println!(
        "\n| in the server, gman_legacy_json_names | a statement |\n|---|---:|\n\
         | OFF | {:.2} us |\n| ON | {:.2} us |",
        us[0], us[1]
    );
}

fn send(session: &mut Conn, statements: u32) -> Duration {
    let statement = format!("DO 1 /* {} */", "x".repeat(88));
    let began = Instant::now();
    for _ in 0..statements {
        session.query_drop(&statement).expect("a statement");
    }
    began.elapsed()
}
