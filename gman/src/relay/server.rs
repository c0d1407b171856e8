//! What has to be known of the database server.

use mysql::Conn;
use mysql::prelude::Queryable;

use super::term::Confirm;

/// What each session needs. A lock that somebody else has is waited for no longer than the lease can
/// wait, and a DELETE uses the index even if reading the whole table costs less: that would wait for the
/// rows of transactions that are not done.
const SESSION: &str =
    "SET SESSION autocommit = 1, lock_wait_timeout = 1, innodb_lock_wait_timeout = 1,
    sql_safe_updates = 1, sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'";

/// Of a server, for as long as a connection lasts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server {
    /// Whether others see a commit before it is on disk.
    pub(super) shows_commits_early: bool,
    /// Whether other nodes commit here as well.
    pub(super) is_cluster: bool,
}

/// Prepares a session.
pub(super) fn set_session(conn: &mut Conn) -> mysql::Result<()> {
    conn.query_drop(SESSION)?;
    conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
}

/// Tells one server from another behind the same address, through restarts.
pub(super) fn identity(conn: &mut Conn) -> mysql::Result<String> {
    let identity: Option<String> = conn.query_first(
        "SELECT CONCAT_WS(' ', @@GLOBAL.hostname, @@GLOBAL.port, @@GLOBAL.datadir, @@GLOBAL.server_id)",
    )?;
    Ok(identity.unwrap_or_default())
}

/// Asks the server what it is.
pub(super) fn describe(conn: &mut Conn) -> mysql::Result<Server> {
    let is_galera = variable(conn, "wsrep_on")?.is_some_and(|value| value == "ON");
    let group = variable(conn, "group_replication_group_name")?.unwrap_or_default();
    let flushes: Option<bool> = conn.query_first(
        "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit = 1 AND NOT @@GLOBAL.log_bin",
    )?;
    Ok(Server {
        // The other nodes have what this one has shown.
        shows_commits_early: flushes.unwrap_or(true) && !is_galera,
        is_cluster: is_galera || !group.is_empty(),
    })
}

/// Why this server must not be relayed from now; `None` if it may.
pub(super) fn problem(conn: &mut Conn) -> mysql::Result<Option<String>> {
    // super_read_only is never on without it.
    if conn.query_first("SELECT @@GLOBAL.read_only")? == Some(1) {
        return Ok(Some("it is read-only, as replicas are".to_owned()));
    }
    let state: Option<(String, String)> =
        conn.query_first("SHOW GLOBAL STATUS LIKE 'wsrep_local_state_comment'")?;
    Ok(state
        .map(|(_, state)| state)
        .filter(|state| !state.is_empty() && state != "Synced")
        .map(|state| format!("its state in the cluster is {state}, and not Synced")))
}

/// How rows are confirmed.
pub(super) fn confirm(conn: &mut Conn) -> mysql::Result<Confirm> {
    let confirm: Option<String> =
        conn.query_first("SELECT confirm FROM gman_outbox_state WHERE one = 1")?;
    Ok(match confirm.as_deref() {
        Some("worker") => Confirm::Worker,
        _ => Confirm::Gearmand,
    })
}

/// Deletes what the event of outbox.sql has submitted and could not delete; it must not be submitted
/// again.
pub(super) fn delete_acknowledged(conn: &mut Conn) -> mysql::Result<()> {
    let ids: Vec<u64> = conn.query("SELECT id FROM gman_outbox_acknowledged")?;
    for id in ids {
        conn.exec_drop("DELETE FROM gman_outbox WHERE id = ?", (id,))?;
        conn.exec_drop("DELETE FROM gman_outbox_acknowledged WHERE id = ?", (id,))?;
    }
    Ok(())
}

fn variable(conn: &mut Conn, name: &str) -> mysql::Result<Option<String>> {
    let row: Option<(String, String)> =
        conn.query_first(format!("SHOW GLOBAL VARIABLES LIKE '{name}'"))?;
    Ok(row.map(|(_, value)| value))
}
