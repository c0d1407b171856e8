//! The C peers, `benches/peer/peer.c`.

use std::path::Path;
use std::process::Command;

use crate::support::{Database, run};

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
