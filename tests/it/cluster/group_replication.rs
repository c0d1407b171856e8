//! MySQL's Group Replication.

use std::time::{Duration, Instant};

use crate::support::{RecordingWorker, group_replication, unsupported, wait_until};

use super::{PATIENCE, change_row, plain};

/// How soon another relay must take over from one that died with its node: the group takes ten seconds to
/// expel the node, and the lease five; a busy machine more.
const TAKE_OVER: Duration = Duration::from_secs(40);

#[test]
fn gman_relay_loses_and_makes_up_nothing_if_all_nodes_write() {
    let cluster = match group_replication(true) {
        Ok(nodes) => plain(nodes),
        Err(reason) => unsupported!("{reason}"),
    };
    let worker = RecordingWorker::start(cluster.gearmand.port(), &["f"]);
    let _relays = [0, 1, 2].map(|node| cluster.relay_at(node));
    cluster.write(&[0, 1, 2]);
    cluster.wait_until_empty(0);
    cluster
        .count(0, &worker)
        .check("Group Replication, gman relay, three nodes write");
}

#[test]
fn the_relay_moves_with_the_primary() {
    let mut cluster = match group_replication(false) {
        Ok(nodes) => plain(nodes),
        Err(reason) => unsupported!("{reason}"),
    };
    let worker = RecordingWorker::start(cluster.gearmand.port(), &["f"]);
    let relays = [0, 1, 2].map(|node| cluster.relay_at(node));
    cluster.write(&[0]);
    cluster.wait_until_empty(0);
    for relay in &relays[1..] {
        assert!(relay.log().contains("it is read-only"), "{}", relay.log());
    }
    cluster.nodes[0].kill();
    let died = Instant::now();
    let (primary, tag) = wait_until(PATIENCE, "a change to be possible", || {
        let mut problems = Vec::new();
        for node in [1, 2] {
            let mut session = cluster.node(node).connect();
            match change_row(&mut session, 1) {
                Ok(tag) => return Ok((node, tag)),
                Err(error) => problems.push(error.to_string()),
            }
        }
        Err(problems)
    });
    cluster.wait_for_tag(&worker, &tag);
    let took = died.elapsed();
    println!("another relay took over {took:?} after the primary had died");
    assert!(took < TAKE_OVER, "{took:?}");
    cluster.write(&[primary]);
    cluster.wait_until_empty(primary);
    cluster
        .count(primary, &worker)
        .check("Group Replication, gman relay, the primary killed");
}
