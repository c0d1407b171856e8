//! The one Gearman client that every function and session shares.

use std::sync::LazyLock;

use crate::functions::failure;
use crate::gearman::delivery::client::Client;
use crate::gearman::limits::Limits;
use crate::settings;

/// Made when it is first used.
pub(super) static CLIENT: LazyLock<Client> =
    LazyLock::new(|| Client::with_listener(failure::note_event));

/// What the settings in force say.
pub(super) fn limits() -> Limits {
    Limits {
        connect: settings::CONNECT_TIMEOUT.duration(),
        submit: settings::TIMEOUT.duration(),
        run: settings::DO_TIMEOUT.duration(),
        connections: settings::MAX_CONNECTIONS.size(),
        window_bytes: settings::WINDOW.size(),
        transaction_bytes: settings::TRANSACTION.size(),
    }
}
