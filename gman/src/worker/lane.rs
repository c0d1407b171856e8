//! Threads that write to Redis. A key stays with its lane while rows of it are unfinished, which keeps its
//! changes in order.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{iter, thread};

use super::backlog::Backlog;
use super::job::{self, Row};
use super::options::Options;
use super::statistics::Statistics;
use super::store::Store;
use super::unfinished::Unfinished;
use crate::redis_client::{Node, Routes, SLOTS};
use crate::service::Stop;

/// Where rows are handed in. There is a lane for each node of Redis and thread, so that a node that is
/// away holds up its own keys alone. What waits is bounded by what the job servers' windows let in.
#[derive(Clone)]
pub(super) struct Lanes(Arc<Shared>);

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
    lanes: HashMap<(Node, u64), Lane>,
    /// Whose lanes the rows of each slot take.
    nodes: Vec<Node>,
}

#[derive(Clone)]
struct Lane {
    rows: Sender<Row>,
    stalled: Arc<AtomicBool>,
}

impl Lanes {
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
                lanes: HashMap::new(),
                nodes: vec![Node(0); SLOTS.into()],
            }),
            unfinished: Arc::new(Unfinished::new()),
            statistics: Arc::clone(statistics),
            stop: Arc::clone(stop),
        };
        // It says what Redis thinks of us before there is a job.
        let lanes = Self(Arc::new(shared));
        let first = lanes.start_lane(Store::introduce);
        lanes.0.deal().lanes.insert((Node(0), 0), first);
        lanes
    }

    pub(super) fn hand_in(&self, row: Row) {
        let lane = self.lane(&row);
        if lane.stalled.load(Ordering::Acquire) {
            job::park(iter::once(&row));
        }
        // A lane that has ended had no time left to stop: the job server gives the job on.
        let _ = lane.rows.send(row);
    }

    /// The lane of a row. Only a slot without unfinished rows follows its node: a lane whose slots have
    /// gone to another node can write there too.
    fn lane(&self, row: &Row) -> Lane {
        let shared = &self.0;
        let slot = row.change.slot();
        let thread = hash(&row.change.key) % shared.threads;
        let mut deal = shared.deal();
        if shared.unfinished.add(slot) {
            deal.nodes[usize::from(slot)] = shared.routes.owner(slot);
        }
        let node = deal.nodes[usize::from(slot)];
        let lane = deal.lanes.entry((node, thread));
        lane.or_insert_with(|| self.start_lane(|_| {})).clone()
    }

    fn start_lane(&self, begin: impl FnOnce(&mut Store) + Send + 'static) -> Lane {
        let shared = &self.0;
        let (sender, rows) = mpsc::channel();
        let mut store = Store::new(&shared.routes, shared.replicas, &shared.statistics);
        let stalled = Arc::new(AtomicBool::new(false));
        let lanes = self.clone();
        let mut backlog = Backlog::new(
            rows,
            &stalled,
            &shared.unfinished,
            Box::new(move |row| lanes.hand_in(row)),
            &shared.statistics,
            &shared.stop,
        );
        thread::spawn(move || {
            begin(&mut store);
            backlog.work_off(&mut store);
        });
        Lane {
            rows: sender,
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
