//! A Redis Cluster whose nodes are killed, frozen and resharded in the middle of jobs, every one of which
//! is counted.

use std::collections::BTreeSet;

use redis::Commands;

use super::{
    ALL_IN_ORDER, KEYS, PATIENCE, count_in, mark_key, start_for, submit_marks, wait_for_a_mark_in,
    wait_for_an_empty_queue, wait_for_lines,
};
use crate::support::{
    FUNCTION, Gearmand, ROW_FUNCTION, RedisCluster, RedisWorker, Submitter, wait_until,
};

const JOBS: u32 = 5_000;

/// A change counts as made once the replica has it, so that none is lost with its master.
const SAFE: [&str; 2] = ["--mode=hash", "--replicas=1"];

fn assert_all_in_order(cluster: &RedisCluster, jobs: u32, worker: &RedisWorker) {
    let mut connection = cluster.connect();
    let hash = |key: &str| connection.hgetall(key).expect("HGETALL");
    assert_eq!(count_in(hash, "k", jobs), ALL_IN_ORDER, "{}", worker.log());
}

fn wait_for_a_mark(cluster: &RedisCluster, from: u32) {
    wait_for_a_mark_in(|key| cluster.hash(key), "k", from);
}

#[test]
fn every_node_gets_its_keys_in_their_order() {
    let (gearmand, cluster) = (Gearmand::start(), RedisCluster::start());
    // One node is enough, and nobody has to say that it is one of a cluster.
    let url = cluster.nodes[1].address();
    let worker = start_for(&gearmand, &url, &["--mode=hash", "--threads=2"]);
    submit_marks(&gearmand, "k", 0..JOBS);
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    assert_all_in_order(&cluster, JOBS, &worker);
    let owners: BTreeSet<usize> = (0..KEYS)
        .map(|n| cluster.owner(&mark_key("k", n)))
        .collect();
    assert_eq!(owners, BTreeSet::from([0, 1, 2]));
    assert!(!worker.log().contains("keeping"), "{}", worker.log());
}

#[test]
fn no_job_is_lost_or_overtaken_when_a_master_is_killed_and_when_it_comes_back() {
    let (gearmand, mut cluster) = (Gearmand::start(), RedisCluster::start());
    let worker = start_for(&gearmand, &cluster.url(), &SAFE);
    submit_marks(&gearmand, "k", 0..JOBS);
    wait_for_a_mark(&cluster, 0);
    cluster.nodes[0].kill();
    submit_marks(&gearmand, "k", JOBS..2 * JOBS);
    cluster.wait_for_failover(0);
    cluster.nodes[0].restart();
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    assert_all_in_order(&cluster, 2 * JOBS, &worker);
}

#[test]
fn no_job_is_lost_or_overtaken_when_a_master_is_cut_off_and_comes_back() {
    let (gearmand, cluster) = (Gearmand::start(), RedisCluster::start());
    let worker = start_for(&gearmand, &cluster.url(), &SAFE);
    submit_marks(&gearmand, "k", 0..JOBS);
    wait_for_a_mark(&cluster, 0);
    cluster.nodes[1].freeze();
    submit_marks(&gearmand, "k", JOBS..2 * JOBS);
    cluster.wait_for_failover(1);
    // It takes itself for a master until the others tell it.
    cluster.nodes[1].thaw();
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    assert_all_in_order(&cluster, 2 * JOBS, &worker);
}

#[test]
fn a_node_that_is_away_holds_up_its_own_keys_alone() {
    let (gearmand, mut cluster) = (
        Gearmand::start(),
        // Nobody takes the node's place, and the others serve what they have.
        RedisCluster::start_with(&[
            "--cluster-require-full-coverage",
            "no",
            "--cluster-replica-no-failover",
            "yes",
            // By default Redis answers before the change is in its file, whenever the disk is busy.
            "--appendfsync",
            "always",
        ]),
    );
    let _worker = start_for(
        &gearmand,
        &cluster.url(),
        &["--mode=hash", "--in-flight=16"],
    );
    submit_marks(&gearmand, "k", 0..KEYS);
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    cluster.nodes[2].kill();
    let away: Vec<u32> = (0..KEYS)
        .filter(|&n| cluster.owner(&mark_key("k", n)) == 2)
        .collect();
    assert!(away.len() > 5, "{away:?}");
    // Far more than are in flight wait for the node.
    submit_marks(&gearmand, "k", KEYS..JOBS);
    let waiting = (KEYS..JOBS).filter(|n| away.contains(&(n % KEYS))).count() as u64;
    wait_until(
        PATIENCE,
        "the jobs of the others to be done",
        || match gearmand.status()[FUNCTION].queued {
            queued if queued == waiting => Ok(()),
            queued => Err((queued, waiting)),
        },
    );
    cluster.nodes[2].restart();
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    let hash = |key: &str| cluster.hash(key);
    assert_eq!(count_in(hash, "k", JOBS), ALL_IN_ORDER);
}

