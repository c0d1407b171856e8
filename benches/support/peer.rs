//! The C peers, `benches/peer/peer.c`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mysql::Conn;

use crate::job_server;
use crate::support::{Database, Gearmand, run};
use crate::trigger_table::{JSON, assert_jobs, keep_fastest, query, set_trigger, update};

/// Builds the C peers and creates their functions.
pub(crate) fn install(database: &Database) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer/peer.c");
    let target = database.plugin_dir().join("peer.so");
    run(Command::new("cc")
        .args([
            "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-o",
        ])
        .arg(&target)
        .arg(&source)
        .arg("-lgearman"));
    database.execute("CREATE FUNCTION peer_servers_set RETURNS INTEGER SONAME 'peer.so'");
    for function in ["peer_do_background", "peer_kept_do_background"] {
        database.execute(&format!(
            "CREATE FUNCTION {function} RETURNS STRING SONAME 'peer.so'"
        ));
    }
}

/// Updates rows whose trigger calls `function`, one of the peers; returns the gearmand that has the jobs. It is
/// a new one: without the jobs of the one before, and on a port to which no closed connection is remembered.
/// The peer that connects for each call would run out of local ports otherwise.
pub(crate) fn keep_fastest_update(
    function: &str,
    time: &mut Option<Duration>,
    session: &mut Conn,
    rows: u32,
) -> Gearmand {
    let gearmand = job_server::start();
    query(
        session,
        &format!("SELECT peer_servers_set('{}')", gearmand.address()),
    );
    set_trigger(session, Some(&format!("SET @r = {function}('f', {JSON})")));
    keep_fastest(time, update(session, rows));
    assert_jobs(&gearmand, rows);
    gearmand
}
