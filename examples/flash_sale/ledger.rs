//! Where orders come to rest: MySQL, and then Redis is told.

use std::collections::{BTreeMap, BTreeSet};

use mysql::prelude::Queryable;
use mysql::{Conn, TxOpts};

use crate::lasting::Lasting;
use crate::order::{Order, PENDING, REPEATED};
use crate::stop::Stop;

/// What MySQL says to orders that it will never take: there is no such item (`ER_NO_REFERENCED_ROW_2`),
/// or no stock left of it (`ER_DATA_OUT_OF_RANGE`).
const REFUSALS: [u16; 2] = [1452, 1690];

pub(crate) struct Ledger {
    pub(crate) database: Lasting<Conn>,
    pub(crate) redis: Lasting<redis::Connection>,
}

/// What became of orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stored {
    /// They are in MySQL, some perhaps from an earlier time, and pending no more.
    Committed,
    /// MySQL will not have them; why.
    Refused(String),
}

impl Ledger {
    /// Stores the orders, those of an item in one transaction; returns what became of each item's.
    /// `None` when a signal asks to stop before that.
    pub(crate) fn store(&mut self, orders: &[Order], stop: &Stop) -> Option<BTreeMap<u32, Stored>> {
        let mut by_item: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for order in orders {
            by_item.entry(order.item).or_default().insert(order.buyer);
        }
        let mut outcome = BTreeMap::new();
        for (item, buyers) in by_item {
            outcome.insert(item, self.store_item(item, &buyers, stop)?);
        }
        Some(outcome)
    }

    fn store_item(&mut self, item: u32, buyers: &BTreeSet<u32>, stop: &Stop) -> Option<Stored> {
        let task = |session: &mut Conn| match insert(session, item, buyers) {
            Err(mysql::Error::MySqlError(error)) if REFUSALS.contains(&error.code) => {
                Ok(Err(error.message))
            }
            outcome => Ok(Ok(outcome?)),
        };
        match self.database.until_done(stop, task)? {
            Ok(new) => {
                let repeated = buyers.len() as u64 - new;
                self.confirm(item, buyers, repeated, stop)?;
                Some(Stored::Committed)
            }
            Err(refusal) => Some(Stored::Refused(refusal)),
        }
    }

    /// Takes the orders off the list of pending ones. Only after COMMIT: what is pending can still
    /// be handed over again, whatever dies.
    fn confirm(
        &mut self,
        item: u32,
        buyers: &BTreeSet<u32>,
        repeated: u64,
        stop: &Stop,
    ) -> Option<()> {
        let orders: Vec<String> = buyers
            .iter()
            .map(|&buyer| Order { item, buyer }.text())
            .collect();
        let mut confirm = redis::pipe();
        confirm.atomic().zrem(PENDING, orders).ignore();
        confirm.incr(REPEATED, repeated).ignore();
        self.redis
            .until_done(stop, |redis| Ok(confirm.exec(redis)?))
    }
}

/// Writes the orders of an item that are not there yet, and takes them off its stock, which fires
/// the trigger; returns how many these were.
fn insert(session: &mut Conn, item: u32, buyers: &BTreeSet<u32>) -> mysql::Result<u64> {
    let rows: Vec<String> = buyers
        .iter()
        .map(|buyer| format!("({item}, {buyer})"))
        .collect();
    let insert = format!(
        "INSERT INTO sale_order (item, buyer) VALUES {} ON DUPLICATE KEY UPDATE buyer = buyer",
        rows.join(", ")
    );
    let mut transaction = session.start_transaction(TxOpts::default())?;
    transaction.query_drop(insert)?;
    // A row that stays as it is does not count.
    let new = transaction.affected_rows();
    if new > 0 {
        let sell = format!("UPDATE sale_item SET stock = stock - {new} WHERE id = {item}");
        transaction.query_drop(sell)?;
    }
    transaction.commit()?;
    Ok(new)
}
