//! The event that relays the outbox: the only one of its server.

use std::time::Duration;

use crate::support::{Database, wait_until};

/// How long a run of the event may take.
const PATIENCE: Duration = Duration::from_secs(900);

pub(crate) fn start(database: &Database) {
    database.execute("SET GLOBAL event_scheduler = ON");
}

/// Switches the event off and waits until no run of it is left.
pub(crate) fn stop(database: &Database) {
    database.execute("SET GLOBAL event_scheduler = OFF");
    wait_until(PATIENCE, "the event to end", || {
        let running: u64 = database
            .value("SELECT COUNT(*) FROM information_schema.processlist WHERE command = 'Connect'");
        if running == 0 { Ok(()) } else { Err(running) }
    });
}
