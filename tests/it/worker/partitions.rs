//! Masters that a firewall cuts off in the middle of jobs, every one of which is counted: packets vanish, and
//! both sides go on.

use std::net::Ipv4Addr;

use redis::Commands;

use super::{
    ALL_IN_ORDER, count, count_in, start_for, submit_marks, wait_for_a_mark, wait_for_a_mark_in,
    wait_for_an_empty_queue,
};
use crate::support::{
    FUNCTION, Gearmand, PrivateNetwork, Redis, RedisCluster, RedisSentinel, unsupported,
};

const JOBS: u32 = 5_000;

/// A change counts as made once the replica has it, so that none is lost with its master.
const SAFE: [&str; 2] = ["--mode=hash", "--replicas=1"];

/// Where the worker is, the job server, and this test.
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A master of a cluster cannot be reached from the other nodes, nor from `also`.
fn cut_off_a_master_of_a_cluster(network: &PrivateNetwork, also: Option<Ipv4Addr>) {
    let (gearmand, cluster) = (Gearmand::start(), RedisCluster::start_apart());
    let worker = start_for(&gearmand, &cluster.url(), &SAFE);
    submit_marks(&gearmand, "k", 0..JOBS);
    wait_for_a_mark_in(|key| cluster.hash(key), "k", 0);
    let others = cluster.nodes[1..].iter().map(Redis::host);
    network.cut_off(cluster.nodes[0].host(), others.chain(also));
    submit_marks(&gearmand, "k", JOBS..2 * JOBS);
    cluster.wait_for_failover(0);
    network.heal();
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    let mut connection = cluster.connect();
    let hash = |key: &str| connection.hgetall(key).expect("HGETALL");
    let count = count_in(hash, "k", 2 * JOBS);
    assert_eq!(count, ALL_IN_ORDER, "{}", worker.log());
}

/// The master cannot be reached from its replica and the Sentinels, nor from `also`.
fn cut_off_a_master_behind_sentinels(network: &PrivateNetwork, also: Option<Ipv4Addr>) {
    let (gearmand, all) = (Gearmand::start(), RedisSentinel::start_apart());
    let worker = start_for(&gearmand, &all.url(), &SAFE);
    submit_marks(&gearmand, "k", 0..JOBS);
    wait_for_a_mark(&all.nodes[0], "k", 0);
    let others = [all.nodes[1].host(), all.host()].into_iter();
    network.cut_off(all.nodes[0].host(), others.chain(also));
    submit_marks(&gearmand, "k", JOBS..2 * JOBS);
    all.wait_for_failover();
    network.heal();
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    let count = count(&all.nodes[1], "k", 2 * JOBS);
    assert_eq!(count, ALL_IN_ORDER, "{}", worker.log());
}

#[test]
fn no_job_is_lost_or_overtaken_when_a_master_of_a_cluster_is_cut_off_from_everybody() {
    let done = PrivateNetwork::run(|network| cut_off_a_master_of_a_cluster(network, Some(HERE)));
    if let Err(reason) = done {
        unsupported!("{reason}");
    }
}

/// The master takes itself for one for a while, and the worker still reaches it.
#[test]
fn no_job_is_lost_or_overtaken_when_a_master_of_a_cluster_is_cut_off_together_with_the_worker() {
    let done = PrivateNetwork::run(|network| cut_off_a_master_of_a_cluster(network, None));
    if let Err(reason) = done {
        unsupported!("{reason}");
    }
}

#[test]
fn no_job_is_lost_or_overtaken_when_a_master_behind_sentinels_is_cut_off_from_everybody() {
    let cut_off = cut_off_a_master_behind_sentinels;
    let done = PrivateNetwork::run(|network| cut_off(network, Some(HERE)));
    if let Err(reason) = done {
        unsupported!("{reason}");
    }
}

/// The master takes itself for one until the end, and the worker still reaches it.
#[test]
fn no_job_is_lost_or_overtaken_when_a_master_behind_sentinels_is_cut_off_together_with_the_worker()
{
    let cut_off = cut_off_a_master_behind_sentinels;
    let done = PrivateNetwork::run(|network| cut_off(network, None));
    if let Err(reason) = done {
        unsupported!("{reason}");
    }
}
