//! A Redis Cluster: three masters, each with a replica.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use redis::Commands;
use redis::cluster::{ClusterClient, ClusterConnection};

use super::ports::Port;
use super::redis::Redis;
use super::wait::wait_until;

/// How long the nodes may take to agree.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a master may be silent before its replica takes its place.
const NODE_TIMEOUT_MS: &str = "1500";

const MASTERS: usize = 3;
const SLOTS: usize = 16_384;

/// Six nodes. The first three are masters when it starts; the others are their replicas, in the same
/// order.
#[derive(Debug)]
pub(crate) struct RedisCluster {
    pub(crate) nodes: Vec<Redis>,
    bus_ports: Vec<Port>,
}

impl RedisCluster {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts with further options for every node, and waits until every slot is served and every
    /// replica has what its master has.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        Self::of(2 * MASTERS, options)
    }

    /// Each node at an address of its own, so that it can be cut off.
    pub(crate) fn start_apart() -> Self {
        let host = |node: u8| Ipv4Addr::new(127, 0, 0, 11 + node);
        Self::at((0..6).map(host), &[])
    }

    /// Without replicas.
    pub(crate) fn of_masters() -> Self {
        Self::of(MASTERS, &[])
    }

    fn of(nodes: usize, options: &[&str]) -> Self {
        Self::at((0..nodes).map(|_| Ipv4Addr::LOCALHOST), options)
    }

    fn at(hosts: impl Iterator<Item = Ipv4Addr>, options: &[&str]) -> Self {
        let start = |host| {
            let bus = Port::free();
            let node = Redis::start_at(host, node_options(&bus, options), "");
            (bus, node)
        };
        let (bus_ports, nodes) = hosts.map(start).unzip();
        let cluster = Self { nodes, bus_ports };
        cluster.meet();
        cluster
    }

    /// The addresses of some nodes, as `--redis` takes them.
    pub(crate) fn url(&self) -> String {
        let addresses: Vec<String> = self.nodes[..2].iter().map(Redis::address).collect();
        format!("redis-cluster://{}", addresses.join(","))
    }

    /// The master that has the slot of `key`, by its place among the nodes.
    pub(crate) fn owner(&self, key: &str) -> usize {
        let slot = self.slot(key);
        (0..MASTERS)
            .find(|&master| range(master).contains(&slot))
            .expect("every slot has a master")
    }

    pub(crate) fn slot(&self, key: &str) -> usize {
        let node = &self.nodes[self.nodes.len() - 1];
        node.command(&["CLUSTER", "KEYSLOT", key])
            .expect("CLUSTER KEYSLOT")
    }

    pub(crate) fn hash(&self, key: &str) -> BTreeMap<String, String> {
        self.connect()
            .hgetall(key)
            .unwrap_or_else(|error| panic!("HGETALL {key}: {error}"))
    }

    /// A client that finds the nodes by itself.
    pub(crate) fn connect(&self) -> ClusterConnection {
        let urls: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("redis://{}/", node.address()))
            .collect();
        ClusterClient::new(urls)
            .and_then(|client| client.get_connection())
            .unwrap_or_else(|error| panic!("cannot connect to the cluster: {error}"))
    }

    /// Moves a slot with its keys to the master `to`, as resharding does.
    pub(crate) fn move_slot(&self, slot: usize, from: usize, to: usize) {
        self.begin_to_move(slot, from, to);
        self.move_keys(slot, from, to);
        self.end_the_move(slot, to);
    }

    /// The slot is on its way: new keys go to `to` from now on.
    pub(crate) fn begin_to_move(&self, slot: usize, from: usize, to: usize) {
        let (source, target) = (self.id(from), self.id(to));
        let slot = slot.to_string();
        self.order(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]);
        self.order(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]);
    }

    /// Moves the keys that are there.
    pub(crate) fn move_keys(&self, slot: usize, from: usize, to: usize) {
        let port = self.nodes[to].port().to_string();
        loop {
            let keys: Vec<Vec<u8>> = self.nodes[from]
                .command(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "10"])
                .expect("CLUSTER GETKEYSINSLOT");
            if keys.is_empty() {
                return;
            }
            let host = self.nodes[to].host().to_string();
            let mut migrate = redis::cmd("MIGRATE");
            migrate
                .arg(&[&host, &port, "", "0", "5000", "KEYS"])
                .arg(keys);
            let () = migrate
                .query(&mut self.nodes[from].connect())
                .expect("MIGRATE");
        }
    }

    pub(crate) fn end_the_move(&self, slot: usize, to: usize) {
        let target = self.id(to);
        // The new owner first, or nobody would have it.
        for node in [to]
            .into_iter()
            .chain((0..MASTERS).filter(|&node| node != to))
        {
            self.order(
                node,
                &["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &target],
            );
        }
    }

    /// Waits until the replica of a master has taken its place.
    pub(crate) fn wait_for_failover(&self, master: usize) {
        let replica = &self.nodes[MASTERS + master];
        wait_until(PATIENCE, "the replica to take its master's place", || {
            let role: redis::Value = replica.command(&["ROLE"]).expect("ROLE");
            let role = format!("{role:?}");
            let state: String = replica.command(&["CLUSTER", "INFO"]).expect("CLUSTER INFO");
            match role.contains("slots")
                || role.contains("slave")
                || !state.contains("cluster_state:ok")
            {
                true => Err((role, state)),
                false => Ok(()),
            }
        });
    }

    /// Waits until every slot is served and every replica has what its master has.
    pub(crate) fn wait_until_whole(&self) {
        for node in 0..self.nodes.len() {
            self.wait_for(node, "cluster_state:ok");
        }
        wait_until(PATIENCE, "every replica to be up to date", || {
            let infos: Vec<String> = self
                .nodes
                .iter()
                .map(|node| node.command(&["INFO", "replication"]).expect("INFO"))
                .collect();
            let up = infos
                .iter()
                .filter(|info| info.contains("master_link_status:up"))
                .count();
            match up + MASTERS == self.nodes.len() {
                true => Ok(()),
                false => Err(infos),
            }
        });
    }

    fn id(&self, node: usize) -> String {
        self.nodes[node]
            .command(&["CLUSTER", "MYID"])
            .expect("CLUSTER MYID")
    }

    fn order(&self, node: usize, words: &[&str]) {
        let done: redis::RedisResult<String> = self.nodes[node].command(words);
        if let Err(error) = done {
            panic!("{words:?}: {error}");
        }
    }

    fn meet(&self) {
        for master in 0..MASTERS {
            let slots = range(master);
            let (first, last) = (slots.start.to_string(), (slots.end - 1).to_string());
            self.order(master, &["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
        }
        for (node, bus) in self.nodes.iter().zip(&self.bus_ports).skip(1) {
            let host = node.host().to_string();
            let (port, bus) = (node.port().to_string(), bus.number().to_string());
            self.order(0, &["CLUSTER", "MEET", &host, &port, &bus]);
        }
        for node in 0..self.nodes.len() {
            self.wait_for(node, &format!("cluster_known_nodes:{}", self.nodes.len()));
        }
        for replica in MASTERS..self.nodes.len() {
            let id = self.id(replica - MASTERS);
            // It may not have heard that this one is a master.
            wait_until(PATIENCE, "CLUSTER REPLICATE", || {
                self.nodes[replica].command::<String>(&["CLUSTER", "REPLICATE", &id])
            });
        }
        self.wait_until_whole();
        // Every node knows every replica, so that each can tell a client.
        for node in &self.nodes {
            wait_until(PATIENCE, "every node to know every replica", || {
                let nodes: String = node.command(&["CLUSTER", "NODES"]).expect("CLUSTER NODES");
                match nodes.matches("slave").count() {
                    replicas if replicas + MASTERS == self.nodes.len() => Ok(()),
                    _ => Err(nodes),
                }
            });
        }
    }

    fn wait_for(&self, node: usize, what: &str) {
        wait_until(PATIENCE, what, || {
            let info: String = self.nodes[node]
                .command(&["CLUSTER", "INFO"])
                .expect("CLUSTER INFO");
            match info.contains(what) {
                true => Ok(()),
                false => Err(info),
            }
        });
    }
}

fn node_options(bus: &Port, more: &[&str]) -> Vec<String> {
    let bus = bus.number().to_string();
    let options = [
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &bus,
        "--cluster-node-timeout",
        NODE_TIMEOUT_MS,
        // As soon as it may: the machine may be busy, and its link may have been down for a while.
        "--cluster-replica-validity-factor",
        "0",
        "--repl-diskless-sync-delay",
        "0",
    ];
    options
        .iter()
        .chain(more)
        .map(|word| (*word).to_owned())
        .collect()
}

/// The slots of a master when it starts.
fn range(master: usize) -> std::ops::Range<usize> {
    master * SLOTS / MASTERS..(master + 1) * SLOTS / MASTERS
}