#[test]
fn a_cluster_that_is_down_is_waited_for() {
    let (gearmand, cluster) = (Gearmand::start(), RedisCluster::of_masters());
    let worker = start_for(&gearmand, &cluster.url(), &["--mode=hash"]);
    cluster.nodes[2].freeze();
    wait_until(PATIENCE, "the cluster to be down", || {
        let info: String = cluster.nodes[0]
            .command(&["CLUSTER", "INFO"])
            .expect("CLUSTER INFO");
        match info.contains("cluster_state:fail") {
            true => Ok(()),
            false => Err(info),
        }
    });
    submit_marks(&gearmand, "k", 0..JOBS);
    wait_for_lines(&worker, "CLUSTERDOWN", 1);
    cluster.nodes[2].thaw();
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    assert_all_in_order(&cluster, JOBS, &worker);
}

#[test]
fn no_job_is_lost_or_overtaken_while_slots_move() {
    let (gearmand, cluster) = (Gearmand::start(), RedisCluster::start());
    let worker = start_for(&gearmand, &cluster.url(), &["--mode=hash"]);
    let mut jobs = 0;
    for round in 0..2 {
        for n in 0..KEYS {
            submit_marks(&gearmand, "k", jobs..jobs + KEYS);
            jobs += KEYS;
            let (slot, home) = (
                cluster.slot(&mark_key("k", n)),
                cluster.owner(&mark_key("k", n)),
            );
            let other = (home + 1) % 3;
            let (from, to) = if round == 0 {
                (home, other)
            } else {
                (other, home)
            };
            cluster.begin_to_move(slot, from, to);
            submit_marks(&gearmand, "k", jobs..jobs + KEYS);
            jobs += KEYS;
            cluster.move_keys(slot, from, to);
            submit_marks(&gearmand, "k", jobs..jobs + KEYS);
            jobs += KEYS;
            cluster.end_the_move(slot, to);
        }
    }
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    assert_all_in_order(&cluster, jobs, &worker);
}

#[test]
fn versions_hold_on_a_cluster_while_slots_move() {
    let (gearmand, cluster) = (Gearmand::start(), RedisCluster::start());
    let worker = start_for(&gearmand, &cluster.url(), &["--version-field=v"]);
    let submitter = Submitter::to(&gearmand);
    let keys = ["r:1", "{tag}:2", "braces}{3", "{}4"];
    let row = |key: &str, version| format!(r#"{{"key":"{key}","row":{{"v":{version}}}}}"#);
    let mut version = 10;
    for key in keys {
        submitter.submit(ROW_FUNCTION, [row(key, version)]);
        wait_for_an_empty_queue(&gearmand, ROW_FUNCTION);
        let (slot, from) = (cluster.slot(key), cluster.owner(key));
        let to = (from + 1) % 3;
        cluster.begin_to_move(slot, from, to);
        // The row alone is there already, and its version is not: neither node can run the script.
        let port = cluster.nodes[to].port().to_string();
        let words = ["MIGRATE", "127.0.0.1", &port, key, "0", "5000"];
        let moved: String = cluster.nodes[from].command(&words).expect("MIGRATE");
        assert_eq!(moved, "OK");
        let before = worker.log().matches("TRYAGAIN").count();
        version += 1;
        submitter.submit(ROW_FUNCTION, [row(key, version), row(key, version - 1)]);
        wait_for_lines(&worker, "TRYAGAIN", before + 1);
        cluster.move_keys(slot, from, to);
        cluster.end_the_move(slot, to);
        wait_for_an_empty_queue(&gearmand, ROW_FUNCTION);
        assert_eq!(cluster.hash(key)["v"], version.to_string(), "{key}");
    }
}
