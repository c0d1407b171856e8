//! The nodes of a cluster on this machine.

use std::ops::{Deref, DerefMut};

use super::database::Database;
use super::ports::Port;

/// Servers that are one group, and the ports that they talk to each other on.
#[derive(Debug)]
pub(crate) struct Nodes {
    servers: Vec<Database>,
    _ports: Vec<Port>,
}

impl Nodes {
    pub(super) fn new(servers: Vec<Database>, ports: Vec<Port>) -> Self {
        Self {
            servers,
            _ports: ports,
        }
    }
}

impl Deref for Nodes {
    type Target = [Database];

    fn deref(&self) -> &Self::Target {
        &self.servers
    }
}

impl DerefMut for Nodes {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.servers
    }
}
