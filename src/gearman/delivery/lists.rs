//! Which job servers get the jobs of which Gearman function.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::gearman::delivery::pipeline::Pipeline;
use crate::gearman::delivery::trouble::Listener;
use crate::gearman::servers::host_port::HostPort;
use crate::gearman::servers::job_server::{JobServer, ServerList};
use crate::gearman::servers::refresher::{Named, Refresher};

/// All lists. A server that several of them name is the same in each.
#[derive(Debug)]
pub(crate) struct Lists {
    default: Route,
    /// Those of single Gearman functions, by the function's name.
    of_function: BTreeMap<Vec<u8>, Route>,
    listener: Listener,
    refresher: Refresher,
}

/// A list, and the pipeline of the jobs that go there. The pipeline stays when the list changes, and
/// takes its jobs along.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// `None` until it is set.
    servers: Option<ServerList>,
    pub(crate) pipeline: Arc<Pipeline>,
}

/// A server and the lists that name it: functions, and `None` for the default list.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) server: Arc<JobServer>,
    pub(crate) lists: Vec<Option<Vec<u8>>>,
}

impl Lists {
    /// Without any list; pipelines tell `listener` of their troubles, and servers that fail ask
    /// `refresher` for fresh addresses.
    pub(crate) fn new(listener: Listener, refresher: Refresher) -> Self {
        Self {
            default: Route::new(&listener),
            of_function: BTreeMap::new(),
            listener,
            refresher,
        }
    }

    /// The function's own list, or else the default one; `None` where there is neither.
    pub(crate) fn of(&self, function: &[u8]) -> Option<(ServerList, &Arc<Pipeline>)> {
        let own = self.of_function.get(function);
        let route = own.unwrap_or(&self.default);
        let servers = route.servers.clone()?;
        Some((servers, &route.pipeline))
    }

    /// Sets the function's own list, or the default one, to servers with their addresses.
    pub(crate) fn set(
        &mut self,
        function: Option<&[u8]>,
        servers: Vec<(HostPort, Vec<SocketAddr>)>,
    ) {
        let list: ServerList = servers
            .into_iter()
            .map(|(host_port, addresses)| self.known_or_new(host_port, addresses))
            .collect();
        let route = match function {
            None => &mut self.default,
            Some(function) => self
                .of_function
                .entry(function.to_vec())
                .or_insert_with(|| Route::new(&self.listener)),
        };
        route.set(Some(list));
    }

    /// Takes the default list away.
    pub(crate) fn unset(&mut self) {
        self.default.set(None);
    }

    /// The pipelines of all lists.
    pub(crate) fn pipelines(&self) -> Vec<Arc<Pipeline>> {
        self.routes()
            .map(|(_, route)| Arc::clone(&route.pipeline))
            .collect()
    }

    /// Every server of every list, those that several lists name several times.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<JobServer>> {
        self.routes()
            .filter_map(|(_, route)| route.servers.as_ref())
            .flat_map(|list| list.iter())
    }

    /// Every route with its Gearman function, `None` for the default one, which comes first.
    fn routes(&self) -> impl Iterator<Item = (Option<&Vec<u8>>, &Route)> {
        let of_function = self.of_function.iter();
        let of_function = of_function.map(|(function, route)| (Some(function), route));
        std::iter::once((None, &self.default)).chain(of_function)
    }

    /// Every server once.
    pub(crate) fn listed(&self) -> Vec<Listed> {
        let mut servers: Vec<Listed> = Vec::new();
        for (name, route) in self.routes() {
            for server in route.servers.iter().flat_map(|list| list.iter()) {
                let mut known = servers.iter_mut();
                match known.find(|known| Arc::ptr_eq(&known.server, server)) {
                    Some(known) => known.lists.push(name.cloned()),
                    None => servers.push(Listed {
                        server: Arc::clone(server),
                        lists: vec![name.cloned()],
                    }),
                }
            }
        }
        servers
    }

    /// A server keeps its connections when a list that has it is set again, and gets a fresh
    /// chance where it failed.
    fn known_or_new(&self, host_port: HostPort, addresses: Vec<SocketAddr>) -> Arc<JobServer> {
        match self.all().find(|server| server.host_port == host_port) {
            Some(server) => {
                server.set_addresses(&addresses);
                server.health.reset();
                Arc::clone(server)
            }
            None => {
                let refresher = self.refresher.clone();
                Arc::new(JobServer::new(host_port, addresses, refresher))
            }
        }
    }
}

impl Route {
    fn new(listener: &Listener) -> Self {
        Self {
            servers: None,
            pipeline: Arc::new(Pipeline::new(listener)),
        }
    }

    fn set(&mut self, servers: Option<ServerList>) {
        self.pipeline.set_servers(servers.clone());
        self.servers = servers;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gearman::servers::host_port;

    fn lists() -> Lists {
        Lists::new(Listener::new(|_| {}), Refresher::default())
    }

    fn set(lists: &mut Lists, function: Option<&str>, list: &str) {
        let servers = host_port::parse(list).unwrap();
        let resolved = servers.into_iter().map(|server| {
            let address = SocketAddr::new(server.literal().unwrap(), server.port);
            (server, vec![address])
        });
        lists.set(function.map(str::as_bytes), resolved.collect());
    }

    fn names(lists: &Lists, function: &str) -> Vec<String> {
        let list = lists.of(function.as_bytes());
        list.iter()
            .flat_map(|(list, _)| list.iter())
            .map(|server| server.name.to_string())
            .collect()
    }

    #[test]
    fn a_function_without_its_own_list_uses_the_default() {
        let mut lists = lists();
        assert!(lists.of(b"f").is_none());
        set(&mut lists, Some("f"), "127.0.0.1:1");
        assert!(lists.of(b"g").is_none());
        set(&mut lists, None, "127.0.0.1:2,127.0.0.1:3");
        assert_eq!(names(&lists, "f"), ["127.0.0.1:1"]);
        assert_eq!(names(&lists, "g"), ["127.0.0.1:2", "127.0.0.1:3"]);
    }

    #[test]
    fn a_server_of_several_lists_is_one_server() {
        let mut lists = lists();
        set(&mut lists, None, "127.0.0.1:1,127.0.0.1:2");
        set(&mut lists, Some("f"), "127.0.0.1:2");
        let listed = lists.listed();
        assert_eq!(listed.len(), 2);
        assert_eq!(listed[0].lists, [None]);
        assert_eq!(listed[1].lists, [None, Some(b"f".to_vec())]);
    }

    #[test]
    fn a_server_survives_its_list_being_set_again() {
        let mut lists = lists();
        set(&mut lists, None, "127.0.0.1:1");
        let (before, _) = lists.of(b"f").unwrap();
        set(&mut lists, None, "127.0.0.1:2,127.0.0.1:1");
        let (after, _) = lists.of(b"f").unwrap();
        assert!(Arc::ptr_eq(&before[0], &after[1]));
    }
}
