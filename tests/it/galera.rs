//! A Galera cluster, which several sessions on one node or on all write to: what arrives, and who relays.
//!
//! `scripts/outbox-faults` runs these with the numbers of a soak; by default they are small.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use crate::support::{
    Database, FILE_NAME, Galera, Gearmand, Library, RecordingWorker, RelayProcess, product_file,
    scale, unsupported, wait_until,
};

const PATIENCE: Duration = Duration::from_secs(120);

/// How many rows are changed, over and over.
const ROWS: u32 = 50;

/// How many sessions change them.
const WRITERS: u32 = 6;

/// How soon another relay must take over from one that died with its node: the group takes five seconds to
/// give the node up, and the lease as long; a busy machine more.
const TAKE_OVER: Duration = Duration::from_secs(40);

/// For how long they do.
fn seconds() -> Duration {
    Duration::from_secs(scale("GMAN_GALERA_SECONDS", 5).into())
}

/// A cluster whose table `t` has a trigger that hands over `id:n:tag`; the tags of committed changes are
/// in the table `committed`.
struct Cluster {
    galera: Galera,
    gearmand: Gearmand,
}

impl Cluster {
    /// `statement` is the body of the trigger, with JOB for the workload.
    fn new(galera: Galera, statement: &str) -> Self {
        let first = &galera.nodes[0];
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
            galera,
            gearmand: Gearmand::start(),
        }
    }

    fn node(&self, number: usize) -> &Database {
        &self.galera.nodes[number]
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

const ONE_AND_ALL: [&[usize]; 2] = [&[0], &[0, 1, 2]];

/// A cluster with an outbox for `gman relay`; or why there is none.
fn plain() -> Result<Cluster, String> {
    let galera = Galera::start(&[])?;
    galera.nodes[0].run_script(&product_file("sql/outbox-plain.sql"));
    Ok(Cluster::new(galera, INSERT))
}

/// A cluster with the library; or why there is none.
fn with_library() -> Result<Galera, String> {
    let galera = Galera::start(&["--event-scheduler=ON"])?;
    for node in &galera.nodes {
        node.copy_library(Library::release(), FILE_NAME);
    }
    galera.nodes[0].run_script(&product_file("sql/install.sql"));
    Ok(galera)
}

fn set_servers(cluster: &Cluster) {
    for node in &cluster.galera.nodes {
        let address = cluster.gearmand.address();
        let _: String = node.value(&format!("SELECT gman_servers_set('{address}')"));
    }
}

#[test]
fn gman_relay_loses_and_makes_up_nothing_whoever_writes() {
    let cluster = match plain() {
        Ok(cluster) => cluster,
        Err(reason) => unsupported!("{reason}"),
    };
    let worker = RecordingWorker::start(cluster.gearmand.port(), &["f"]);
    let _relays = [0, 1, 2].map(|node| cluster.relay_at(node));
    for nodes in ONE_AND_ALL {
        cluster.write(nodes);
        cluster.wait_until_empty(0);
        let what = format!("gman relay, {} nodes write", nodes.len());
        cluster.count(0, &worker).check(&what);
    }
}

#[test]
fn another_relay_takes_over_when_a_node_dies_with_its_own() {
    let mut cluster = match plain() {
        Ok(cluster) => cluster,
        Err(reason) => unsupported!("{reason}"),
    };
    let worker = RecordingWorker::start(cluster.gearmand.port(), &["f"]);
    let first = cluster.relay_at(2);
    wait_until(PATIENCE, "the first relay", || {
        let log = first.log();
        if log.contains("relaying") {
            Ok(())
        } else {
            Err(log)
        }
    });
    let _others = [0, 1].map(|node| cluster.relay_at(node));
    cluster.write(&[0, 1]);
    cluster.galera.nodes[2].kill();
    let died = Instant::now();
    // The group notices first that a node is gone.
    let tag = wait_until(PATIENCE, "a change to be possible", || {
        let mut session = cluster.node(0).connect();
        change_row(&mut session, 1).map_err(|error| error.to_string())
    });
    wait_until(PATIENCE, "another relay", || {
        let jobs = worker.jobs();
        let tag = format!(":{tag}");
        let arrived = jobs
            .iter()
            .any(|job| job.workload.ends_with(tag.as_bytes()));
        if arrived { Ok(()) } else { Err(jobs.len()) }
    });
    let took = died.elapsed();
    println!("another relay took over {took:?} after the node had died");
    assert!(took < TAKE_OVER, "{took:?}");
    cluster.wait_until_empty(0);
    cluster.count(0, &worker).check("a node killed");
}

#[test]
fn the_event_relays_on_one_node_and_on_another_when_that_dies() {
    let galera = match with_library() {
        Ok(galera) => galera,
        Err(reason) => unsupported!("{reason}"),
    };
    galera.nodes[0].execute("DROP FUNCTION gman_do_background");
    galera.nodes[0].run_script(&product_file("sql/outbox.sql"));
    // Enabled where it was created, and nowhere else.
    for node in &galera.nodes[1..] {
        let mut session = node.connect();
        for sql in [
            "SET SESSION wsrep_on = OFF",
            "ALTER EVENT gman_outbox_relay ENABLE",
        ] {
            session
                .query_drop(sql)
                .unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    }
    for node in &galera.nodes {
        let state: String = node.value("SELECT status FROM information_schema.events");
        assert_eq!(state, "ENABLED");
    }
    let mut cluster = Cluster::new(galera, INSERT);
    set_servers(&cluster);
    let worker = RecordingWorker::start(cluster.gearmand.port(), &["f"]);
    cluster.write(&[0, 1, 2]);
    cluster.wait_until_empty(0);
    cluster
        .count(0, &worker)
        .check("the event, three nodes write");

    let owner: String = cluster
        .node(0)
        .value("SELECT owner FROM gman_outbox_status");
    let is_owner = |node: &Database| owner.contains(&format!(" {} ", node.port()));
    let relaying = cluster
        .galera
        .nodes
        .iter()
        .position(is_owner)
        .expect("a node");
    let other = (relaying + 1) % 3;
    cluster.galera.nodes[relaying].kill();
    let died = Instant::now();
    wait_until(PATIENCE, "a change to be possible", || {
        let mut session = cluster.node(other).connect();
        change_row(&mut session, 1).map_err(|error| error.to_string())
    });
    wait_until(PATIENCE, "another node to relay", || {
        match cluster
            .node(other)
            .value::<u64>("SELECT depth FROM gman_outbox_status")
        {
            0 => Ok(()),
            depth => Err(depth),
        }
    });
    let took = died.elapsed();
    println!("another node relayed {took:?} after the one that did had died");
    assert!(took < TAKE_OVER, "{took:?}");
    cluster
        .count(other, &worker)
        .check("the event, a node killed");
}

#[test]
fn committed_sends_nothing_that_certification_aborts() {
    let galera = match with_library() {
        Ok(galera) => galera,
        Err(reason) => unsupported!("{reason}"),
    };
    for plugin in ["gman", "gman_commit"] {
        let install = format!("INSTALL PLUGIN {plugin} SONAME '{FILE_NAME}'");
        galera.nodes[0].execute(&install);
    }
    for node in &galera.nodes {
        // Once it has applied the installation.
        wait_until(PATIENCE, "the delivery", || {
            node.connect()
                .query_drop("SET GLOBAL gman_delivery = 'committed'")
                .map_err(|error| error.to_string())
        });
    }
    let cluster = Cluster::new(galera, "SET @handle = gman_do_background('f', JOB)");
    set_servers(&cluster);
    let worker = RecordingWorker::start(cluster.gearmand.port(), &["f"]);
    cluster.write(&[0, 1, 2]);
    for node in &cluster.galera.nodes {
        assert_eq!(node.value::<u64>("SELECT gman_flush(10000)"), 0);
    }
    let count = cluster.count(0, &worker);
    count.print("committed, three nodes write");
    // Each node hands over its own jobs, so the order of a row that several write is not kept.
    assert_eq!((count.lost, count.phantom), (0, 0), "{count:?}");
}
