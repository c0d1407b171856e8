//! A disk that is full, while the event relays.

use super::{Outbox, PATIENCE, texts};
use crate::support::own_disk::{self, LITTLE_ROOM, PLENTY_OF_ROOM};
use crate::support::{Database, Gearmand, RecordingWorker, unsupported, wait_until};

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
    outbox.set_servers(&gearmand.address());
    worker.wait_for(written as usize);
    // MariaDB has room left for what the relay changes; MySQL has none.
    wait_until(
        PATIENCE,
        "the rows to leave, or the view to say why not",
        || {
            let row = outbox
                .query("SELECT depth, COALESCE(problem, '') FROM gman_outbox_status")
                .pop();
            let (depth, problem): (u64, String) = row.expect("a row");
            match depth == 0 || problem.starts_with("nobody relays") {
                true => Ok(()),
                false => Err((depth, problem)),
            }
        },
    );
    outbox.database.leave_room(PLENTY_OF_ROOM);
    outbox.execute("INSERT INTO gman_outbox (`function`, workload) VALUES ('f', 'last')");
    outbox.drain();
    let status = outbox.wait_for_status("the failure to pass", |status| !status.is_failing);
    assert_eq!(status.dead, 0, "{status:?}");
    let mut jobs = texts(&worker.wait_for(written as usize + 1));
    jobs.dedup();
    assert_eq!(jobs.last().map(String::as_str), Some("last"));
}
