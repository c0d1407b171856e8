//! Someone who submits many jobs at once, by our own client.

use std::time::Duration;

use gearman_mysql_udf::gearman::delivery::background_batch::BackgroundBatch;
use gearman_mysql_udf::gearman::delivery::client::Client;
use gearman_mysql_udf::gearman::limits::Limits;
use gearman_mysql_udf::gearman::wire::job::{Job, Mode, Priority};

use super::gearmand::Gearmand;

/// How long submitting may take, one job and all together.
const PATIENCE: Duration = Duration::from_secs(120);

/// A client of one job server.
#[derive(Debug)]
pub(crate) struct Submitter {
    client: Client,
    limits: Limits,
}

impl Submitter {
    pub(crate) fn to(gearmand: &Gearmand) -> Self {
        let client = Client::new();
        client
            .set_servers(&gearmand.address(), None)
            .unwrap_or_else(|error| panic!("{}: {error}", gearmand.address()));
        Self {
            client,
            limits: Limits {
                connect: PATIENCE,
                submit: PATIENCE,
                run: PATIENCE,
                connections: 1,
                window_bytes: 1 << 20,
                transaction_bytes: 64 << 20,
            },
        }
    }

    /// Submits background jobs in their order, and waits until the job server has them all.
    pub(crate) fn submit(&self, function: &str, workloads: impl IntoIterator<Item = String>) {
        let mode = Mode::Background(Priority::Normal);
        let mut batch = BackgroundBatch::default();
        for workload in workloads {
            let job = Job::new(mode, function.as_bytes(), workload.as_bytes(), None);
            batch.submit(&self.client, job, &self.limits, &|| false);
        }
        let outcome = batch.finish(&self.limits, &|| false);
        if let Some(error) = outcome.failure {
            panic!("cannot submit {function}: {error}");
        }
    }
}
