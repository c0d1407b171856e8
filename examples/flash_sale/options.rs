//! The command line.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, value_parser};

/// Sells few items to many buyers: Redis takes the rush, MySQL gets the orders in batches.
///
/// Without a command it starts servers of its own.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) sale: Sale,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Open a sale on servers that run, send the buyers, and close the books
    Sell {
        #[command(flatten)]
        addresses: Addresses,
        #[command(flatten)]
        sale: Sale,
    },
    /// Store the orders in MySQL, until a signal asks to stop
    Orders {
        #[command(flatten)]
        addresses: Addresses,
        #[command(flatten)]
        pace: Pace,
    },
}

#[derive(Args)]
pub(crate) struct Addresses {
    /// The Gearman job server, host:port
    #[arg(long, env = "GEARMAND", default_value = "127.0.0.1:4730")]
    pub(crate) gearmand: String,

    /// Redis, host:port or redis://[user:password@]host:port/database
    #[arg(long, env = "REDIS", default_value = "127.0.0.1:6379")]
    pub(crate) redis: String,

    /// MySQL or MariaDB, mysql://user[:password]@host:port/database
    #[arg(long, env = "DATABASE", default_value = "mysql://root@127.0.0.1/test")]
    pub(crate) database: String,
}

#[derive(Args)]
pub(crate) struct Sale {
    /// What is sold: a number that has not been on sale before
    #[arg(long, default_value_t = 1)]
    pub(crate) item: u32,

    /// How many there are of it
    #[arg(long, default_value_t = 1_000)]
    pub(crate) items: u32,

    /// How many buyers come; every tenth of them clicks twice
    #[arg(long, default_value_t = 100_000)]
    pub(crate) buyers: u32,

    /// How many of them are served at once, each on a connection to Redis
    #[arg(long, default_value_t = 32, value_parser = value_parser!(u16).range(1..))]
    pub(crate) connections: u16,

    /// How long to wait after the rush until the orders are stored, in seconds
    #[arg(long, default_value_t = 120)]
    patience: u64,
}

impl Sale {
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }
}

#[derive(Args)]
pub(crate) struct Pace {
    /// How many orders are stored in one transaction, at most
    #[arg(long, default_value_t = 100, value_parser = value_parser!(u16).range(1..))]
    pub(crate) batch: u16,

    /// How many orders are stored in a second, at most: what the database can bear besides its
    /// other work
    #[arg(long, default_value_t = 500, value_parser = value_parser!(u32).range(1..))]
    orders_per_second: u32,

    /// How long an order may be pending until it is handed to gearmand again, in milliseconds
    #[arg(long, default_value_t = 5_000, value_parser = value_parser!(u64).range(1..))]
    sweep_after_ms: u64,
}

impl Pace {
    /// How long this many orders take at this pace.
    pub(crate) fn time_for(&self, orders: usize) -> Duration {
        let orders = u32::try_from(orders).unwrap_or(u32::MAX);
        Duration::from_secs(1) * orders / self.orders_per_second
    }

    pub(crate) fn sweep_after(&self) -> Duration {
        Duration::from_millis(self.sweep_after_ms)
    }
}
