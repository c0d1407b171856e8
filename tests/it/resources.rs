//! A server that is at a limit: of the operating system, of its own, or at an end of a range of ours.

mod descriptors;
mod programs;
mod sizes;
mod stacks;
mod threads;

use mysql::prelude::Queryable;

use crate::support::{FILE_NAME, Gman};

/// The deliveries that this server has.
fn deliveries(gman: &mut Gman) -> Vec<&'static str> {
    let mut deliveries = vec!["acked", "pipelined"];
    let participant = format!("INSTALL PLUGIN gman_commit SONAME '{FILE_NAME}'");
    if gman.session.query_drop(participant).is_ok() {
        deliveries.push("committed");
    }
    deliveries
}
