//! The flash sale sells what there is, once, and stores what it has sold, whatever is killed.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use redis::Commands;

use crate::support::{FlashSale, Process, example, wait_until};

const PATIENCE: Duration = Duration::from_secs(120);

const ITEMS: u64 = 100;
const BUYERS: u64 = 5_000;
const SALE: [&str; 2] = ["--items=100", "--buyers=5000"];

/// Slow enough to be caught in the middle, and quick to hand over again what is pending.
const SLOWLY: [&str; 3] = [
    "--batch=5",
    "--orders-per-second=20",
    "--sweep-after-ms=1000",
];

fn start() -> FlashSale {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    FlashSale::start(PROGRAM.get_or_init(|| example("flash_sale")).clone())
}

/// Waits until the sale is over; returns its exit status and what it printed.
fn finish(sale: &mut Process) -> (Option<i32>, String) {
    let status = wait_until(PATIENCE, "the sale to end", || {
        sale.exit_status().ok_or_else(|| sale.log())
    });
    (status.code(), sale.log())
}

/// The number behind `name` in what a sale printed.
fn figure(printed: &str, name: &str) -> u64 {
    printed
        .lines()
        .find_map(|line| {
            line.strip_prefix(name)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .unwrap_or_else(|| panic!("expected a line \"{name} NUMBER\" in\n{printed}"))
}

fn orders_in_mysql(sale: &FlashSale) -> u64 {
    let table = "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'sale_order'";
    match sale.database.value(table) {
        0 => 0,
        _ => sale.database.value("SELECT COUNT(*) FROM sale_order"),
    }
}

fn wait_for_the_middle(sale: &FlashSale) {
    wait_until(
        PATIENCE,
        "a part of the orders to be stored",
        || match orders_in_mysql(sale) {
            stored @ 0..20 => Err(stored),
            _ => Ok(()),
        },
    );
    let stored = orders_in_mysql(sale);
    assert!(stored < ITEMS, "too late: {stored} orders are stored");
}

/// What the sale printed, and the servers' own data, say that every piece was sold once.
fn assert_sold_out_in_order(sale: &FlashSale, (status, printed): &(Option<i32>, String)) {
    assert_eq!(*status, Some(0), "{printed}");
    let figures = ["buyers", "orders", "oversold", "lost", "duplicates"];
    let found = figures.map(|name| figure(printed, name));
    assert_eq!(found, [BUYERS, ITEMS, 0, 0, 0], "{printed}");
    assert!(figure(printed, "peak at the door") >= ITEMS, "{printed}");
    assert!(
        (1..=ITEMS).contains(&figure(printed, "peak at MySQL")),
        "{printed}"
    );

    let books: (u64, u64, u64) = sale.database.query(
        "SELECT COUNT(*), COUNT(DISTINCT buyer), (SELECT stock FROM sale_item) FROM sale_order",
    )[0];
    assert_eq!(books, (ITEMS, ITEMS, 0));
    let mut redis = sale.redis.connect();
    let pending: u64 = redis.zcard("sale:pending").expect("the pending orders");
    let buyers: u64 = redis.scard("stock:1:buyers").expect("the buyers");
    assert_eq!((pending, buyers), (0, ITEMS));
    assert_eq!(sale.redis.get("stock:1").as_deref(), Some("0"));
    assert_eq!(sale.redis.get("stock:1:stored").as_deref(), Some("0"));
}

#[test]
fn five_thousand_buyers_get_a_hundred_items_once_each() {
    let servers = start();
    let _orders = servers.orders_worker(&[]);
    let outcome = finish(&mut servers.sell(&SALE));
    assert_sold_out_in_order(&servers, &outcome);
    // Every tenth buyer clicks twice.
    assert!(outcome.1.contains("5500 clicks"), "{}", outcome.1);
}

#[test]
fn two_workers_store_every_order_once() {
    let servers = start();
    let _workers = [
        servers.orders_worker(&SLOWLY),
        servers.orders_worker(&SLOWLY),
    ];
    let outcome = finish(&mut servers.sell(&SALE));
    assert_sold_out_in_order(&servers, &outcome);
}

#[test]
fn a_killed_orders_worker_loses_and_repeats_nothing() {
    let servers = start();
    let mut orders = servers.orders_worker(&SLOWLY);
    let mut sale = servers.sell(&SALE);
    wait_for_the_middle(&servers);
    orders.kill();
    let _next = servers.orders_worker(&SLOWLY);
    assert_sold_out_in_order(&servers, &finish(&mut sale));
}

#[test]
fn orders_that_gearmand_loses_are_handed_over_again() {
    let mut servers = start();
    let orders = servers.orders_worker(&SLOWLY);
    let mut sale = servers.sell(&SALE);
    wait_for_the_middle(&servers);
    let queued = servers.gearmand.status()["storeOrder"].queued;
    assert!(queued > 10, "{queued} orders to lose");
    servers.gearmand.kill();
    servers.gearmand.restart();
    assert_sold_out_in_order(&servers, &finish(&mut sale));
    let log = orders.log();
    assert!(log.contains("pending orders over again"), "{log}");
}

#[test]
fn a_door_that_dies_before_the_hand_over_loses_no_order() {
    let servers = start();
    let orders = servers.orders_worker(&SLOWLY);
    servers.gearmand.stop();
    let mut sale = servers.sell(&SALE);
    wait_until(PATIENCE, "the stock to be taken", || {
        match servers.redis.get("stock:1").as_deref() {
            Some("0") => Ok(()),
            other => Err(other.map(str::to_owned)),
        }
    });
    sale.kill();
    servers.gearmand.cont();

    wait_until(
        PATIENCE,
        "all orders to be stored",
        || match orders_in_mysql(&servers) {
            ITEMS => Ok(()),
            stored => Err((stored, orders.log())),
        },
    );
    let buyers: u64 = servers
        .database
        .value("SELECT COUNT(DISTINCT buyer) FROM sale_order");
    assert_eq!(buyers, ITEMS);
    wait_until(PATIENCE, "no order to be pending", || {
        let pending: u64 = servers
            .redis
            .connect()
            .zcard("sale:pending")
            .expect("the count");
        if pending == 0 { Ok(()) } else { Err(pending) }
    });
}

#[test]
fn a_sale_whose_orders_are_not_stored_fails_and_says_how_many() {
    let servers = start();
    let (status, printed) = finish(&mut servers.sell(&[&SALE[..], &["--patience=1"]].concat()));
    assert_eq!(status, Some(1), "{printed}");
    assert_eq!(figure(&printed, "lost"), ITEMS);
    let complaint = "lost orders: expected 0, found 100";
    assert!(printed.contains(complaint), "{printed}");
}

#[test]
fn an_item_is_on_sale_once() {
    let servers = start();
    let _orders = servers.orders_worker(&[]);
    assert_sold_out_in_order(&servers, &finish(&mut servers.sell(&SALE)));
    let (status, printed) = finish(&mut servers.sell(&SALE));
    assert_eq!(status, Some(1), "{printed}");
    assert!(
        printed.contains("item 1 has been on sale before"),
        "{printed}"
    );
}

#[test]
fn a_job_that_is_no_order_or_of_no_item_holds_nobody_up() {
    let servers = start();
    let orders = servers.orders_worker(&[]);
    for workload in ["no order", r#"{"item":7,"buyer":1}"#] {
        let sql = format!("SELECT gman_do_background('storeOrder', '{workload}')");
        let _handle: String = servers.database.value(&sql);
    }
    assert_sold_out_in_order(&servers, &finish(&mut servers.sell(&SALE)));
    let log = orders.log();
    assert!(log.contains("the workload was: no order"), "{log}");
    assert!(
        log.contains(r#"the workload was: {"item":7,"buyer":1}"#),
        "{log}"
    );
}
