//! A group of three MySQL servers.

use std::fs;

use mysql::prelude::Queryable;

use super::database::Database;
use super::nodes::Nodes;
use super::ports::Port;
use super::server_kind::ServerKind;
use super::wait_until;

/// The plugin, which MySQL brings.
const PLUGIN: &str = "group_replication.so";

/// The group's own, which is a UUID.
const NAME: &str = "6d1f5c1e-0b5c-4a55-9d0e-3f0f2a8d6c11";

/// How long a member may take to catch up with the group.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// Starts three nodes, one of which is written to, or all if `writes_everywhere`; or says why there can be no
/// group here.
pub(crate) fn group_replication(writes_everywhere: bool) -> Result<Nodes, String> {
    let plugin = ServerKind::chosen()
        .plugin(PLUGIN)
        .ok_or_else(|| format!("the server has no {PLUGIN}"))?;
    let ports: Vec<Port> = (0..3).map(|_| Port::free()).collect();
    let addresses: Vec<String> = ports
        .iter()
        .map(|port| format!("127.0.0.1:{}", port.number()))
        .collect();
    let start = |node: usize| {
        let builder = Database::builder()
            .option(format!("--server-id={}", node + 1))
            .option("--log-bin=binlog")
            .option("--gtid-mode=ON")
            .option("--enforce-gtid-consistency=ON")
            .option("--report-host=127.0.0.1")
            .option("--performance-schema=ON");
        let database = builder.start();
        let target = database.plugin_dir().join(PLUGIN);
        fs::copy(&plugin, &target).unwrap_or_else(|error| panic!("{}: {error}", target.display()));
        database.execute(&format!(
            "INSTALL PLUGIN group_replication SONAME '{PLUGIN}'"
        ));
        let mode = if writes_everywhere { "OFF" } else { "ON" };
        let checks = if writes_everywhere { "ON" } else { "OFF" };
        let mut session = database.connect();
        for sql in [
            format!("SET GLOBAL group_replication_group_name = '{NAME}'"),
            format!(
                "SET GLOBAL group_replication_local_address = '{}'",
                addresses[node]
            ),
            format!(
                "SET GLOBAL group_replication_group_seeds = '{}'",
                addresses.join(",")
            ),
            "SET GLOBAL group_replication_recovery_get_public_key = ON".to_owned(),
            format!("SET GLOBAL group_replication_single_primary_mode = {mode}"),
            format!("SET GLOBAL group_replication_enforce_update_everywhere_checks = {checks}"),
            // What the start of the server has done here is not the group's.
            "RESET BINARY LOGS AND GTIDS".to_owned(),
            "CHANGE REPLICATION SOURCE TO SOURCE_USER = 'repl', SOURCE_PASSWORD = 'repl'
               FOR CHANNEL 'group_replication_recovery'"
                .to_owned(),
        ] {
            run(&mut session, &sql);
        }
        if node == 0 {
            for sql in [
                "SET GLOBAL group_replication_bootstrap_group = ON",
                "START GROUP_REPLICATION",
                "SET GLOBAL group_replication_bootstrap_group = OFF",
                "CREATE USER repl@'%' IDENTIFIED BY 'repl'",
                "GRANT REPLICATION SLAVE, BACKUP_ADMIN ON *.* TO repl@'%'",
            ] {
                run(&mut session, sql);
            }
        } else {
            run(&mut session, "START GROUP_REPLICATION");
        }
        wait_until(PATIENCE, "a member to be online", || {
            let state: Option<String> = session
                .query_first(
                    "SELECT member_state FROM performance_schema.replication_group_members
                      WHERE member_id = @@server_uuid",
                )
                .expect("a state");
            match state.as_deref() {
                Some("ONLINE") => Ok(()),
                _ => Err((state, database.error_log())),
            }
        });
        database
    };
    Ok(Nodes::new((0..3).map(start).collect(), ports))
}

fn run(session: &mut mysql::Conn, sql: &str) {
    session
        .query_drop(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}
