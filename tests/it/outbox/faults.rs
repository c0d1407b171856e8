//! What arrives when servers are killed in the middle of it.
//!
//! `scripts/outbox-faults` runs these with the numbers of a soak; by default they are small.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use mysql::Conn;
use mysql::prelude::Queryable;

use super::Outbox;
use crate::support::{Gearmand, Job, RecordingWorker, RelayProcess, scale, wait_until};

/// How many rows are changed, over and over.
const ROWS: u32 = 50;

/// How many sessions change them.
const WRITERS: u32 = 3;

/// How long draining may take.
const PATIENCE: Duration = Duration::from_secs(120);

fn committed() -> u32 {
    scale("GMAN_OUTBOX_COMMITTED", 5_000)
}

fn kills() -> u32 {
    scale("GMAN_OUTBOX_KILLS", 3)
}

/// An outbox that outlives its server, with a table whose changes say `SERVER:ROW:N:KIND`; only
/// transactions that roll back write the kind 1.
fn outbox(number: u32) -> Outbox {
    let mut outbox = Outbox::start_with(&[
        "--innodb-flush-log-at-trx-commit=1",
        "--innodb-buffer-pool-size=64M",
    ]);
    outbox.execute(
        "CREATE TABLE c (id INT PRIMARY KEY, n INT NOT NULL, kind INT NOT NULL) ENGINE=InnoDB",
    );
    for id in 1..=ROWS {
        outbox.execute(&format!("INSERT INTO c VALUES ({id}, 0, 0)"));
    }
    outbox.execute(&format!(
        "CREATE TRIGGER changed AFTER UPDATE ON c FOR EACH ROW
         SET @handle = gman_do_background('f', CONCAT_WS(':', {number}, NEW.id, NEW.n, NEW.kind))"
    ));
    outbox
}

/// Changes rows until `left` is used up, one of six changes to be rolled back, which `rolled_back`
/// counts. Reconnects when the server goes; what became of that change is the database's to say.
fn write(
    connect: impl Fn() -> Option<Conn>,
    writer: u32,
    left: &AtomicU32,
    rolled_back: &AtomicU32,
) {
    let take = || {
        left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        })
    };
    let mut session = None;
    let mut change = writer;
    while left.load(Ordering::SeqCst) > 0 {
        let Some(open) = session.as_mut() else {
            session = connect();
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        change = change.wrapping_add(7);
        let row = change % ROWS + 1;
        let rolls_back = change.is_multiple_of(6);
        let (kind, end) = if rolls_back {
            (1, "ROLLBACK")
        } else {
            (0, "COMMIT")
        };
        let done = open
            .query_drop("BEGIN")
            .and_then(|()| {
                open.query_drop(format!(
                    "UPDATE c SET n = n + 1, kind = {kind} WHERE id = {row}"
                ))
            })
            .and_then(|()| open.query_drop(end));
        match done {
            Ok(()) if rolls_back => drop(rolled_back.fetch_add(1, Ordering::SeqCst)),
            Ok(()) => drop(take()),
            Err(_) => session = None,
        }
    }
}

/// What arrived, against what the databases say was committed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    committed: u32,
    delivered: u32,
    duplicates: u32,
    lost: u32,
    phantom: u32,
    /// A change whose first arrival came after that of a later one of the same row.
    out_of_order: u32,
    /// Rows whose last job is not their last value.
    stale: u32,
}

impl Count {
    fn of(jobs: &[Job], last: &HashMap<(u32, u32), u32>) -> Self {
        let mut count = Self {
            committed: last.values().sum(),
            ..Self::default()
        };
        let mut seen: HashMap<(u32, u32), Vec<bool>> = HashMap::new();
        for (&row, &n) in last {
            seen.insert(row, vec![false; n as usize]);
        }
        let mut newest: HashMap<(u32, u32), u32> = HashMap::new();
        let mut newest_job: HashMap<(u32, u32), u32> = HashMap::new();
        for job in jobs {
            let text = String::from_utf8_lossy(&job.workload);
            let parts: Vec<u32> = text
                .split(':')
                .map(|part| part.parse().expect("a number"))
                .collect();
            let (row, n, kind) = ((parts[0], parts[1]), parts[2], parts[3]);
            newest_job.insert(row, n);
            let seen = seen.get_mut(&row).expect("a known row");
            match seen.get_mut(n as usize - 1) {
                Some(seen) if kind == 0 => match std::mem::replace(seen, true) {
                    true => count.duplicates += 1,
                    false => {
                        count.delivered += 1;
                        let newest = newest.entry(row).or_default();
                        count.out_of_order += u32::from(n < *newest);
                        *newest = n.max(*newest);
                    }
                },
                _ => count.phantom += 1,
            }
        }
        count.lost = count.committed - count.delivered;
        let is_stale = |(row, n): &(&(u32, u32), &u32)| **n > 0 && newest_job.get(row) != Some(n);
        count.stale = last.iter().filter(is_stale).count() as u32;
        count
    }

