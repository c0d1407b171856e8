//! One job server: where it is, how it is, and the connections to it.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::error::Error;
use crate::gearman::servers::health::{Health, Resting};
use crate::gearman::servers::host_port::HostPort;
use crate::gearman::servers::pool::Pool;
use crate::gearman::servers::refresher::{Named, Refresher};
use crate::gearman::servers::resolver;
use crate::gearman::wire::connection::Connection;
use crate::gearman::wire::deadline::Deadline;
use crate::gearman::wire::protection::Protection;

/// Job servers, at least one, in the order they are tried in.
pub(crate) type ServerList = Arc<[Arc<JobServer>]>;

/// One job server. It is the same in every list that names it.
#[derive(Debug)]
pub(crate) struct JobServer {
    /// As the list has it.
    pub(crate) host_port: HostPort,
    /// The same as text, for errors.
    pub(crate) name: Arc<str>,
    pub(crate) pool: Pool,
    pub(crate) health: Health,
    /// Asked for fresh addresses when the server fails.
    pub(crate) refresher: Refresher,
    protection: Protection,
    /// Empty while the name has not been resolved. The one that answered last comes first.
    addresses: RwLock<Arc<[SocketAddr]>>,
}

impl JobServer {
    /// A server at `addresses`; without any its name is resolved when it is first needed.
    pub(crate) fn new(
        host_port: HostPort,
        addresses: Vec<SocketAddr>,
        refresher: Refresher,
        protection: Protection,
    ) -> Self {
        Self {
            name: Arc::from(host_port.to_string()),
            protection,
            host_port,
            pool: Pool::default(),
            health: Health::default(),
            refresher,
            addresses: RwLock::new(addresses.into()),
        }
    }

    /// Where the server is, after asking if that is not known yet.
    fn resolved(&self, deadline: &Deadline<'_>) -> Result<Arc<[SocketAddr]>, Error> {
        let known = self.addresses();
        if !known.is_empty() {
            return Ok(known);
        }
        self.set_addresses(&resolver::begin(&self.host_port).wait(deadline)?);
        Ok(self.addresses())
    }

    /// Where the server is, as far as that is known.
    pub(crate) fn addresses(&self) -> Arc<[SocketAddr]> {
        let addresses = self.addresses.read();
        Arc::clone(&addresses.unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens a connection: tries every address, all together for at most `limit`.
    pub(crate) fn connect(
        &self,
        deadline: &Deadline<'_>,
        limit: Duration,
    ) -> Result<Connection, Error> {
        let deadline = deadline.within(limit);
        let addresses = self.resolved(&deadline)?;
        let way = self.protection.way();
        let mut failure = Error::NoServers;
        for (index, &address) in addresses.iter().enumerate() {
            let share = deadline.share(addresses.len() - index);
            let host = &self.host_port.host;
            match Connection::open(&self.name, host, address, &way, &share) {
                Ok(connection) => {
                    if index > 0 {
                        self.prefer(&addresses, index);
                    }
                    return Ok(connection);
                }
                Err(Error::Stopped) => return Err(Error::Stopped),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The error of a call that did not try this server.
    pub(crate) fn at_rest(&self, resting: Resting) -> Error {
        Error::Resting {
            server: Arc::clone(&self.name),
            cause: resting.cause,
            left: resting.left,
        }
    }

    fn prefer(&self, addresses: &[SocketAddr], index: usize) {
        let mut addresses = addresses.to_vec();
        addresses[..=index].rotate_right(1);
        self.store_addresses(addresses.into());
    }

    fn store_addresses(&self, addresses: Arc<[SocketAddr]>) {
        let mut current = self
            .addresses
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = addresses;
    }
}

impl Named for JobServer {
    fn host_port(&self) -> &HostPort {
        &self.host_port
    }

    /// The order stays where the addresses do.
    fn set_addresses(&self, addresses: &[SocketAddr]) {
        let known = self.addresses();
        let same = known.len() == addresses.len() && known.iter().all(|a| addresses.contains(a));
        if !same {
            self.store_addresses(addresses.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    const PLENTY: Duration = Duration::from_secs(30);

    #[test]
    fn every_address_is_tried_and_the_one_that_answered_comes_first_from_then_on() {
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let gone = listen().local_addr().unwrap();
        let listener = listen();
        let here = listener.local_addr().unwrap();
        let host_port = HostPort {
            host: "name".to_owned(),
            port: here.port(),
        };
        let server = JobServer::new(
            host_port,
            vec![gone, here],
            Refresher::default(),
            Protection::default(),
        );
        server.connect(&Deadline::after(PLENTY), PLENTY).unwrap();
        assert_eq!(*server.addresses(), [here, gone]);
        // The same addresses in another order are no news.
        server.set_addresses(&[gone, here]);
        assert_eq!(*server.addresses(), [here, gone]);
        server.set_addresses(&[gone]);
        assert_eq!(*server.addresses(), [gone]);
    }
}
