//! The route of each Gearman function: its list of job servers, and the pipeline to them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::error::Error;
use crate::gearman::delivery::events::Listener;
use crate::gearman::delivery::pipeline::{Departure, Pipeline};
use crate::gearman::servers::host_port::HostPort;
use crate::gearman::servers::job_server::{JobServer, ServerList};
use crate::gearman::servers::refresher::Refresher;
use crate::gearman::wire::deadline::Deadline;
use crate::gearman::wire::protection::Protection;

/// How many functions can have a list of their own: each list may take a thread and a connection, and
/// any account can set one.
const MAX_LISTS: usize = 64;

/// How many functions can have jobs that wait for servers of an earlier list.
const MAX_EARLIER: usize = 1024;

/// The routes of all functions. A server that several lists name is the same in each.
#[derive(Debug)]
pub(crate) struct RoutingTable {
    default: Route,
    /// Those of single Gearman functions, by the function's name.
    of_function: BTreeMap<Vec<u8>, Route>,
    /// Pipelines that no list leads to any more, until their jobs are answered.
    draining: Vec<Arc<Pipeline>>,
    /// Jobs that took another route before a list changed, and must not be overtaken: those of functions
    /// whose own list it was, and those of all the others.
    earlier_of_function: BTreeMap<Vec<u8>, Vec<EarlierRoute>>,
    earlier: Vec<EarlierRoute>,
    listener: Listener,
    refresher: Refresher,
    protection: Protection,
}

/// A list of servers, and the pipeline of the jobs that go there. Lists that are the same share a pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// `None` until it is set.
    servers: Option<ServerList>,
    pub(crate) pipeline: Arc<Pipeline>,
}

/// The jobs that took a pipeline before its list changed.
#[derive(Debug, Clone)]
pub(crate) struct EarlierRoute {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) departure: Departure,
}

impl EarlierRoute {
    /// Waits until they are answered.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::wait_for_jobs_before`].
    pub(crate) fn wait(&self, deadline: &Deadline<'_>) -> Result<(), Error> {
        self.pipeline
            .wait_for_jobs_before(&self.departure, deadline)
    }
}

/// A server and the lists that name it: functions, and `None` for the default list.
#[derive(Debug)]
pub(crate) struct RoutedServer {
    pub(crate) server: Arc<JobServer>,
    pub(crate) lists: Vec<Option<Vec<u8>>>,
}

impl RoutingTable {
    /// Without any list. Pipelines tell `listener` of their troubles, servers that fail ask
    /// `refresher` for fresh addresses, and connections are made as `protection` says.
    pub(crate) fn new(listener: Listener, refresher: Refresher, protection: Protection) -> Self {
        Self {
            default: Route::new(&listener),
            of_function: BTreeMap::new(),
            draining: Vec::new(),
            earlier_of_function: BTreeMap::new(),
            earlier: Vec::new(),
            listener,
            refresher,
            protection,
        }
    }

    /// The function's own list, or else the default one; `None` if there is neither.
    pub(crate) fn of(&self, function: &[u8]) -> Option<(ServerList, &Arc<Pipeline>)> {
        let route = self.route(function);
        Some((route.servers.clone()?, &route.pipeline))
    }

    /// What the next job for `function` must not overtake.
    pub(crate) fn earlier(&self, function: &[u8]) -> Vec<EarlierRoute> {
        let own = self.earlier_of_function.get(function);
        let has_list = self.of_function.contains_key(function);
        let of_all = Some(&self.earlier).filter(|_| !has_list);
        // Those on the same route keep their order by themselves.
        let now = &self.route(function).pipeline;
        let routes = own.into_iter().chain(of_all).flatten();
        routes
            .filter(|route| !Arc::ptr_eq(&route.pipeline, now))
            .cloned()
            .collect()
    }

    fn route(&self, function: &[u8]) -> &Route {
        self.of_function.get(function).unwrap_or(&self.default)
    }

