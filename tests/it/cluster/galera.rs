//! A Galera cluster.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable;

use crate::support::{
    Database, FILE_NAME, Library, Nodes, RecordingWorker, galera, product_file, unsupported,
    wait_until,
};

use super::{Cluster, INSERT, PATIENCE, change_row, plain};

/// How soon another relay must take over from one that died with its node: the group takes five seconds to
/// give the node up, and the lease as long; a busy machine more.
const TAKE_OVER: Duration = Duration::from_secs(40);

const ONE_AND_ALL: [&[usize]; 2] = [&[0], &[0, 1, 2]];

/// A cluster with the library; or why there is none.
fn with_library() -> Result<Nodes, String> {
    let nodes = galera(&["--event-scheduler=ON"])?;
    for node in nodes.iter() {
        node.copy_library(Library::release(), FILE_NAME);
    }
    nodes[0].run_script(&product_file("sql/install.sql"));
    Ok(nodes)
}

fn set_servers(cluster: &Cluster) {
    for node in cluster.nodes.iter() {
        let address = cluster.gearmand.address();
        let _: String = node.value(&format!("SELECT gman_servers_set('{address}')"));
    }
}

#[test]
fn gman_relay_loses_and_makes_up_nothing_whoever_writes() {
    let cluster = match galera(&[]) {
        Ok(nodes) => plain(nodes),
        Err(reason) => unsupported!("{reason}"),
    };
    let worker = RecordingWorker::start(cluster.gearmand.port(), &["f"]);
    let _relays = [0, 1, 2].map(|node| cluster.relay_at(node));
    for nodes in ONE_AND_ALL {
        cluster.write(nodes);
        cluster.wait_until_empty(0);
        let what = format!("gman relay, {} nodes write", nodes.len());
        cluster.count(0, &worker).check(&what);
    }
}

#[test]
fn another_relay_takes_over_when_a_node_dies_with_its_own() {
    let mut cluster = match galera(&[]) {
        Ok(nodes) => plain(nodes),
        Err(reason) => unsupported!("{reason}"),
    };
    let worker = RecordingWorker::start(cluster.gearmand.port(), &["f"]);
    let first = cluster.relay_at(2);
    wait_until(PATIENCE, "the first relay", || {
        let log = first.log();
        if log.contains("relaying") {
            Ok(())
        } else {
            Err(log)
        }
    });
    let _others = [0, 1].map(|node| cluster.relay_at(node));
    cluster.write(&[0, 1]);
    cluster.nodes[2].kill();
    let died = Instant::now();
    // The group notices first that a node is gone.
    let tag = wait_until(PATIENCE, "a change to be possible", || {
        let mut session = cluster.node(0).connect();
        change_row(&mut session, 1).map_err(|error| error.to_string())
    });
    cluster.wait_for_tag(&worker, &tag);
    let took = died.elapsed();
    println!("another relay took over {took:?} after the node had died");
    assert!(took < TAKE_OVER, "{took:?}");
    cluster.wait_until_empty(0);
    cluster.count(0, &worker).check("a node killed");
}

#[test]
fn the_event_relays_on_one_node_and_on_another_when_that_dies() {
    let nodes = match with_library() {
        Ok(nodes) => nodes,
        Err(reason) => unsupported!("{reason}"),
    };
    nodes[0].execute("DROP FUNCTION gman_do_background");
    nodes[0].run_script(&product_file("sql/outbox.sql"));
    // Enabled where it was created, and nowhere else.
    for node in &nodes[1..] {
        let mut session = node.connect();
        for sql in [
            "SET SESSION wsrep_on = OFF",
            "ALTER EVENT gman_outbox_relay ENABLE",
        ] {
            session
                .query_drop(sql)
                .unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    }
    for node in nodes.iter() {
        let state: String = node.value("SELECT status FROM information_schema.events");
        assert_eq!(state, "ENABLED");
    }
    let mut cluster = Cluster::new(nodes, INSERT);
    set_servers(&cluster);
    let worker = RecordingWorker::start(cluster.gearmand.port(), &["f"]);
    cluster.write(&[0, 1, 2]);
    cluster.wait_until_empty(0);
    cluster
        .count(0, &worker)
        .check("the event, three nodes write");

    let owner: String = cluster
        .node(0)
        .value("SELECT owner FROM gman_outbox_status");
    let is_owner = |node: &Database| owner.contains(&format!(" {} ", node.port()));
    let relaying = cluster.nodes.iter().position(is_owner).expect("a node");
    let other = (relaying + 1) % 3;
    cluster.nodes[relaying].kill();
    let died = Instant::now();
    wait_until(PATIENCE, "a change to be possible", || {
        let mut session = cluster.node(other).connect();
        change_row(&mut session, 1).map_err(|error| error.to_string())
    });
    wait_until(PATIENCE, "another node to relay", || {
        match cluster
            .node(other)
            .value::<u64>("SELECT depth FROM gman_outbox_status")
        {
            0 => Ok(()),
            depth => Err(depth),
        }
    });
    let took = died.elapsed();
    println!("another node relayed {took:?} after the one that did had died");
    assert!(took < TAKE_OVER, "{took:?}");
    cluster
        .count(other, &worker)
        .check("the event, a node killed");
}

#[test]
fn committed_sends_nothing_that_certification_aborts() {
    let nodes = match with_library() {
        Ok(nodes) => nodes,
        Err(reason) => unsupported!("{reason}"),
    };
    for plugin in ["gman", "gman_commit"] {
        let install = format!("INSTALL PLUGIN {plugin} SONAME '{FILE_NAME}'");
        nodes[0].execute(&install);
    }
    for node in nodes.iter() {
        // Once it has applied the installation.
        wait_until(PATIENCE, "the delivery", || {
            node.connect()
                .query_drop("SET GLOBAL gman_delivery = 'committed'")
                .map_err(|error| error.to_string())
        });
    }
    let cluster = Cluster::new(nodes, "SET @handle = gman_do_background('f', JOB)");
    set_servers(&cluster);
    let worker = RecordingWorker::start(cluster.gearmand.port(), &["f"]);
    cluster.write(&[0, 1, 2]);
    for node in cluster.nodes.iter() {
        assert_eq!(node.value::<u64>("SELECT gman_flush(10000)"), 0);
    }
    let count = cluster.count(0, &worker);
    count.print("committed, three nodes write");
    // Each node hands over its own jobs, so the order of a row that several write is not kept.
    assert_eq!((count.lost, count.phantom), (0, 0), "{count:?}");
}
