//! Orders become background jobs.

use std::time::Duration;

use gearman_mysql_udf::error::Error;
use gearman_mysql_udf::gearman::delivery::client::Client;
use gearman_mysql_udf::gearman::delivery::events::Event;
use gearman_mysql_udf::gearman::limits::Limits;
use gearman_mysql_udf::gearman::wire::job::{Job, Mode, Priority};

use crate::order::Order;

/// The Gearman function that stores an order.
pub(crate) const FUNCTION: &str = "storeOrder";

const LIMITS: Limits = Limits {
    connect: Duration::from_millis(250),
    submit: Duration::from_secs(1),
    run: Duration::from_secs(1),
    connections: 1,
    window_bytes: 16 << 20,
    transaction_bytes: 64 << 20,
};

/// The way to gearmand; many threads may use it at once.
pub(crate) struct HandOver {
    client: Client,
}

impl HandOver {
    pub(crate) fn to(servers: &str) -> Result<Self, Error> {
        let client = Client::with_listener(|event| match event {
            Event::Refused { error, .. }
            | Event::SetAside { error, .. }
            | Event::ServerFailed(error) => {
                eprintln!("flash_sale: {error}");
            }
            Event::TlsFilesUnusable(problem) => eprintln!("flash_sale: {problem}"),
        });
        client.set_servers(servers, None)?;
        Ok(Self { client })
    }

    /// Hands the order over soon; the buyer does not wait for gearmand.
    pub(crate) fn later(&self, order: Order) -> Result<(), Error> {
        with_job(&order.text(), |job| {
            self.client.submit_later(job, &LIMITS, &|| false)
        })
    }

    /// Hands an order over, by its text, and waits until gearmand has it.
    pub(crate) fn now(&self, order: &str) -> Result<(), Error> {
        with_job(order, |job| self.client.submit(job, &LIMITS, &|| false)).map(drop)
    }

    /// Waits until gearmand has what was to be handed over soon; returns how many orders it has not.
    pub(crate) fn finish(&self) -> u64 {
        self.client.flush(LIMITS.submit, &|| false)
    }
}

fn with_job<T>(order: &str, submit: impl FnOnce(&Job<'_>) -> Result<T, Error>) -> Result<T, Error> {
    let text = order.as_bytes();
    let mode = Mode::Background(Priority::Normal);
    submit(&Job::new(mode, FUNCTION.as_bytes(), text, Some(text))?)
}
