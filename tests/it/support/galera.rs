//! A Galera cluster of three MariaDB nodes on this machine.

use std::path::Path;

use super::database::{Database, product_file};
use super::nodes::Nodes;
use super::ports::Port;

/// Debian's package galera-4, which `scripts/deps galera` installs.
const PROVIDER: &str = "/usr/lib/galera/libgalera_smm.so";

/// Starts three nodes; or says why there can be no cluster here.
pub(crate) fn galera(options: &[&str]) -> Result<Nodes, String> {
    if !Path::new(PROVIDER).exists() {
        return Err(format!(
            "there is no {PROVIDER}; scripts/deps galera installs it"
        ));
    }
    // For the group, and for the state that a node misses.
    let ports: Vec<Port> = (0..6).map(|_| Port::free()).collect();
    let group: Vec<String> = ports[..3]
        .iter()
        .map(|port| format!("127.0.0.1:{}", port.number()))
        .collect();
    let start = |node: usize| {
        let (listen, receive) = (&group[node], ports[3 + node].number());
        // The first one begins the cluster.
        let members = if node == 0 {
            String::new()
        } else {
            group.join(",")
        };
        let builder = Database::local()
            .programs(product_file("tests/it/support"))
            .option("--wsrep-on=ON")
            .option(format!("--wsrep-provider={PROVIDER}"))
            .option(format!("--wsrep-cluster-address=gcomm://{members}"))
            .option(format!(
                "--wsrep-provider-options=gmcast.listen_addr=tcp://{listen};ist.recv_addr=127.0.0.1:{receive};gcache.size=64M"
            ))
            .option("--wsrep-node-address=127.0.0.1")
            .option(format!("--wsrep-node-name=node{node}"))
            // The program wsrep_sst_cp.
            .option("--wsrep-sst-method=cp")
            .option("--binlog-format=ROW")
            .option("--innodb-autoinc-lock-mode=2")
            .option(format!("--server-id={}", node + 1));
        let builder = options
            .iter()
            .fold(builder, |builder, option| builder.option(*option));
        builder.start()
    };
    Ok(Nodes::new((0..3).map(start).collect(), ports))
}
