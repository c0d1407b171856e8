//! Which node of Redis has which key, as far as is known.
//!
//! A Redis that stands alone, and one that Sentinels watch, is a node that has every slot. What is known
//! of a cluster is learned from whoever is connected, and from where a node says that a key has gone.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::address::Address;
use super::answer::Answer;
use super::connection::{Access, Connection, Login};
use super::fault::Fault;
use super::servers::{Deployment, Servers};
use super::slots::SLOTS;

/// How many nodes are remembered: as many as a cluster may have, by the word of Redis.
const MAX_NODES: usize = 1_000;

/// A node by its number, which it keeps while it has a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Node(pub(crate) usize);

/// Shared by all who write.
pub(crate) struct Routes {
    servers: Servers,
    table: RwLock<Table>,
}

struct Table {
    /// Every node that has been heard of. The only one, whom Sentinels name, may be unknown.
    nodes: Vec<Option<Address>>,
    /// Of each slot.
    owners: Vec<Node>,
}

impl Routes {
    pub(crate) fn new(servers: Servers) -> Self {
        let first = match servers.deployment {
            Deployment::Sentinel { .. } => None,
            _ => servers.addresses.first().cloned(),
        };
        Self {
            servers,
            table: RwLock::new(Table {
                nodes: vec![first],
                owners: vec![Node(0); SLOTS.into()],
            }),
        }
    }

    /// Who has a slot.
    pub(crate) fn owner(&self, slot: u16) -> Node {
        self.read().owners[usize::from(slot)]
    }

    /// Every node that has a slot.
    pub(crate) fn nodes_in_charge(&self) -> BTreeSet<Node> {
        self.read().owners.iter().copied().collect()
    }

    /// Where a node is, unless that has to be asked for first.
    pub(crate) fn address(&self, node: Node) -> Option<Address> {
        self.read().nodes[node.0].clone()
    }

    /// Notes that a slot has gone to another node.
    pub(crate) fn moved(&self, slot: u16, address: Address) {
        let mut table = self.write();
        let node = table.node(address);
        if let (Some(node), Some(owner)) = (node, table.owners.get_mut(usize::from(slot))) {
            *owner = node;
        }
    }

    /// The number of a node; `None` if there are too many.
    pub(crate) fn node(&self, address: Address) -> Option<Node> {
        self.write().node(address)
    }

    /// Whether a node is there, as far as is known.
    pub(crate) fn is_at(&self, node: Node, address: &Address) -> bool {
        let table = self.read();
        table.nodes[node.0].as_ref().is_none_or(|at| at == address)
    }

    /// Connects to a node, and learns from it what it knows of the others.
    pub(crate) fn connect(&self, node: Node) -> Result<Connection, Fault> {
        let address = match (self.address(node), &self.servers.deployment) {
            (Some(address), _) => address,
            (None, Deployment::Sentinel { master, login }) => self.find_master(master, login)?,
            // Only Sentinels are asked where a node is.
            (None, _) => self.servers.addresses[0].clone(),
        };
        self.connect_to(&address)
    }

    /// Asks the others for what has changed, as `node` is not what it was.
    pub(crate) fn look_around(&self, node: Node) -> Result<(), Fault> {
        match &self.servers.deployment {
            Deployment::Sentinel { master, login } => self.find_master(master, login).map(drop),
            Deployment::Any | Deployment::Cluster => self.ask_others(node),
        }
    }

    fn connect_to(&self, address: &Address) -> Result<Connection, Fault> {
        let mut connection = Connection::open(address, &self.servers.access)?;
        match self.servers.deployment {
            Deployment::Sentinel { .. } => require_master(&mut connection, address)?,
            Deployment::Any | Deployment::Cluster => self.learn(&mut connection, address)?,
        }
        Ok(connection)
    }

    /// Takes what a node says of the cluster.
    fn learn(&self, connection: &mut Connection, address: &Address) -> Result<(), Fault> {
        match connection.ask(&[b"CLUSTER", b"SLOTS"])? {
            Answer::List(ranges) => {
                let mut table = self.write();
                for (range, owner) in ranges
                    .iter()
                    .filter_map(|range| parse_range(range, address))
                {
                    let node = table.node(owner);
                    if let (Some(node), Some(owners)) = (node, table.owners.get_mut(range)) {
                        owners.fill(node);
                    }
                }
                Ok(())
            }
            Answer::Refusal(refusal) if matches!(self.servers.deployment, Deployment::Cluster) => {
                Err(Fault::refused(address, refusal))
            }
            // It stands alone, or this account may not ask: then it says MOVED of every slot that it has not.
            _ => Ok(()),
        }
    }

