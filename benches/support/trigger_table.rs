//! A table whose every update calls something.

use std::time::{Duration, Instant};

use gearman_mysql_udf::gearman::wire::packet::{self, Command, Magic};
use mysql::Conn;
use mysql::prelude::Queryable;

use crate::support::Gearmand;

/// The row as JSON, as the tutorial's trigger has it.
pub(crate) const JSON: &str = "json_object_udf(NEW.id AS `id`, NEW.name AS `name`)";

/// Runs a statement whose answer does not matter.
pub(crate) fn query(session: &mut Conn, sql: &str) {
    session
        .query_drop(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Makes the table `t` with the rows `id` = 1 ... `rows`.
pub(crate) fn create(session: &mut Conn, rows: u32) {
    query(
        session,
        "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, name CHAR(8), n INT NOT NULL) ENGINE=InnoDB",
    );
    let ids: Vec<u32> = (1..=rows).collect();
    for ids in ids.chunks(1000) {
        let rows: Vec<String> = ids
            .iter()
            .map(|id| format!("({id}, 'test{}', 0)", id % 1000))
            .collect();
        query(session, &format!("INSERT INTO t VALUES {}", rows.join(",")));
    }
}

/// Has every update of a row run `statement`; `None` for nothing.
pub(crate) fn set_trigger(session: &mut Conn, statement: Option<&str>) {
    query(session, "DROP TRIGGER IF EXISTS changed");
    if let Some(statement) = statement {
        query(
            session,
            &format!("CREATE TRIGGER changed AFTER UPDATE ON t FOR EACH ROW {statement}"),
        );
    }
}

/// Updates the first `rows` rows; returns how long it took.
pub(crate) fn update(session: &mut Conn, rows: u32) -> Duration {
    let began = Instant::now();
    query(
        session,
        &format!("UPDATE t SET n = n + 1 WHERE id <= {rows}"),
    );
    began.elapsed()
}

/// Every row has become a job: no call failed.
pub(crate) fn assert_jobs(gearmand: &Gearmand, rows: u32) {
    let jobs = gearmand.status().get("f").map_or(0, |status| status.queued);
    assert_eq!(jobs, u64::from(rows), "jobs in gearmand");
}

/// The packet that submits the job of one row.
pub(crate) fn request(id: u32) -> Vec<u8> {
    let mut request = Vec::new();
    let unique = uuid::Uuid::new_v4().to_string();
    let workload = workload(id);
    let arguments = [b"f".as_slice(), unique.as_bytes(), workload.as_bytes()];
    packet::encode(
        &mut request,
        Magic::Request,
        Command::SubmitJobBg,
        &arguments,
    );
    request
}

/// What [`JSON`] makes of one row.
pub(crate) fn workload(id: u32) -> String {
    format!("{{\"id\":{id},\"name\":\"test{}\"}}", id % 1000)
}

/// The smaller of a time and the one before.
pub(crate) fn keep_fastest(fastest: &mut Option<Duration>, time: Duration) {
    *fastest = Some(fastest.map_or(time, |before| before.min(time)));
}
