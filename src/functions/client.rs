//! The one Gearman client that every function and session shares.

use std::sync::LazyLock;

use crate::gearman::client::{Client, Limits};
use crate::settings;

/// Made when it is first used.
pub(super) static CLIENT: LazyLock<Client> = LazyLock::new(Client::new);

/// What the settings in force say.
pub(super) fn limits() -> Limits {
    Limits {
        connect: settings::CONNECT_TIMEOUT.duration(),
        submit: settings::TIMEOUT.duration(),
        run: settings::DO_TIMEOUT.duration(),
        max_idle: usize::try_from(settings::MAX_IDLE.get()).unwrap_or(usize::MAX),
    }
}
