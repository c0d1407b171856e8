//! Clusters, which several sessions on one node or on all write to: what arrives, and who relays.
//!
//! `scripts/outbox-faults` runs these with the numbers of a soak; by default they are small.

mod galera;
mod group_replication;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use crate::support::{
    Database, Gearmand, Nodes, RecordingWorker, RelayProcess, product_file, scale, wait_until,
};

const PATIENCE: Duration = Duration::from_secs(120);

/// How many rows are changed, over and over.
const ROWS: u32 = 50;

/// How many sessions change them.
const WRITERS: u32 = 6;

/// For how long they do.
fn seconds() -> Duration {
    Duration::from_secs(scale("GMAN_GALERA_SECONDS", 5).into())
}

/// A cluster whose table `t` has a trigger that hands over `id:n:tag`; the tags of committed changes are
/// in the table `committed`.
struct Cluster {
    nodes: Nodes,
    gearmand: Gearmand,
}

impl Cluster {
    /// `statement` is the body of the trigger, with JOB for the workload.
    fn new(nodes: Nodes, statement: &str) -> Self {
        let first = &nodes[0];
        first.execute(
            "CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL, tag VARCHAR(40) NOT NULL) ENGINE=InnoDB",
        );
        first.execute("CREATE TABLE committed (tag VARCHAR(40) PRIMARY KEY) ENGINE=InnoDB");
        for id in 1..=ROWS {
            first.execute(&format!("INSERT INTO t VALUES ({id}, 0, '')"));
        }
        let body = statement.replace("JOB", "CONCAT_WS(':', NEW.id, NEW.n, NEW.tag)");
        first.execute(&format!(
            "CREATE TRIGGER changed AFTER UPDATE ON t FOR EACH ROW {body}"
        ));
        Self {
            nodes,
            gearmand: Gearmand::start(),
        }
    }

    fn node(&self, number: usize) -> &Database {
        &self.nodes[number]
    }

    fn relay_at(&self, node: usize) -> RelayProcess {
        RelayProcess::start(&[
            format!(
                "--mysql=mysql://root@localhost?socket={}",
                self.node(node).socket().display()
            ),
            format!("--gearmand={}", self.gearmand.address()),
        ])
    }

    /// Changes rows on these nodes for a while. A change that certification aborts is made again.
    fn write(&self, nodes: &[usize]) {
        let end = Instant::now() + seconds();
        let aborted = AtomicU32::new(0);
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let node = nodes[writer as usize % nodes.len()];
                let aborted = &aborted;
                scope.spawn(move || {
                    let Ok(mut session) = Conn::new(self.node(node).opts_in_test()) else {
                        return;
                    };
                    let mut change = writer;
                    while Instant::now() < end {
                        change = change.wrapping_add(7);
                        match change_row(&mut session, change) {
                            Ok(_) => {}
                            Err(mysql::Error::MySqlError(_)) => {
                                aborted.fetch_add(1, Ordering::Relaxed);
                                // Whatever is left of it.
                                let _ = session.query_drop("ROLLBACK");
                            }
                            // The node is gone.
                            Err(_) => return,
                        }
                    }
                });
            }
        });
        println!("{} changes were aborted", aborted.into_inner());
    }

    /// What arrived, against what was committed, as this node has it.
    fn count(&self, node: usize, worker: &RecordingWorker) -> Count {
        wait_until(PATIENCE, "gearmand to be empty", || {
            match self.gearmand.status().get("f").map_or(0, |f| f.queued) {
                0 => Ok(()),
                queued => Err(queued),
            }
        });
        let committed: BTreeSet<String> = self
            .node(node)
            .query("SELECT tag FROM committed")
            .into_iter()
            .collect();
        let rows: Vec<(u32, u32)> = self.node(node).query("SELECT id, n FROM t");
        let mut count = Count {
            committed: committed.len(),
            ..Count::default()
        };
        let mut seen = BTreeSet::new();
        let mut newest: BTreeMap<u32, u32> = BTreeMap::new();
        let mut last: BTreeMap<u32, u32> = BTreeMap::new();
        for job in worker.jobs() {
            let text = String::from_utf8_lossy(&job.workload).into_owned();
            let mut parts = text.splitn(3, ':');
            let mut number = || {
                parts
                    .next()
                    .and_then(|part| part.parse().ok())
                    .expect("a number")
            };
            let (id, n): (u32, u32) = (number(), number());
            let tag = parts.next().expect("a tag").to_owned();
            if !committed.contains(&tag) {
                count.phantom += 1;
            } else if !seen.insert(tag) {
                count.twice += 1;
            } else {
                let newest = newest.entry(id).or_default();
                count.out_of_order += u32::from(n < *newest);
                *newest = n.max(*newest);
            }
            last.insert(id, n);
        }
        count.lost = committed.len() - seen.len();
        count.stale = rows
            .iter()
            .filter(|(id, n)| *n > 0 && last.get(id) != Some(n))
            .count();
        count
    }

    /// Waits until the job of a change has been done.
    #[track_caller]
    fn wait_for_tag(&self, worker: &RecordingWorker, tag: &str) {
        let end = format!(":{tag}");
        wait_until(PATIENCE, "the job of a change", || {
            let jobs = worker.jobs();
            match jobs
                .iter()
                .any(|job| job.workload.ends_with(end.as_bytes()))
            {
                true => Ok(()),
                false => Err(jobs.len()),
            }
        });
    }

    fn wait_until_empty(&self, node: usize) {
        wait_until(PATIENCE, "the outbox to be empty", || {
            match self
                .node(node)
                .value::<u64>("SELECT depth FROM gman_outbox_status")
            {
                0 => Ok(()),
                depth => Err(depth),
            }
        });
    }
}

/// Returns the tag of the change.
fn change_row(session: &mut Conn, change: u32) -> mysql::Result<String> {
    static TAGS: AtomicU32 = AtomicU32::new(1);
    let (row, tag) = (
        change % ROWS + 1,
        TAGS.fetch_add(1, Ordering::Relaxed).to_string(),
    );
    session.query_drop("BEGIN")?;
    session.query_drop(format!(
        "UPDATE t SET n = n + 1, tag = '{tag}' WHERE id = {row}"
    ))?;
    session.query_drop(format!("INSERT INTO committed VALUES ('{tag}')"))?;
    session.query_drop("COMMIT")?;
    Ok(tag)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    committed: usize,
    lost: usize,
    /// Jobs of changes that were not committed.
    phantom: u32,
    twice: u32,
    /// Changes whose first arrival came after that of a later one of the same row.
    out_of_order: u32,
    /// Rows whose last job is not their last value.
    stale: usize,
}

impl Count {
    /// A row of the table of `scripts/outbox-faults`.
    fn print(&self, what: &str) {
        let Self {
            committed,
            lost,
            phantom,
            twice,
            out_of_order,
            stale,
        } = self;
        println!(
            "| {what} | {committed} | {lost} | {phantom} | {twice} | {out_of_order} | {stale} |"
        );
    }

    #[track_caller]
    fn check(&self, what: &str) {
        self.print(what);
        assert_eq!(
            (self.lost, self.phantom, self.out_of_order, self.stale),
            (0, 0, 0, 0),
            "{what}: {self:?}"
        );
    }
}

const INSERT: &str = "INSERT INTO gman_outbox (`function`, workload) VALUES ('f', JOB)";

/// A cluster with an outbox for `gman relay`.
fn plain(nodes: Nodes) -> Cluster {
    nodes[0].run_script(&product_file("sql/outbox-plain.sql"));
    Cluster::new(nodes, INSERT)
}
