//! Whether the worker can work.

use std::sync::Arc;

use super::depth::Depth;
use super::statistics::Statistics;
use crate::redis_client::Routes;
use crate::service::Watched;

/// What it depends on.
pub(super) struct Health {
    routes: Arc<Routes>,
    statistics: Arc<Statistics>,
    depth: Depth,
}

impl Health {
    pub(super) fn new(routes: &Arc<Routes>, statistics: &Arc<Statistics>, depth: Depth) -> Self {
        Self {
            routes: Arc::clone(routes),
            statistics: Arc::clone(statistics),
            depth,
        }
    }
}

impl Watched for Health {
    /// Each job server is asked now for its queues.
    fn numbers(&self) -> prometheus::Result<String> {
        self.depth.measure(&self.statistics.queue_jobs);
        self.statistics.text()
    }

    /// Redis is asked now, each of its nodes.
    fn problems(&self) -> String {
        let mut problems = String::new();
        let connected = self.statistics.gearmand_connections.get();
        let job_servers = self.depth.job_servers.len();
        if usize::try_from(connected) != Ok(job_servers) {
            problems += &format!("{connected} of {job_servers} job servers are connected\n");
        }
        for node in self.routes.nodes_in_charge() {
            if let Err(fault) = self.routes.connect(node) {
                problems += &format!("Redis {fault}\n");
            }
        }
        problems
    }
}
