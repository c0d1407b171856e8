//! The buyers, and what they meet: Redis alone. None of them waits for gearmand or MySQL.

use std::collections::BTreeSet;
use std::panic;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use redis::Script;

use crate::hand_over::HandOver;
use crate::lasting::{self, Failure, Lasting};
use crate::options::{Addresses, Sale};
use crate::order::{Order, PENDING, buyers_key, stock_key};
use crate::rate::Rate;
use crate::stop::Stop;

/// One buyer of so many clicks twice.
const IMPATIENT: u32 = 10;

/// What happened at the door.
#[derive(Debug, Default)]
pub(crate) struct Rush {
    /// Those who were told that they have one.
    pub(crate) told: BTreeSet<u32>,
    /// How many times somebody was told that.
    pub(crate) confirmations: u64,
    pub(crate) clicks: Rate,
    pub(crate) took: Duration,
}

/// What a buyer is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Taken,
    HasOne,
    SoldOut,
}

/// Lets all buyers in, and comes back when they have their answers.
pub(crate) fn rush(
    addresses: &Addresses,
    sale: &Sale,
    bar: &ProgressBar,
    stop: &Stop,
) -> Result<Rush, Failure> {
    let hand_over = HandOver::to(&addresses.gearmand)?;
    let door = Door {
        sale,
        take: Script::new(include_str!("take.lua")),
        keys: [
            stock_key(sale.item),
            buyers_key(sale.item),
            PENDING.to_owned(),
        ],
        hand_over: &hand_over,
        next_buyer: AtomicU32::new(0),
        opened: Instant::now(),
        bar,
        stop,
    };
    let tills: Vec<_> = (0..sale.connections)
        .map(|_| lasting::redis(&addresses.redis))
        .collect::<Result<_, _>>()?;
    let mut all = thread::scope(|scope| {
        let threads: Vec<_> = tills
            .into_iter()
            .map(|till| scope.spawn(|| door.serve(till)))
            .collect();
        threads
            .into_iter()
            .fold(Rush::default(), |mut all, thread| {
                all.add(
                    thread
                        .join()
                        .unwrap_or_else(|panic| panic::resume_unwind(panic)),
                );
                all
            })
    });
    all.took = door.opened.elapsed();
    let left = hand_over.finish();
    if left > 0 {
        eprintln!("flash_sale: gearmand has not got {left} orders; the sweeper will find them");
    }
    Ok(all)
}

struct Door<'a> {
    sale: &'a Sale,
    take: Script,
    /// Of `take`.
    keys: [String; 3],
    hand_over: &'a HandOver,
    next_buyer: AtomicU32,
    opened: Instant,
    bar: &'a ProgressBar,
    stop: &'a Stop,
}

impl Door<'_> {
    /// Serves one buyer after the other, until all have been.
    fn serve(&self, mut till: Lasting<redis::Connection>) -> Rush {
        let mut rush = Rush::default();
        loop {
            let buyer = self.next_buyer.fetch_add(1, Ordering::Relaxed);
            if buyer >= self.sale.buyers {
                return rush;
            }
            let clicks = if buyer.is_multiple_of(IMPATIENT) {
                2
            } else {
                1
            };
            for _ in 0..clicks {
                let Some(answer) = self.click(&mut till, buyer) else {
                    return rush;
                };
                rush.clicks.count(self.opened.elapsed(), 1);
                // Who asks again after an error may have one from the first time.
                if answer != Answer::SoldOut {
                    rush.told.insert(buyer);
                    rush.confirmations += 1;
                }
            }
            self.bar.inc(1);
        }
    }

    /// `None` when a signal asks to stop.
    fn click(&self, till: &mut Lasting<redis::Connection>, buyer: u32) -> Option<Answer> {
        let order = Order {
            item: self.sale.item,
            buyer,
        };
        let mut take = self.take.prepare_invoke();
        take.key(&self.keys).arg(buyer).arg(order.text());
        let answer = till.until_done(self.stop, |redis| Answer::of(take.invoke(redis)?))?;
        if answer == Answer::Taken
            && let Err(error) = self.hand_over.later(order)
        {
            // It is pending in Redis: the sweeper finds it there.
            eprintln!("flash_sale: {error}");
        }
        Some(answer)
    }
}

impl Answer {
    /// The numbers of `take.lua`.
    fn of(number: i64) -> Result<Self, Failure> {
        match number {
            0 => Ok(Self::SoldOut),
            1 => Ok(Self::Taken),
            2 => Ok(Self::HasOne),
            other => Err(format!("expected 0, 1 or 2 from take.lua, found {other}").into()),
        }
    }
}

impl Rush {
    fn add(&mut self, other: Self) {
        self.told.extend(other.told);
        self.confirmations += other.confirmations;
        self.clicks.add(&other.clicks);
    }
}
