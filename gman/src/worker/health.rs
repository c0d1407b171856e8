//! Whether the worker can work.

use std::sync::Arc;

use super::statistics::Statistics;
use crate::redis_client::Routes;
use crate::service::Watched;

/// What it depends on.
pub(super) struct Health {
    routes: Arc<Routes>,
    statistics: Arc<Statistics>,
    job_servers: usize,
}

impl Health {
    pub(super) fn new(
        routes: &Arc<Routes>,
        statistics: &Arc<Statistics>,
        job_servers: usize,
    ) -> Self {
        Self {
            routes: Arc::clone(routes),
            statistics: Arc::clone(statistics),
            job_servers,
        }
    }
}

impl Watched for Health {
    fn numbers(&self) -> prometheus::Result<String> {
        self.statistics.text()
    }

    /// Redis is asked now, each of its nodes.
    fn problems(&self) -> String {
        let mut problems = String::new();
        let connected = self.statistics.gearmand_connections.get();
        if usize::try_from(connected) != Ok(self.job_servers) {
            problems += &format!(
                "{connected} of {} job servers are connected\n",
                self.job_servers
            );
        }
        for node in self.routes.nodes_in_charge() {
            if let Err(fault) = self.routes.connect(node) {
                problems += &format!("Redis {fault}\n");
            }
        }
        problems
    }
}