    /// Sets the function's own list, or the default one.
    ///
    /// # Errors
    ///
    /// [`Error::Input`] if there are [`MAX_LISTS`] already, or if jobs of many earlier lists still wait;
    /// nothing has changed then.
    pub(crate) fn set(
        &mut self,
        function: Option<&[u8]>,
        servers: Vec<HostPort>,
    ) -> Result<(), Error> {
        self.forget_what_is_answered();
        self.check_bounds(function)?;
        let list: ServerList = servers
            .into_iter()
            .map(|host_port| self.known_or_new(host_port))
            .collect();
        let old = match function {
            None => self.default.clone(),
            Some(function) => self.route(function).clone(),
        };
        let route = self.route_to(list, function, &old);
        if !Arc::ptr_eq(&route.pipeline, &old.pipeline) {
            self.note_earlier(function, &old.pipeline);
        }
        match function {
            None => self.default = route,
            Some(function) => drop(self.of_function.insert(function.to_vec(), route)),
        }
        self.let_go_of(old.pipeline);
        Ok(())
    }

    fn check_bounds(&self, function: Option<&[u8]>) -> Result<(), Error> {
        let is_new = function.is_some_and(|function| !self.of_function.contains_key(function));
        if is_new && self.of_function.len() >= MAX_LISTS {
            return Err(Error::Input(format!(
                "{MAX_LISTS} functions have a list of their own already, which is the most; \
                 SELECT gman_servers_set('', 'function') takes one away"
            )));
        }
        if self.draining.len() >= MAX_LISTS || self.earlier_of_function.len() >= MAX_EARLIER {
            return Err(Error::Input(
                "jobs still wait for the job servers of too many earlier lists; \
                 gman_flush() waits until none does"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// Removes the default list. Its jobs wait for another one.
    pub(crate) fn unset(&mut self) {
        if self.users(&self.default.pipeline) > 1 {
            self.default = Route::new(&self.listener);
        }
        self.default.servers = None;
        self.default.pipeline.set_servers(None);
    }

    /// Removes a function's own list: its jobs go to the default one from now on. Without
    /// such a list there is nothing to do.
    pub(crate) fn unset_of(&mut self, function: &[u8]) {
        let Some(old) = self.of_function.remove(function) else {
            return;
        };
        if !Arc::ptr_eq(&old.pipeline, &self.default.pipeline) {
            self.note_earlier(Some(function), &old.pipeline);
        }
        if self.users(&old.pipeline) == 0 {
            // Nobody else needs the old list: what waits goes to the default one as well.
            old.pipeline.set_servers(self.default.servers.clone());
        }
        self.let_go_of(old.pipeline);
    }

    /// Connections are made another way from now on: gives every server a fresh chance, and every sender
    /// a reason to leave its connection.
    pub(crate) fn reconnect(&self) {
        for server in self.servers() {
            server.health.reset();
        }
        for pipeline in self.pipelines() {
            pipeline.reconnect();
        }
    }

    /// The pipelines of all lists.
    pub(crate) fn pipelines(&self) -> Vec<Arc<Pipeline>> {
        let mut pipelines: Vec<Arc<Pipeline>> = self.draining.clone();
        for (_, route) in self.routes() {
            if !pipelines
                .iter()
                .any(|known| Arc::ptr_eq(known, &route.pipeline))
            {
                pipelines.push(Arc::clone(&route.pipeline));
            }
        }
        pipelines
    }

    /// The route to `list` for a function, or for all others, that took `old` so far.
    fn route_to(&self, list: ServerList, function: Option<&[u8]>, old: &Route) -> Route {
        let is_own = function.is_none_or(|function| self.of_function.contains_key(function));
        let is_alone = is_own && self.users(&old.pipeline) == 1;
        let same = self.routes().find(|(_, route)| {
            let servers = route.servers.as_ref();
            servers.is_some_and(|servers| is_same(servers, &list))
        });
        let pipeline = match same {
            Some((_, route)) => Arc::clone(&route.pipeline),
            // Its jobs go along.
            None if is_alone => Arc::clone(&old.pipeline),
            None => Arc::new(Pipeline::new(&self.listener)),
        };
        pipeline.set_servers(Some(Arc::clone(&list)));
        if is_alone && !Arc::ptr_eq(&pipeline, &old.pipeline) {
            // Nobody else needs the old list: what waits goes to the new one as well.
            old.pipeline.set_servers(Some(Arc::clone(&list)));
        }
        Route {
            servers: Some(list),
            pipeline,
        }
    }

    /// What waits in `pipeline` for a function, or for all without a list of their own, must not be
    /// overtaken.
    fn note_earlier(&mut self, function: Option<&[u8]>, pipeline: &Arc<Pipeline>) {
        let departure = pipeline.depart(|name| match function {
            Some(function) => name.as_bytes() == function,
            None => !self.of_function.contains_key(name.as_bytes()),
        });
        let Some(departure) = departure else { return };
        let earlier = match function {
            None => &mut self.earlier,
            Some(function) => self
                .earlier_of_function
                .entry(function.to_vec())
                .or_default(),
        };
        earlier.retain(|known| !Arc::ptr_eq(&known.pipeline, pipeline));
        earlier.push(EarlierRoute {
            pipeline: Arc::clone(pipeline),
            departure,
        });
    }

    fn forget_what_is_answered(&mut self) {
        self.draining.retain(|pipeline| pipeline.is_needed());
        self.earlier.retain(|earlier| earlier.pipeline.is_needed());
        self.earlier_of_function.retain(|_, of_function| {
            of_function.retain(|earlier| earlier.pipeline.is_needed());
            !of_function.is_empty()
        });
    }

    /// How many lists lead to `pipeline`.
    fn users(&self, pipeline: &Arc<Pipeline>) -> usize {
        let users = self.routes();
        users
            .filter(|(_, route)| Arc::ptr_eq(&route.pipeline, pipeline))
            .count()
    }

    /// Keeps a pipeline that no list leads to any more until its jobs are answered.
    fn let_go_of(&mut self, pipeline: Arc<Pipeline>) {
        if self.users(&pipeline) == 0 && pipeline.is_needed() {
            self.draining.push(pipeline);
        }
    }

    /// Every server of every list, those that several lists name several times.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &Arc<JobServer>> {
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
    pub(crate) fn servers_with_lists(&self) -> Vec<RoutedServer> {
        let mut servers: Vec<RoutedServer> = Vec::new();
        for (name, route) in self.routes() {
            for server in route.servers.iter().flat_map(|list| list.iter()) {
                let mut known = servers.iter_mut();
                match known.find(|known| Arc::ptr_eq(&known.server, server)) {
                    Some(known) => known.lists.push(name.cloned()),
                    None => servers.push(RoutedServer {
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
    fn known_or_new(&self, host_port: HostPort) -> Arc<JobServer> {
        match self.servers().find(|server| server.host_port == host_port) {
            Some(server) => {
                server.health.reset();
                Arc::clone(server)
            }
            None => {
                let address = host_port.literal();
                let addresses = address.map(|ip| SocketAddr::new(ip, host_port.port));
                let refresher = self.refresher.clone();
                let addresses = addresses.into_iter().collect();
                let protection = self.protection.clone();
                let server = JobServer::new(host_port, addresses, refresher, protection);
                Arc::new(server)
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
}

/// Whether two lists name the same servers in the same order.
fn is_same(one: &ServerList, other: &ServerList) -> bool {
    let pairs = || one.iter().zip(other.iter());
    one.len() == other.len() && pairs().all(|(one, other)| Arc::ptr_eq(one, other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gearman::servers::host_port;

    fn table() -> RoutingTable {
        RoutingTable::new(
            Listener::new(|_| {}),
            Refresher::default(),
            Protection::default(),
        )
    }

    fn set(table: &mut RoutingTable, function: Option<&str>, list: &str) {
        let servers = host_port::parse(list).unwrap();
        let set = table.set(function.map(str::as_bytes), servers);
        set.unwrap_or_else(|error| panic!("{error}"));
    }

    fn names(table: &RoutingTable, function: &str) -> Vec<String> {
        let list = table.of(function.as_bytes());
        list.iter()
            .flat_map(|(list, _)| list.iter())
            .map(|server| server.name.to_string())
            .collect()
    }

    #[test]
    fn a_function_without_its_own_list_uses_the_default() {
        let mut table = table();
        assert!(table.of(b"f").is_none());
        set(&mut table, Some("f"), "127.0.0.1:1");
        assert!(table.of(b"g").is_none());
        set(&mut table, None, "127.0.0.1:2,127.0.0.1:3");
        assert_eq!(names(&table, "f"), ["127.0.0.1:1"]);
        assert_eq!(names(&table, "g"), ["127.0.0.1:2", "127.0.0.1:3"]);
    }

    #[test]
    fn a_server_of_several_lists_is_one_server() {
        let mut table = table();
        set(&mut table, None, "127.0.0.1:1,127.0.0.1:2");
        set(&mut table, Some("f"), "127.0.0.1:2");
        let servers = table.servers_with_lists();
        assert_eq!(servers.len(), 2);
        assert_eq!(servers[0].lists, [None]);
        assert_eq!(servers[1].lists, [None, Some(b"f".to_vec())]);
    }

    #[test]
    fn a_server_survives_its_list_being_set_again() {
        let mut table = table();
        set(&mut table, None, "127.0.0.1:1");
        let (before, _) = table.of(b"f").unwrap();
        set(&mut table, None, "127.0.0.1:2,127.0.0.1:1");
        let (after, _) = table.of(b"f").unwrap();
        assert!(Arc::ptr_eq(&before[0], &after[1]));
    }

    #[test]
    fn lists_that_are_the_same_share_a_pipeline() {
        let mut table = table();
        set(&mut table, None, "127.0.0.1:1,127.0.0.1:2");
        for function in ["f", "g"] {
            set(&mut table, Some(function), "127.0.0.1:2");
        }
        assert_eq!(table.pipelines().len(), 2);
        set(&mut table, Some("g"), "127.0.0.1:1,127.0.0.1:2");
        assert_eq!(table.pipelines().len(), 2);
        set(&mut table, Some("g"), "127.0.0.1:2,127.0.0.1:1");
        assert_eq!(table.pipelines().len(), 3);
        table.unset_of(b"g");
        table.unset_of(b"f");
        assert_eq!(table.pipelines().len(), 1);
    }

    #[test]
    fn a_list_that_is_alone_keeps_its_pipeline_when_it_changes() {
        let mut table = table();
        set(&mut table, None, "127.0.0.1:1");
        let before = Arc::clone(table.of(b"f").unwrap().1);
        set(&mut table, None, "127.0.0.1:2");
        assert!(Arc::ptr_eq(&before, table.of(b"f").unwrap().1));
        set(&mut table, Some("g"), "127.0.0.1:2");
        set(&mut table, None, "127.0.0.1:1");
        assert!(Arc::ptr_eq(&before, table.of(b"g").unwrap().1));
        assert!(!Arc::ptr_eq(&before, table.of(b"f").unwrap().1));
        table.unset();
        assert!(table.of(b"f").is_none());
        assert_eq!(names(&table, "g"), ["127.0.0.1:2"]);
    }

    #[test]
    fn there_are_at_most_64_lists_of_single_functions() {
        let mut table = table();
        for number in 0..MAX_LISTS {
            set(&mut table, Some(&number.to_string()), "127.0.0.1:1");
        }
        let refused = table.set(Some(b"one more"), Vec::new()).unwrap_err();
        assert!(refused.to_string().starts_with("64 functions"), "{refused}");
        set(&mut table, Some("7"), "127.0.0.1:2");
        table.unset_of(b"7");
        set(&mut table, Some("one more"), "127.0.0.1:1");
    }
}
