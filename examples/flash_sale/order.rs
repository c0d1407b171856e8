//! What is sold to whom, and where Redis keeps it.

use serde::{Deserialize, Serialize};

/// The pending orders, of all items: a sorted set by the time of the last hand-over.
pub(crate) const PENDING: &str = "sale:pending";

/// How many orders came to the database that it had already.
pub(crate) const REPEATED: &str = "sale:repeated";

/// What the buyers take from. Only the opening of the sale sets it, and it only falls.
pub(crate) fn stock_key(item: u32) -> String {
    format!("stock:{item}")
}

/// The stock in the database, as the page shows it; see `sale.sql`.
pub(crate) fn stored_stock_key(item: u32) -> String {
    format!("stock:{item}:stored")
}

/// The set of those who have one.
pub(crate) fn buyers_key(item: u32) -> String {
    format!("stock:{item}:buyers")
}

/// One piece for one buyer.
///
/// Its text is the same everywhere: the member of the pending orders, the workload of the job, and
/// the job's unique id, by which gearmand knows an order that it has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) item: u32,
    pub(crate) buyer: u32,
}

impl Order {
    pub(crate) fn text(self) -> String {
        serde_json::json!(self).to_string()
    }
}
