//! A sale from its opening to the books.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use mysql::Conn;
use mysql::prelude::Queryable;
use redis::Commands;

use crate::books::{self, Books};
use crate::door;
use crate::lasting::{self, Failure};
use crate::options::{Addresses, Sale};
use crate::order::{PENDING, stock_key, stored_stock_key};
use crate::stop::Stop;

/// How often to look whether something has happened.
const LOOK: Duration = Duration::from_millis(50);

/// How long the trigger's job may take until the page shows the stock.
const PAGE_PATIENCE: Duration = Duration::from_secs(10);

/// How often the stock's row is touched until the page shows it.
const TOUCH: Duration = Duration::from_millis(500);

/// Sells; returns whether all is well with the books.
pub(crate) fn run(addresses: &Addresses, sale: &Sale, stop: &Stop) -> Result<bool, Failure> {
    let mut redis = lasting::redis_client(&addresses.redis)?.get_connection()?;
    let mut database = Conn::new(mysql::Opts::from_url(&addresses.database)?)?;
    open(sale, &mut redis, &mut database)?;

    let bar = bar("at the door", sale.buyers.into());
    let rush = door::rush(addresses, sale, &bar, stop)?;
    bar.finish();
    wait_until_stored(rush.told.len() as u64, sale, &mut redis, stop)?;
    wait_for_the_page(sale, &mut redis, &mut database, stop)?;
    if stop.requested() {
        return Err("interrupted; the orders that are pending in Redis are not lost".into());
    }

    let books = Books::read(sale, &rush, &mut redis, &mut database)?;
    print!("{books}");
    let problems = books.problems();
    for problem in &problems {
        eprintln!("flash_sale: {problem}");
    }
    Ok(problems.is_empty())
}

/// Brings the item into MySQL and its stock into Redis, from which the buyers take.
fn open(sale: &Sale, redis: &mut redis::Connection, database: &mut Conn) -> Result<(), Failure> {
    for statement in include_str!("sale.sql").split(";\n") {
        if !statement.trim().is_empty() {
            database.query_drop(statement)?;
        }
    }
    let (item, items) = (sale.item, sale.items);
    let was_on_sale: bool = redis.exists(stock_key(item))?;
    let row: Option<u32> =
        database.query_first(format!("SELECT id FROM sale_item WHERE id = {item}"))?;
    if was_on_sale || row.is_some() {
        return Err(format!("item {item} has been on sale before; choose another --item").into());
    }
    database.query_drop(format!("INSERT INTO sale_item VALUES ({item}, {items})"))?;
    let () = redis.set(stock_key(item), items)?;
    Ok(())
}

/// Waits until no order is pending; what is then, the books will say.
fn wait_until_stored(
    orders: u64,
    sale: &Sale,
    redis: &mut redis::Connection,
    stop: &Stop,
) -> Result<(), Failure> {
    let bar = bar("in MySQL", orders);
    let began = Instant::now();
    loop {
        let pending: u64 = redis.zcard(PENDING)?;
        bar.set_position(orders.saturating_sub(pending));
        if pending == 0 || began.elapsed() > sale.patience() || stop.requested() {
            bar.finish();
            return Ok(());
        }
        stop.pause(LOOK);
    }
}

/// Waits until the page shows the stock that the database has.
///
/// The trigger's job leaves before COMMIT, and gearmand may lose it. The next change of the row
/// corrects the page; here, where no other comes, touching it does.
fn wait_for_the_page(
    sale: &Sale,
    redis: &mut redis::Connection,
    database: &mut Conn,
    stop: &Stop,
) -> Result<(), Failure> {
    let stock = books::stock_in_mysql(sale.item, database)?;
    let began = Instant::now();
    let mut touched = began;
    loop {
        let shown: Option<u64> = redis.get(stored_stock_key(sale.item))?;
        if shown == Some(stock) || began.elapsed() > PAGE_PATIENCE || stop.requested() {
            return Ok(());
        }
        if touched.elapsed() > TOUCH {
            touched = Instant::now();
            let touch = "UPDATE sale_item SET stock = stock WHERE id = ?";
            database.exec_drop(touch, (sale.item,))?;
        }
        stop.pause(LOOK);
    }
}

/// A bar on a terminal, and nothing elsewhere.
fn bar(name: &'static str, length: u64) -> ProgressBar {
    let template =
        "{prefix:<12}{wide_bar} {human_pos:>7} of {human_len:<7} {per_sec:>14} {elapsed}";
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|error| panic!("the template {template}: {error}"));
    ProgressBar::new(length).with_style(style).with_prefix(name)
}
