//! The threads that write to Redis. A key stays with its writer while jobs of it are unfinished, which keeps
//! its changes in order.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{iter, thread};

use super::backlog::Backlog;
use super::job::{self, Job};
use super::options::Options;
use super::statistics::Statistics;
use super::store::Store;
use super::unfinished::Unfinished;
use crate::redis_client::{Node, Routes, SLOTS};
use crate::service::Stop;

/// Where jobs are handed in. Each node of Redis has writers of its own, `--threads` of them, so that a node
/// that is unreachable holds up its own keys alone. What waits is bounded by what the [`super::intake`] of each
/// job server lets in.
#[derive(Clone)]
pub(super) struct Writers(Arc<Shared>);

struct Shared {
    routes: Arc<Routes>,
    threads: u64,
    replicas: u16,
    deal: Mutex<Deal>,
    unfinished: Arc<Unfinished>,
    statistics: Arc<Statistics>,
    stop: Arc<Stop>,
}

struct Deal {
    writers: HashMap<(Node, u64), Writer>,
    /// Whose writers get the jobs of each slot.
    nodes: Vec<Node>,
}

#[derive(Clone)]
struct Writer {
    jobs: Sender<Job>,
    stalled: Arc<AtomicBool>,
}

impl Writers {
    /// Starts the first thread; others start when there is something for them.
    pub(super) fn start(
        routes: &Arc<Routes>,
        options: &Options,
        statistics: &Arc<Statistics>,
        stop: &Arc<Stop>,
    ) -> Self {
        let shared = Shared {
            routes: Arc::clone(routes),
            threads: options.threads.into(),
            replicas: options.replicas,
            deal: Mutex::new(Deal {
                writers: HashMap::new(),
                nodes: vec![Node(0); SLOTS.into()],
            }),
            unfinished: Arc::new(Unfinished::new()),
            statistics: Arc::clone(statistics),
            stop: Arc::clone(stop),
        };
        // It says what Redis thinks of us before there is a job.
        let writers = Self(Arc::new(shared));
        let first = writers.start_writer(Store::introduce);
        writers.0.deal().writers.insert((Node(0), 0), first);
        writers
    }

    pub(super) fn hand_in(&self, mut job: Job) {
        let writer = self.writer(&job);
        if writer.stalled.load(Ordering::Acquire) {
            job::park(iter::once(&mut job));
        }
        // A writer that has ended had no time left to stop: the job server gives the job on.
        let _ = writer.jobs.send(job);
    }

    /// The writer of a job. Only a slot without unfinished jobs follows its node: a writer whose slots have
    /// gone to another node can write there too.
    fn writer(&self, job: &Job) -> Writer {
        let shared = &self.0;
        let slot = job.change.slot();
        let thread = hash(&job.change.key) % shared.threads;
        let mut deal = shared.deal();
        if shared.unfinished.add(slot) {
            deal.nodes[usize::from(slot)] = shared.routes.owner(slot);
        }
        let node = deal.nodes[usize::from(slot)];
        let writer = deal.writers.entry((node, thread));
        writer.or_insert_with(|| self.start_writer(|_| {})).clone()
    }

    fn start_writer(&self, begin: impl FnOnce(&mut Store) + Send + 'static) -> Writer {
        let shared = &self.0;
        let (sender, jobs) = mpsc::channel();
        let mut store = Store::new(&shared.routes, shared.replicas, &shared.statistics);
        let stalled = Arc::new(AtomicBool::new(false));
        let writers = self.clone();
        let mut backlog = Backlog::new(
            jobs,
            &stalled,
            &shared.unfinished,
            Box::new(move |job| writers.hand_in(job)),
            &shared.statistics,
            &shared.stop,
        );
        thread::spawn(move || {
            begin(&mut store);
            backlog.work_off(&mut store);
        });
        Writer {
            jobs: sender,
            stalled,
        }
    }
}

impl Shared {
    fn deal(&self) -> MutexGuard<'_, Deal> {
        self.deal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
