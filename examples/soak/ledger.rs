//! Every job: what was promised of it, and how often it arrived.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use serde::Deserialize;

/// A way of delivery: `docs/delivery.md`, "What is promised".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Delivery {
    Acked,
    Pipelined,
    Committed,
    Outbox,
}

impl Delivery {
    pub(crate) const ALL: [Self; 4] = [Self::Acked, Self::Pipelined, Self::Committed, Self::Outbox];

    /// The one that `gman_delivery` calls by this name.
    pub(crate) fn of_setting(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|delivery| delivery.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Acked => "acked",
            Self::Pipelined => "pipelined",
            Self::Committed => "committed",
            Self::Outbox => "outbox",
        }
    }
}

/// What the session that submitted a job knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The function answered with success, or the transaction committed: the job has to arrive.
    Promised(Delivery),
    /// The function answered with failure. The job may have arrived all the same, if it was only the
    /// answer of the job server that did not come in time.
    Failed(Delivery),
    /// The transaction rolled back: the job must not arrive.
    RolledBack(Delivery),
    /// The transaction rolled back, and the setting changed during the call: the job may have left with
    /// the call or gone with the transaction.
    Unclear(Delivery),
}

impl Fate {
    fn delivery(self) -> Delivery {
        match self {
            Self::Promised(delivery)
            | Self::Failed(delivery)
            | Self::RolledBack(delivery)
            | Self::Unclear(delivery) => delivery,
        }
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Job {
    /// `None` until the session knows.
    fate: Option<Fate>,
    arrivals: u32,
}

/// The workload of a job, as the triggers write it.
#[derive(Debug, Deserialize)]
struct Workload {
    /// The session, counted from 1.
    id: usize,
    /// The session's jobs, counted from 1.
    n: usize,
}

/// What became of the jobs of one delivery.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    /// What sessions asked for, what was rolled back or is unclear included.
    pub(crate) submitted: u64,
    pub(crate) rolled_back: u64,
    pub(crate) failed: u64,
    /// Answered with failure, and it arrived all the same.
    pub(crate) failed_and_arrived: u64,
    /// Promised, and arrived at least once.
    pub(crate) delivered: u64,
    /// Arrivals after a job's first.
    pub(crate) duplicates: u64,
    /// Promised, and never arrived.
    pub(crate) lost: u64,
    /// Arrived though nobody had committed it.
    pub(crate) phantom: u64,
}

/// The jobs of all sessions.
#[derive(Debug)]
pub(crate) struct Ledger {
    sessions: Vec<Mutex<Vec<Job>>>,
    delivered: [AtomicU64; Delivery::ALL.len()],
    promised: AtomicU64,
    /// Arrivals of what no session can have submitted.
    unknown: AtomicU64,
}

impl Ledger {
    pub(crate) fn new(sessions: usize) -> Self {
        Self {
            sessions: (0..sessions).map(|_| Mutex::default()).collect(),
            delivered: Default::default(),
            promised: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
        }
    }

    /// The number of the next job of `session`, which counts from 1 as the jobs do.
    pub(crate) fn begin(&self, session: usize) -> usize {
        let mut jobs = self.jobs(session);
        jobs.push(Job::default());
        jobs.len()
    }

    /// Notes what a session has learnt about its job `number`.
    pub(crate) fn settle(&self, session: usize, number: usize, fate: Fate) {
        let mut jobs = self.jobs(session);
        let job = &mut jobs[number - 1];
        job.fate = Some(fate);
        if let Fate::Promised(delivery) = fate {
            self.promised.fetch_add(1, Ordering::Relaxed);
            if job.arrivals > 0 {
                self.count_delivered(delivery);
            }
        }
    }

    /// Notes that a job has come to a worker.
    pub(crate) fn arrive(&self, workload: &[u8]) {
        let known = serde_json::from_slice::<Workload>(workload)
            .ok()
            .filter(|job| (1..=self.sessions.len()).contains(&job.id))
            .and_then(|job| {
                let mut jobs = self.jobs(job.id);
                let job = jobs.get_mut(job.n.checked_sub(1)?)?;
                job.arrivals += 1;
                Some(*job)
            });
        match known {
            None => drop(self.unknown.fetch_add(1, Ordering::Relaxed)),
            Some(job) => {
                if let (1, Some(Fate::Promised(delivery))) = (job.arrivals, job.fate) {
                    self.count_delivered(delivery);
                }
            }
        }
    }

    /// How many jobs have been promised and not delivered so far.
    pub(crate) fn outstanding(&self) -> u64 {
        // A job that is promised between the two reads counts; one that is delivered as well.
        let delivered: u64 = self.delivered().iter().sum();
        let promised = self.promised.load(Ordering::Relaxed);
        promised.saturating_sub(delivered)
    }

    /// How many promised jobs of each delivery have arrived so far.
    pub(crate) fn delivered(&self) -> [u64; Delivery::ALL.len()] {
        self.delivered
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed))
    }

    /// Arrivals of what no session can have submitted.
    pub(crate) fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    /// What became of every job.
    pub(crate) fn count(&self) -> BTreeMap<Delivery, Count> {
        let mut counts: BTreeMap<_, Count> = BTreeMap::new();
        for session in 1..=self.sessions.len() {
            for job in self.jobs(session).iter() {
                let fate = job.fate.expect("every session knows its jobs' fates");
                counts.entry(fate.delivery()).or_default().add(job, fate);
            }
        }
        counts
    }

    /// The first jobs that were promised and have not arrived, as `session:number`.
    pub(crate) fn lost(&self, at_most: usize) -> Vec<String> {
        let of_session = |session| {
            let jobs = self.jobs(session);
            let lost = |job: &Job| matches!(job.fate, Some(Fate::Promised(_))) && job.arrivals == 0;
            let numbers = (1..).zip(jobs.iter()).filter(move |(_, job)| lost(job));
            numbers
                .map(|(number, job)| format!("{session}:{number} {:?}", job.fate))
                .collect::<Vec<_>>()
        };
        (1..=self.sessions.len())
            .flat_map(of_session)
            .take(at_most)
            .collect()
    }

    fn count_delivered(&self, delivery: Delivery) {
        self.delivered[delivery as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn jobs(&self, session: usize) -> MutexGuard<'_, Vec<Job>> {
        let jobs = &self.sessions[session - 1];
        jobs.lock().expect("nothing panics with it held")
    }
}

impl Count {
    fn add(&mut self, job: &Job, fate: Fate) {
        let arrived = u64::from(job.arrivals > 0);
        self.submitted += 1;
        self.duplicates += u64::from(job.arrivals.saturating_sub(1));
        match fate {
            Fate::Promised(_) => {
                self.delivered += arrived;
                self.lost += 1 - arrived;
            }
            Fate::Failed(_) => {
                self.failed += 1;
                self.failed_and_arrived += arrived;
            }
            Fate::RolledBack(_) => {
                self.rolled_back += 1;
                self.phantom += arrived;
            }
            Fate::Unclear(_) => {}
        }
    }
}