    #[track_caller]
    fn check(&self, what: &str, rolled_back: u32) {
        let Self {
            committed,
            lost,
            phantom,
            duplicates,
            out_of_order,
            stale,
            ..
        } = self;
        println!(
            "| {what}, {rolled_back} rolled back | {committed} | {lost} | {phantom} | {duplicates} | {out_of_order} | {stale} |"
        );
        assert_eq!(
            (*lost, *phantom, *out_of_order, *stale),
            (0, 0, 0, 0),
            "{what}: {self:?}"
        );
    }
}

/// The number of the last committed change of each row.
fn last_changes(outbox: &Outbox, number: u32, last: &mut HashMap<(u32, u32), u32>) {
    for (id, n) in outbox.database.query::<(u32, u32)>("SELECT id, n FROM c") {
        last.insert((number, id), n);
    }
}

/// Runs writers, and `fault` again and again while they write: `kills()` times, spread over the
/// changes. Returns how many changes were rolled back.
fn under_faults(outbox: &mut Outbox, mut fault: impl FnMut(&mut Outbox)) -> u32 {
    let left = AtomicU32::new(committed());
    let rolled_back = AtomicU32::new(0);
    thread::scope(|scope| {
        let opts = outbox.database.opts_in_test();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (opts, left, rolled_back) = (opts.clone(), &left, &rolled_back);
                scope.spawn(move || {
                    write(|| Conn::new(opts.clone()).ok(), writer, left, rolled_back)
                })
            })
            .collect();
        for kill in 1..=kills() {
            let mark = committed() - committed() / (kills() + 1) * kill;
            wait_until(PATIENCE * 5, "the writers to get on", || {
                let left = left.load(Ordering::SeqCst);
                if left <= mark { Ok(()) } else { Err(left) }
            });
            fault(outbox);
        }
        for writer in writers {
            writer.join().expect("a writer");
        }
    });
    rolled_back.into_inner()
}

fn restart_database(outbox: &mut Outbox, gearmand: &str) {
    outbox.database.kill();
    outbox.database.restart();
    outbox.session = outbox.database.connect();
    outbox.set_servers(gearmand);
}

/// Waits until the outbox is empty and gearmand has given away all it has.
fn settle(outbox: &Outbox, gearmand: &Gearmand) {
    wait_until(PATIENCE, "the outbox to be empty", || {
        match outbox.status().depth {
            0 => Ok(()),
            _ => Err(outbox.status()),
        }
    });
    settle_gearmand(gearmand);
}

#[test]
fn nothing_is_lost_or_made_up_when_the_database_is_killed() {
    let gearmand = Gearmand::start();
    let address = gearmand.address();
    under_faults_of_the_database("database killed", &gearmand, |outbox| {
        restart_database(outbox, &address);
    });
}

#[test]
fn nothing_is_lost_or_made_up_when_the_event_scheduler_is_switched_off_and_on() {
    let gearmand = Gearmand::start();
    under_faults_of_the_database("event scheduler off and on", &gearmand, |outbox| {
        outbox.stop_relay();
        outbox.start_relay();
    });
}

fn under_faults_of_the_database(what: &str, gearmand: &Gearmand, fault: impl FnMut(&mut Outbox)) {
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let mut outbox = outbox(1);
    outbox.set_servers(&gearmand.address());
    let rolled_back = under_faults(&mut outbox, fault);
    settle(&outbox, gearmand);
    let mut last = HashMap::new();
    last_changes(&outbox, 1, &mut last);
    Count::of(&worker.jobs(), &last).check(what, rolled_back);
}

