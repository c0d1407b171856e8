//! What the threads of one term share: the time from taking the lease until it is lost or given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gearman_mysql_udf::gearman::delivery::client::Client;

use super::flight::{Flight, Function};
use super::lease::Lease;
use super::statistics::Statistics;
use crate::service::Stop;

/// Whose word ends a row's stay in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirm {
    /// The job server's, that it has the job.
    Gearmand,
    /// The worker's, that it has done the job.
    Worker,
}

/// What the lanes tell the settler.
#[derive(Debug)]
pub(super) enum Report {
    /// These rows are dealt with.
    Done(Vec<u64>),
    /// This row is to be set aside, and why.
    Dead(u64, String),
    /// This stands in the way of somebody.
    Trouble(Who, String),
    /// Nothing does any more.
    Well(Who),
}

/// Who is in trouble.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    Reader,
    Settler,
    Lane(Function),
}

pub(super) struct Term {
    pub(super) lease: Lease,
    pub(super) confirm: Confirm,
    pub(super) flight: Flight,
    pub(super) client: Arc<Client>,
    pub(super) statistics: Arc<Statistics>,
    pub(super) stop: Arc<Stop>,
    is_over: AtomicBool,
}

impl Term {
    pub(super) fn new(
        lease: Lease,
        confirm: Confirm,
        client: &Arc<Client>,
        statistics: &Arc<Statistics>,
        stop: &Arc<Stop>,
    ) -> Self {
        Self {
            lease,
            confirm,
            flight: Flight::default(),
            client: Arc::clone(client),
            statistics: Arc::clone(statistics),
            stop: Arc::clone(stop),
            is_over: AtomicBool::new(false),
        }
    }

    /// Nothing is submitted or deleted from now on.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Whether a job may be submitted.
    pub(super) fn may_submit(&self) -> bool {
        !self.is_over() && self.lease.is_valid() && !self.stop.expired()
    }
}
