//! `gman_rows_per_job`: rows of one statement share a job.

use std::time::Duration;

use mysql::prelude::Queryable;

use super::{Stage, run};
use crate::support::{Language, Redis, RedisWorker, gman_succeeds, unsupported, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A stage whose triggers send objects, five of them in a job at most.
fn stage() -> Result<Stage, String> {
    let stage = Stage::start(&[])?;
    for sql in [
        "SET GLOBAL gman_rows_per_job = 5",
        "DROP TRIGGER ins",
        "CREATE TRIGGER ins AFTER INSERT ON t FOR EACH ROW \
         SET @r = gman_do_background('f', CONCAT('{\"i\":', NEW.id, '}'))",
    ] {
        stage.database.execute(sql);
    }
    Ok(stage)
}

macro_rules! stage {
    () => {
        match stage() {
            Ok(stage) => stage,
            Err(reason) => unsupported!("{reason}"),
        }
    };
}

/// The rows that arrived, in their order, and how many jobs they came in.
fn rows(stage: &Stage) -> (Vec<String>, usize) {
    let jobs = stage.arrived();
    let rows = jobs.iter().flat_map(|job| {
        let list = job.trim().trim_start_matches('[').trim_end_matches(']');
        list.split("},{")
            .map(|row| row.trim_matches(['{', '}']).to_owned())
            .collect::<Vec<_>>()
    });
    (rows.collect(), jobs.len())
}

fn inserted(ids: impl IntoIterator<Item = u32>) -> Vec<String> {
    ids.into_iter().map(|id| format!("\"i\":{id}")).collect()
}

#[test]
fn rows_of_a_statement_share_jobs_in_their_order() {
    let stage = stage!();
    let mut session = stage.session();
    run(
        &mut session,
        &[
            "INSERT INTO t VALUES (1,1),(2,1),(3,1),(4,1),(5,1),(6,1),(7,1)",
            "INSERT INTO t VALUES (8,1)",
        ],
    );
    assert_eq!(
        stage.arrived(),
        [
            r#"[{"i":1},{"i":2},{"i":3},{"i":4},{"i":5}]"#,
            r#"[{"i":6},{"i":7}]"#,
            r#" {"i":8}"#,
        ]
    );
    let (jobs, held) = (
        stage.status("Gman_jobs_submitted"),
        stage.status("Gman_held_bytes"),
    );
    // With the mark, which is none of them.
    assert_eq!((jobs, held), (4, 0));
}

#[test]
fn statements_and_savepoints_that_are_undone_take_their_own_rows_along() {
    let stage = stage!();
    let mut session = stage.session();
    run(
        &mut session,
        &[
            "BEGIN",
            "INSERT INTO t VALUES (1,1),(2,1)",
            "SAVEPOINT s",
            "INSERT INTO t VALUES (3,1),(4,1)",
            "ROLLBACK TO SAVEPOINT s",
            "INSERT INTO t VALUES (5,1),(6,1)",
        ],
    );
    session
        .query_drop("INSERT INTO t VALUES (7,1),(8,1),(1,1),(9,1)")
        .expect_err("a duplicate");
    run(
        &mut session,
        &[
            "INSERT INTO t VALUES (10,1),(11,1)",
            "COMMIT",
            "BEGIN",
            "INSERT INTO t VALUES (12,1),(13,1)",
            "ROLLBACK",
        ],
    );
    assert_eq!(rows(&stage), (inserted([1, 2, 5, 6, 10, 11]), 3));
    assert_eq!(stage.status("Gman_held_bytes"), 0);
}

#[test]
fn jobs_of_another_kind_share_none() {
    let stage = stage!();
    let mut session = stage.session();
    run(
        &mut session,
        &[
            // No JSON, which would spoil the others.
            "DO gman_do_background('f', '{1}'), gman_do_background('f', '{2}')",
            "DO gman_do_background('f', '[3]'), gman_do_background('f', '[4]')",
            "DO gman_do_background('f', '{}', 'own'), gman_do_background('f', '{}', 'own2')",
            "DO gman_do_background('f', '{}'), gman_do_low_background('f', '{\"low\":1}'), \
             gman_do_background('f', '{}')",
        ],
    );
    let mut arrived = stage.arrived();
    arrived.sort();
    let mut expected = [
        "{1}",
        "{2}",
        "[3]",
        "[4]",
        "{}",
        "{}",
        " {}",
        r#" {"low":1}"#,
        " {}",
    ];
    expected.sort();
    assert_eq!(arrived, expected);
}

#[test]
fn rows_that_share_a_job_have_its_id() {
    let stage = stage!();
    let mut session = stage.session();
    let ids: Option<(String, String, String)> = session
        .query_first(
            "SELECT gman_do_background('f', '{}'), gman_do_background('f', '{}'), \
                    gman_do_high_background('f', '{}')",
        )
        .expect("three calls");
    let (first, second, third) = ids.expect("a row");
    assert_eq!(first, second);
    assert_ne!(first, third);
    stage.arrived();
    let uniques = stage.worker.jobs().into_iter().map(|job| job.unique);
    let uniques: Vec<_> = uniques.collect();
    assert!(uniques.contains(&first), "{uniques:?}");
}

/// Some rows are larger than a list may be.
#[test]
fn the_worker_writes_every_row_of_a_large_statement() {
    const ROWS: u32 = 3_000;
    let stage = stage!();
    let database = &stage.database;
    for sql in [
        "SET GLOBAL gman_rows_per_job = 500",
        "CREATE TABLE large (id INT PRIMARY KEY, name LONGTEXT) ENGINE=InnoDB",
    ] {
        database.execute(sql);
    }
    gman_succeeds(database, &["triggers", "--create", "test.large"]);
    let redis = Redis::start();
    let _worker = RedisWorker::start_with(Language::Rust, &stage.gearmand, &redis, &[]);
    let values: Vec<String> = (1..=ROWS)
        .map(|id| match id % 1000 {
            0 => format!("({id},REPEAT('x',300000))"),
            _ => format!("({id},REPEAT('y',{}))", id % 100),
        })
        .collect();
    database.execute(&format!("INSERT INTO large VALUES {}", values.join(",")));
    wait_until(PATIENCE, "every row", || {
        match redis.command::<u32>(&["DBSIZE"]).expect("DBSIZE") {
            ROWS => Ok(()),
            other => Err(other),
        }
    });
    gman_succeeds(
        database,
        &[
            "verify",
            "test.large",
            &format!("--redis={}", redis.address()),
        ],
    );
}