#[test]
fn nothing_is_lost_or_made_up_when_gearmand_is_killed() {
    gearmand_is_killed("gearmand killed", |_, _| {});
}

#[test]
fn nothing_is_lost_or_made_up_when_both_are_killed() {
    gearmand_is_killed("both killed", |outbox, gearmand| {
        restart_database(outbox, gearmand);
    });
}

/// It keeps its queue: what it has acknowledged and not yet given to a worker would die with it.
fn gearmand_is_killed(what: &str, and_then: impl Fn(&mut Outbox, &str)) {
    let mut gearmand = Gearmand::start_persistent("H:outbox");
    let address = gearmand.address();
    let mut workers = vec![RecordingWorker::start(gearmand.port(), &["f"])];
    let mut outbox = outbox(1);
    outbox.set_servers(&address);
    let rolled_back = under_faults(&mut outbox, |outbox| {
        gearmand.kill();
        and_then(outbox, &address);
        gearmand.restart();
        workers.push(RecordingWorker::start(gearmand.port(), &["f"]));
    });
    settle(&outbox, &gearmand);
    let mut last = HashMap::new();
    last_changes(&outbox, 1, &mut last);
    let jobs: Vec<Job> = workers.iter().flat_map(RecordingWorker::jobs).collect();
    Count::of(&jobs, &last).check(what, rolled_back);
}

/// Its queue is in memory, and dies with it.
#[test]
fn nothing_is_lost_with_gearmand_if_workers_confirm() {
    confirmed_by_workers("gearmand killed, confirmed by workers", |_, _| None);
}

#[test]
fn nothing_is_lost_with_gearmand_by_gman_relay_if_workers_confirm() {
    confirmed_by_workers(
        "gearmand killed, gman relay, confirmed by workers",
        |outbox, gearmand| {
            outbox.stop_relay();
            Some(RelayProcess::start(&[
                format!(
                    "--mysql=mysql://root@localhost?socket={}",
                    outbox.database.socket().display()
                ),
                format!("--gearmand={gearmand}"),
            ]))
        },
    );
}

fn confirmed_by_workers(what: &str, relay: impl FnOnce(&mut Outbox, &str) -> Option<RelayProcess>) {
    let mut gearmand = Gearmand::start();
    let address = gearmand.address();
    let mut workers = vec![RecordingWorker::start(gearmand.port(), &["f"])];
    let mut outbox = outbox(1);
    outbox.set_servers(&address);
    outbox.stop_relay();
    outbox.execute("UPDATE gman_outbox_state SET confirm = 'worker'");
    outbox.start_relay();
    let _relay = relay(&mut outbox, &address);
    let rolled_back = under_faults(&mut outbox, |_| {
        gearmand.kill();
        gearmand.restart();
        workers.push(RecordingWorker::start(gearmand.port(), &["f"]));
    });
    settle(&outbox, &gearmand);
    let mut last = HashMap::new();
    last_changes(&outbox, 1, &mut last);
    let jobs: Vec<Job> = workers.iter().flat_map(RecordingWorker::jobs).collect();
    Count::of(&jobs, &last).check(what, rolled_back);
}

fn settle_gearmand(gearmand: &Gearmand) {
    wait_until(PATIENCE, "gearmand to be empty", || {
        match gearmand.status().get("f").map_or(0, |f| f.queued) {
            0 => Ok(()),
            queued => Err(queued),
        }
    });
}

#[test]
fn two_databases_relay_to_one_gearmand() {
    let gearmand = Gearmand::start();
    let mut first = outbox(1);
    let mut second = outbox(2);
    for outbox in [&mut first, &mut second] {
        outbox.set_servers(&gearmand.address());
    }
    // Without a worker at first: jobs with the same id on both would be one job.
    let mut last = HashMap::new();
    let rolled_back = thread::scope(|scope| {
        [&mut first, &mut second]
            .map(|outbox| scope.spawn(move || under_faults(outbox, |_| {})))
            .map(|writers| writers.join().expect("the writers of a database"))
            .iter()
            .sum()
    });
    first.drain();
    second.drain();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    settle_gearmand(&gearmand);
    last_changes(&first, 1, &mut last);
    last_changes(&second, 2, &mut last);
    Count::of(&worker.jobs(), &last).check("two databases", rolled_back);
}
