//! Prepared statements: what is bound to a `?` may be of another type each time.

use mysql::prelude::Queryable;
use mysql::{Params, Row, Value};

use crate::support::{Answer, Gearmand, Gman, RecordingWorker};

/// How often one statement is executed.
const TIMES: u32 = 100_000;

/// Values of every type that a client binds, and what JSON they are.
fn values() -> [(Value, String); 8] {
    let long = "x".repeat(70_000);
    [
        (Value::Int(-1), "-1".into()),
        (Value::UInt(u64::MAX), u64::MAX.to_string()),
        (Value::Double(0.1), "0.1".into()),
        ("é\"".into(), r#""é\"""#.into()),
        (Value::NULL, "null".into()),
        (Value::Int(i64::MAX), i64::MAX.to_string()),
        ("".into(), r#""""#.into()),
        (long.as_str().into(), format!("\"{long}\"")),
    ]
}

#[test]
fn a_job_is_submitted_with_whatever_is_bound() {
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::answering(gearmand.port(), &["f"], |job| {
        Answer::Complete(job.workload.clone())
    });
    let mut gman = Gman::start();
    gman.set_servers(&gearmand.address());
    let mut jobs = 0;
    for (sql, bound) in [
        ("SELECT gman_do(?, ?)", vec!["f".into(), "w".into()]),
        ("SELECT gman_do(?, ?)", vec!["f".into(), 7.into()]),
        (
            "SELECT gman_do_background(?, ?, ?)",
            vec!["f".into(), "w".into(), "u".into()],
        ),
        (
            "SELECT gman_do_epoch(?, ?, ?)",
            vec!["f".into(), "w".into(), 1.into()],
        ),
        // As PHP's PDO binds every value.
        (
            "SELECT gman_do_epoch(?, ?, ?)",
            vec!["f".into(), "w".into(), "1".into()],
        ),
        ("SELECT gman_sum(?, ?)", vec!["f".into(), 12.into()]),
    ] as [(&str, Vec<Value>); 6]
    {
        let answer: Option<Value> = gman
            .session
            .exec_first(sql, Params::Positional(bound.clone()))
            .unwrap_or_else(|error| panic!("{sql} {bound:?}: {error}"));
        assert!(
            answer.is_some_and(|value| value != Value::NULL),
            "{sql} {bound:?}"
        );
        jobs += 1;
        assert_eq!(
            worker.wait_for(jobs)[jobs - 1].workload,
            match &bound[1] {
                Value::Bytes(bytes) => bytes.clone(),
                number => number.as_sql(true).into_bytes(),
            }
        );
    }
}

#[test]
fn what_is_bound_and_cannot_be_a_job_is_an_error_and_the_statement_goes_on() {
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let mut gman = Gman::start();
    gman.set_servers(&gearmand.address());
    let background = gman
        .session
        .prep("SELECT gman_do_background(?, ?)")
        .unwrap();
    let epoch = gman
        .session
        .prep("SELECT gman_do_epoch('f', ?, ?)")
        .unwrap();
    for (statement, bound, problem) in [
        (&background, (Value::NULL, "w".into()), "function is NULL"),
        (&background, ("".into(), "w".into()), "function is empty"),
        (
            &epoch,
            ("w".into(), "2026-01-01".into()),
            "expected a Unix time",
        ),
        (&epoch, ("w".into(), Value::NULL), "expected a Unix time"),
        (&epoch, ("w".into(), (-1).into()), "expected a Unix time"),
    ] as [(_, (Value, Value), _); 5]
    {
        let rows = gman.session.exec::<Row, _, _>(statement, bound);
        let error = rows.expect_err(problem);
        assert!(error.to_string().contains(problem), "{error}");
    }
    let handle: Option<String> = gman.session.exec_first(&background, ("f", "last")).unwrap();
    assert!(handle.is_some());
    assert_eq!(worker.wait_for(1)[0].workload, b"last");
}

/// Each execution has a state of its own, which must not stay.
#[test]
fn a_statement_that_is_executed_a_hundred_thousand_times_with_other_types_stays_right() {
    const ALLOWED: u64 = 16 << 20;
    let mut gman = Gman::start();
    let array = gman
        .session
        .prep("SELECT json_array_udf(?, ?, 'end')")
        .unwrap();
    let values = values();
    let (long, short) = values.split_last().expect("values");
    let mut before = 0;
    for time in 0..TIMES {
        let one = &short[time as usize % short.len()];
        let two = match time % 1000 {
            0 => long,
            _ => &short[time as usize / short.len() % short.len()],
        };
        let text: Option<String> = gman.session.exec_first(&array, (&one.0, &two.0)).unwrap();
        let expected = format!(r#"[{},{},"end"]"#, one.1, two.1);
        assert_eq!(text.expect("a row"), expected, "execution {time}");
        if time == TIMES / 10 {
            before = gman.database.rss_bytes();
        }
    }
    let grown = gman.database.rss_bytes().saturating_sub(before);
    println!("{grown} bytes more");
    assert!(grown < ALLOWED, "{grown} bytes more");
}