    fn ask_others(&self, node: Node) -> Result<(), Fault> {
        let mut others: Vec<Address> = self.read().nodes.iter().flatten().cloned().collect();
        others.extend(self.servers.addresses.iter().cloned());
        let own = self.address(node);
        others.retain(|address| Some(address) != own.as_ref());
        others.sort();
        others.dedup();
        let mut outcome = Ok(());
        for address in others {
            outcome = self.connect_to(&address).map(drop);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn find_master(&self, master: &str, login: &Login) -> Result<Address, Fault> {
        let access = Access {
            login: login.clone(),
            tls: self.servers.access.tls.clone(),
            max_answer: self.servers.access.max_answer,
        };
        let mut outcome = Err(Fault::lost(
            &self.servers.addresses[0],
            "it has not been asked",
        ));
        for sentinel in &self.servers.addresses {
            outcome = ask_sentinel(sentinel, &access, master);
            if let Ok(address) = &outcome {
                self.write().nodes[0] = Some(address.clone());
                break;
            }
        }
        outcome
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The number of a node. If there are as many as can be, it takes that of one that has no slot any more:
    /// nodes come and go, and each comes from an address of its own.
    fn node(&mut self, address: Address) -> Option<Node> {
        let known = self
            .nodes
            .iter()
            .position(|node| node.as_ref() == Some(&address));
        if let Some(known) = known {
            return Some(Node(known));
        }
        if self.nodes.len() < MAX_NODES {
            self.nodes.push(Some(address));
            return Some(Node(self.nodes.len() - 1));
        }
        let in_charge: BTreeSet<Node> = self.owners.iter().copied().collect();
        // The first is who is asked when nobody is known.
        let mut others = (1..MAX_NODES).map(Node);
        let free = others.find(|node| !in_charge.contains(node))?;
        self.nodes[free.0] = Some(address);
        Some(free)
    }
}

/// A range of slots and who has it, from `[first, last, [host, port, ...], replica, ...]`.
fn parse_range(
    range: &Answer,
    seen_from: &Address,
) -> Option<(std::ops::RangeInclusive<usize>, Address)> {
    let Answer::List(parts) = range else {
        return None;
    };
    let [
        Answer::Int(first),
        Answer::Int(last),
        Answer::List(owner),
        ..,
    ] = parts.as_slice()
    else {
        return None;
    };
    let (host, port) = match owner.as_slice() {
        [Answer::Text(host), Answer::Int(port), ..] => (host.as_slice(), port),
        // A node that is not to be known by its own address.
        [Answer::Nil, Answer::Int(port), ..] => (b"".as_slice(), port),
        _ => return None,
    };
    let slots = usize::try_from(*first).ok()?..=usize::try_from(*last).ok()?;
    let host = std::str::from_utf8(host).ok()?;
    Some((slots, seen_from.seen_from(host, u16::try_from(*port).ok()?)))
}

fn ask_sentinel(sentinel: &Address, access: &Access, master: &str) -> Result<Address, Fault> {
    let mut connection = Connection::open(sentinel, access)?;
    let words: [&[u8]; 3] = [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", master.as_bytes()];
    match connection.ask(&words)? {
        Answer::List(parts) => match parts.as_slice() {
            [Answer::Text(host), Answer::Text(port)] => {
                let port = String::from_utf8_lossy(port).parse().ok();
                port.map(|port| sentinel.seen_from(&String::from_utf8_lossy(host), port))
                    .ok_or_else(|| Fault::lost(sentinel, "it names no port of the master"))
            }
            _ => Err(Fault::lost(sentinel, "it is no Sentinel")),
        },
        Answer::Refusal(refusal) => Err(Fault::refused(sentinel, refusal)),
        _ => Err(Fault::lost(
            sentinel,
            format!("this Sentinel knows no master {master}; correct ?master= in --redis"),
        )),
    }
}

/// A master that was demoted a moment ago may still be named.
fn require_master(connection: &mut Connection, address: &Address) -> Result<(), Fault> {
    match connection.ask(&[b"ROLE"])? {
        Answer::List(parts) if parts.first() != Some(&Answer::Text(b"master".to_vec())) => {
            Err(Fault::lost(address, "it is not the master any more"))
        }
        // An account that may not ask finds out by READONLY.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes {
        let url = "redis-cluster://a:1,b:2";
        Routes::new(Servers::parse(url, || Err(String::new())).expect("servers"))
    }

    fn at(host: &str, port: u16) -> Address {
        Address::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn a_slot_that_has_moved_is_known_to_be_there() {
        let routes = routes();
        assert_eq!(routes.owner(7), Node(0));
        routes.moved(7, at("c", 3));
        assert_eq!(routes.address(routes.owner(7)), Some(at("c", 3)));
        assert_eq!(routes.owner(8), Node(0));
        routes.moved(8, at("c", 3));
        assert_eq!(routes.owner(8), routes.owner(7));
        routes.moved(SLOTS, at("c", 3));
    }

    #[test]
    fn nodes_that_come_and_go_take_the_places_of_those_that_went() {
        let routes = routes();
        let address = |number: usize| at("c", u16::try_from(number).expect("a port"));
        for number in 1..5 * MAX_NODES {
            routes.moved(7, address(number));
            assert!(routes.is_at(routes.owner(7), &address(number)));
        }
        assert_eq!(routes.read().nodes.len(), MAX_NODES);
        // Each has a slot now.
        for slot in 0..SLOTS {
            routes.moved(slot, address(10_000 + usize::from(slot) % 1_200));
        }
        let nodes = routes.nodes_in_charge().len();
        assert!(nodes <= MAX_NODES, "{nodes}");
        assert_eq!(routes.node(at("another", 1)), None);
    }

    #[test]
    fn a_range_names_its_owner_or_means_whoever_is_asked() {
        let range = |host| {
            let owner = Answer::List(vec![host, Answer::Int(7), Answer::Text(b"id".to_vec())]);
            Answer::List(vec![Answer::Int(3), Answer::Int(5), owner])
        };
        let named = range(Answer::Text(b"c".to_vec()));
        assert_eq!(parse_range(&named, &at("a", 1)), Some((3..=5, at("c", 7))));
        let own = range(Answer::Nil);
        assert_eq!(parse_range(&own, &at("a", 1)), Some((3..=5, at("a", 7))));
    }
}
