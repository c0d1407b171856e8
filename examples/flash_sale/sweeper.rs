//! Hands over again what has been pending for too long: the orders of a buyer who died after
//! taking stock, of a job that gearmand lost, of a worker that was killed.

use std::time::Duration;

use redis::Script;

use crate::hand_over::HandOver;
use crate::lasting::{self, Failure};
use crate::options::Addresses;
use crate::order::PENDING;
use crate::stop::Stop;

/// How many orders are handed over in one go.
const BATCH: usize = 1000;

/// An order waits for the sweeper a quarter longer than it has to, at most.
const LOOKS: u32 = 4;

/// Sweeps until a signal asks to stop.
pub(crate) fn sweep(addresses: &Addresses, after: Duration, stop: &Stop) -> Result<(), Failure> {
    let hand_over = HandOver::to(&addresses.gearmand)?;
    let mut redis = lasting::redis(&addresses.redis)?;
    let script = Script::new(include_str!("sweep.lua"));
    let mut claim = script.key(PENDING);
    claim.arg(after.as_millis().to_string()).arg(BATCH);
    loop {
        stop.pause(after / LOOKS);
        let due: Option<Vec<String>> = redis.until_done(stop, |redis| Ok(claim.invoke(redis)?));
        let Some(due) = due else {
            return Ok(());
        };
        match hand_over_all(&hand_over, &due) {
            0 => {}
            count => eprintln!("flash_sale: handed {count} pending orders over again"),
        }
        if stop.requested() {
            return Ok(());
        }
    }
}

/// Returns how many gearmand has now. The others are due again in a while.
fn hand_over_all(hand_over: &HandOver, orders: &[String]) -> usize {
    for (count, order) in orders.iter().enumerate() {
        if let Err(error) = hand_over.now(order) {
            eprintln!(
                "flash_sale: {} orders stay pending: {error}",
                orders.len() - count
            );
            return count;
        }
    }
    orders.len()
}
