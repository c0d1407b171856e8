//! What is true at the end, from the data: Redis, MySQL, and what the buyers were told.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use mysql::Conn;
use mysql::prelude::Queryable;
use redis::Commands;

use crate::door::Rush;
use crate::lasting::Failure;
use crate::options::Sale;
use crate::order::{PENDING, REPEATED, buyers_key, stock_key, stored_stock_key};
use crate::rate::Rate;

/// All that there is to compare.
pub(crate) struct Books<'a> {
    sale: &'a Sale,
    rush: &'a Rush,
    /// Those who took a piece, as Redis knows them.
    taken: BTreeSet<u32>,
    stock_in_redis: u64,
    pending: u64,
    repeated: u64,
    /// `None` if the trigger's job has not arrived.
    shown_on_the_page: Option<u64>,
    /// Those who have an order in MySQL; twice where one has two.
    orders: Vec<u32>,
    stock_in_mysql: u64,
    stored: Rate,
    transactions: usize,
}

impl<'a> Books<'a> {
    pub(crate) fn read(
        sale: &'a Sale,
        rush: &'a Rush,
        redis: &mut redis::Connection,
        database: &mut Conn,
    ) -> Result<Self, Failure> {
        let item = sale.item;
        let batches: Vec<(u64, u64)> = database.query(format!(
            "SELECT TIMESTAMPDIFF(MICROSECOND, began, stored_at) AS at, COUNT(*)
             FROM sale_order, (SELECT MIN(stored_at) AS began FROM sale_order WHERE item = {item}) AS first
             WHERE item = {item} GROUP BY at ORDER BY at"
        ))?;
        let mut stored = Rate::default();
        for (at, orders) in &batches {
            stored.count(Duration::from_micros(*at), *orders);
        }
        let orders = format!("SELECT buyer FROM sale_order WHERE item = {item}");
        Ok(Self {
            sale,
            rush,
            taken: redis.smembers(buyers_key(item))?,
            stock_in_redis: redis.get(stock_key(item))?,
            pending: redis.zcard(PENDING)?,
            repeated: redis.get::<_, Option<u64>>(REPEATED)?.unwrap_or(0),
            shown_on_the_page: redis.get(stored_stock_key(item))?,
            orders: database.query(orders)?,
            stock_in_mysql: stock_in_mysql(item, database)?,
            stored,
            transactions: batches.len(),
        })
    }

    /// Orders, and promises of one, beyond what there was.
    fn oversold(&self) -> usize {
        let promised = self.taken.union(&self.rush.told).count();
        promised
            .max(self.orders.len())
            .saturating_sub(self.sale.items as usize)
    }

    /// Those who took a piece, or were told so, and have no order.
    fn lost(&self) -> usize {
        let stored: BTreeSet<u32> = self.orders.iter().copied().collect();
        let promised = self.taken.union(&self.rush.told);
        promised.filter(|buyer| !stored.contains(buyer)).count()
    }

    /// Second orders of a buyer.
    fn duplicates(&self) -> usize {
        let buyers: BTreeSet<&u32> = self.orders.iter().collect();
        self.orders.len() - buyers.len()
    }

    /// What is wrong; nothing where all is well.
    pub(crate) fn problems(&self) -> Vec<String> {
        let items = u64::from(self.sale.items);
        let orders = self.orders.len() as u64;
        let expected = [
            ("oversold", self.oversold() as u64, 0),
            ("lost orders", self.lost() as u64, 0),
            ("duplicate orders", self.duplicates() as u64, 0),
            ("orders pending in Redis", self.pending, 0),
            ("orders", orders, items.min(u64::from(self.sale.buyers))),
            ("buyers in Redis", self.taken.len() as u64, orders),
            (
                "buyers told that they have one",
                self.rush.told.len() as u64,
                orders,
            ),
            (
                "orders and the stock in Redis",
                self.stock_in_redis + orders,
                items,
            ),
            (
                "orders and the stock in MySQL",
                self.stock_in_mysql + orders,
                items,
            ),
        ];
        let mut problems: Vec<String> = expected
            .into_iter()
            .filter(|(_, found, expected)| found != expected)
            .map(|(what, found, expected)| format!("{what}: expected {expected}, found {found}"))
            .collect();
        if self.shown_on_the_page != Some(self.stock_in_mysql) {
            problems.push(format!(
                "stock on the page: expected {}, found {:?}; is there a gman worker, and what does gman_check() say?",
                self.stock_in_mysql, self.shown_on_the_page
            ));
        }
        problems
    }
}

impl fmt::Display for Books<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clicks = self.rush.clicks.total();
        let refused = self.rush.confirmations - self.rush.told.len() as u64;
        let seconds = self.rush.took.as_secs_f64();
        let line = |f: &mut fmt::Formatter<'_>, name: &str, value: u64, note: &str| {
            let line = format!("{name:<17}{value:>9}  {note}");
            writeln!(f, "{}", line.trim_end())
        };
        let of = format!("of {} items", self.sale.items);
        let clicked = format!("{clicks} clicks in {seconds:.2} s");
        let twice = format!("{refused} buyers with an order clicked again and got no second one");
        let harmless = format!("{} repeated jobs did no harm", self.repeated);
        let batches = format!("orders a second, in {} transactions", self.transactions);
        line(f, "buyers", self.sale.buyers.into(), &clicked)?;
        line(f, "orders", self.orders.len() as u64, &of)?;
        line(f, "oversold", self.oversold() as u64, &twice)?;
        line(f, "lost", self.lost() as u64, "")?;
        line(f, "duplicates", self.duplicates() as u64, &harmless)?;
        line(
            f,
            "peak at the door",
            self.rush.clicks.peak(),
            "clicks a second",
        )?;
        line(f, "peak at MySQL", self.stored.peak(), &batches)
    }
}

pub(crate) fn stock_in_mysql(item: u32, database: &mut Conn) -> Result<u64, Failure> {
    let stock = database.query_first(format!("SELECT stock FROM sale_item WHERE id = {item}"))?;
    stock.ok_or_else(|| format!("there is no item {item} in sale_item").into())
}
