//! The threads that write to Redis. A key stays with its writer while rows of it are unfinished, which keeps
//! its changes in order.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::iter;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::backlog::Backlog;
use super::job::{self, Row};
use super::options::Options;
use super::statistics::Statistics;
use super::store::Store;
use super::unfinished::Unfinished;
use crate::error::Result;
use crate::redis_client::{Node, Routes, SLOTS};
use crate::service::{Stop, exit_with};
use crate::threads;

/// Where rows are handed in. Each node of Redis has writers of its own, `--threads` of them, so that a node
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
    /// Whose writers get the rows of each slot.
    nodes: Vec<Node>,
}

#[derive(Clone)]
struct Writer {
    rows: Sender<Row>,
    stalled: Arc<AtomicBool>,
}

impl Writers {
    /// Starts the first thread; others start when there is something for them.
    ///
    /// # Errors
    ///
    /// If the system has no thread left.
    pub(super) fn start(
        routes: &Arc<Routes>,
        options: &Options,
        statistics: &Arc<Statistics>,
        stop: &Arc<Stop>,
    ) -> Result<Self> {
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
        let first = writers.start_writer(Store::introduce)?;
        writers.0.deal().writers.insert((Node(0), 0), first);
        Ok(writers)
    }

    pub(super) fn hand_in(&self, row: Row) {
        // Without a writer the row would wait for ever; its job goes back to the job server.
        let writer = self.writer(&row).unwrap_or_else(|error| exit_with(&error));
        if writer.stalled.load(Ordering::Acquire) {
            job::park(iter::once(&row));
        }
        // A writer that has ended had no time left to stop: the job server gives the job on.
        let _ = writer.rows.send(row);
    }

    /// The writer of a row. Only a slot without unfinished rows follows its node: a writer whose slots have
    /// gone to another node can write there too.
    fn writer(&self, row: &Row) -> Result<Writer> {
        let shared = &self.0;
        let slot = row.change.slot();
        let thread = hash(&row.change.key) % shared.threads;
        let mut deal = shared.deal();
        if shared.unfinished.add(slot) {
            deal.nodes[usize::from(slot)] = shared.routes.owner(slot);
        }
        let node = deal.nodes[usize::from(slot)];
        Ok(match deal.writers.entry((node, thread)) {
            Entry::Occupied(writer) => writer.get().clone(),
            Entry::Vacant(free) => free.insert(self.start_writer(|_| {})?).clone(),
        })
    }

    fn start_writer(&self, begin: impl FnOnce(&mut Store) + Send + 'static) -> Result<Writer> {
        let shared = &self.0;
        let (sender, rows) = mpsc::channel();
        let mut store = Store::new(&shared.routes, shared.replicas, &shared.statistics);
        let stalled = Arc::new(AtomicBool::new(false));
        let writers = self.clone();
        let mut backlog = Backlog::new(
            rows,
            &stalled,
            &shared.unfinished,
            Box::new(move |row| writers.hand_in(row)),
            &shared.statistics,
            &shared.stop,
        );
        threads::start(move || {
            begin(&mut store);
            backlog.work_off(&mut store);
        })?;
        Ok(Writer {
            rows: sender,
            stalled,
        })
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
