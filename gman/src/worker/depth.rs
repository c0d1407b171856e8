//! How many jobs wait for the worker, in each of its job servers.

use std::thread;
use std::time::Duration;

use gearman_mysql_udf::gearman::servers::host_port::HostPort;
use gearman_mysql_udf::gearman::wire::protection::Protection;
use prometheus::IntGaugeVec;

use crate::connections::queues;
use crate::threads;

/// How long a job server may take to connect, and to answer; Prometheus waits ten seconds for all of them.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The queues of the worker's functions.
pub(super) struct Depth {
    pub(super) job_servers: Vec<HostPort>,
    pub(super) protection: Protection,
    pub(super) functions: Vec<String>,
}

impl Depth {
    /// Asks all job servers at once. One that gives no answer has no number: an old one would mislead.
    pub(super) fn measure(&self, gauge: &IntGaugeVec) {
        gauge.reset();
        thread::scope(|scope| {
            for server in &self.job_servers {
                let ask = move || self.ask(server, gauge);
                // Without a thread for it, it is asked before the others.
                if threads::start_in(scope, ask).is_err() {
                    ask();
                }
            }
        });
    }

    fn ask(&self, server: &HostPort, gauge: &IntGaugeVec) {
        let answer = queues(server, &self.protection, TIMEOUT).unwrap_or_default();
        let ours = answer
            .into_iter()
            .filter(|queue| self.functions.contains(&queue.function));
        for queue in ours {
            let labels = [server.to_string(), queue.function];
            gauge
                .with_label_values(&labels)
                .set(queue.jobs.try_into().unwrap_or(i64::MAX));
        }
    }
}
