//! A disk that is full.

use crate::support::own_disk::{self, LITTLE_ROOM, PLENTY_OF_ROOM};
use crate::support::{Database, Gearmand, RecordingWorker, unsupported, wait_until};

use super::{Outbox, PATIENCE, texts};

#[test]
fn what_was_committed_before_the_disk_was_full_is_relayed_and_the_rest_when_there_is_room() {
    if let Some(problem) = own_disk::problem() {
        unsupported!("{problem}");
    }
    // With a binary log there, the server lets each commit wait, and looks once a minute whether there is room.
    let mut outbox = Outbox::on(Database::builder().own_disk().option("--skip-log-bin"));
    outbox.database.leave_room(LITTLE_ROOM);
    let written = own_disk::fill_outbox(&mut outbox.session);
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let relay = outbox.relay(&gearmand.address());
    worker.wait_for(written as usize);
    // MariaDB has room left for what the relay changes; MySQL has none.
    wait_until(
        PATIENCE,
        "the rows to leave, or somebody to say why not",
        || {
            let (depth, problem): (u64, String) =
                outbox.row("SELECT depth, COALESCE(problem, '') FROM gman_outbox_status");
            match depth == 0 || problem.starts_with("nobody relays") {
                true => Ok(()),
                false => Err((depth, problem, relay.log())),
            }
        },
    );
    outbox.database.leave_room(PLENTY_OF_ROOM);
    outbox.write("f", ["last"]);
    outbox.wait_until_empty();
    outbox.wait_until_well();
    let mut jobs = texts(&worker.wait_for(written as usize + 1));
    jobs.dedup();
    assert_eq!(jobs.last().map(String::as_str), Some("last"));
}
