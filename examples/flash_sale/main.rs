//! A flash sale: many buyers, few items. The rush stays in memory, and the database gets the orders
//! at the pace it can bear.
//!
//! ```text
//!  buyers -> Redis, take.lua: stock - 1, order pending        [door]
//!              |  the order is a background job                [hand_over]
//!              v
//!           gearmand -> orders worker -> MySQL, in batches     [orders, ledger]
//!              ^             | COMMIT: the order is pending no more
//!              |             v
//!           trigger      stock in MySQL -> stock:ITEM:stored in Redis, for the page
//! ```
//!
//! `docs/flash-sale.md` tells why no order is lost and none is stored twice.
//!
//! - `flash_sale` starts servers of its own and sells: `scripts/demo --sale` runs it.
//! - `flash_sale sell` opens a sale on servers that run, sends the buyers and closes the books.
//! - `flash_sale orders` stores the orders; as many of them as wanted.

mod books;
mod door;
mod hand_over;
mod lasting;
mod ledger;
mod options;
mod order;
mod orders;
mod rate;
mod sell;
mod stop;
mod sweeper;

#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::env;
use std::panic;
use std::process::ExitCode;

use clap::Parser;

use lasting::Failure;
use options::{Addresses, Command, Options, Sale};
use stop::Stop;
use support::FlashSale;

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("flash_sale: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether all is well with the books.
fn run(options: Options) -> Result<bool, Failure> {
    let stop = Stop::on_signals()?;
    match options.command {
        Some(Command::Orders { addresses, pace }) => {
            orders::work(&addresses, &pace, &stop)?;
            Ok(true)
        }
        Some(Command::Sell { addresses, sale }) => sell::run(&addresses, &sale, &stop),
        None => on_own_servers(&options.sale, &stop),
    }
}

fn on_own_servers(sale: &Sale, stop: &Stop) -> Result<bool, Failure> {
    // The support code reports what goes wrong by panicking, which also stops the servers.
    panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        eprintln!("flash_sale: {message}");
    }));
    println!("Starting MariaDB, gearmand, Redis and the workers");
    let servers = FlashSale::start(env::current_exe()?);
    let _orders = servers.orders_worker(&[]);
    let addresses = Addresses {
        gearmand: servers.gearmand.address(),
        redis: servers.redis.address(),
        database: servers.database_url(),
    };
    sell::run(&addresses, sale, stop)
}
