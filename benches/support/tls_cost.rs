//! What TLS costs a row of an `UPDATE`: every delivery to one and the same gearmand, started with `--ssl` and
//! without, which take turns in being the first.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use crate::median::median;
use crate::promise::{self, Promise};
use crate::support::{Certificates, Database, TlsGearmand};
use crate::trigger_table::{self, JSON, query, set_trigger, update};

/// The deliveries, and how many times the time without TLS each may take.
const DELIVERIES: [(&str, f64); 3] = [("acked", 1.25), ("pipelined", 1.1), ("committed", 1.1)];

/// The times of one delivery.
#[derive(Debug, Default)]
struct Measured {
    plain: Times,
    tls: Times,
}

/// The times of one delivery one way.
#[derive(Debug, Default)]
struct Times {
    update: Vec<Duration>,
    /// Until gearmand had every job.
    delivered: Vec<Duration>,
}

/// Measures; an error if TLS costs more than it may.
pub(crate) fn measure(rows: u32, rounds: u32) -> ExitCode {
    let certificates = Certificates::new();
    let database = Database::start();
    database.install_functions();
    for plugin in ["gman", "gman_commit"] {
        database.execute(&format!(
            "INSTALL PLUGIN {plugin} SONAME 'libgearman_mysql_udf.so'"
        ));
    }
    let mut session = database.connect();
    trigger_table::create(&mut session, rows);
    let call = format!("SET @r = gman_do_background('f', {JSON})");
    set_trigger(&mut session, Some(&call));
    // No call waits for room: what is measured is what a statement takes.
    query(&mut session, "SET GLOBAL gman_window_bytes = 1000000000");

    let mut measured: [Measured; 3] = Default::default();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for ((delivery, _), measured) in DELIVERIES.iter().zip(&mut measured) {
            query(
                &mut session,
                &format!("SET GLOBAL gman_delivery = '{delivery}'"),
            );
            for with_tls in [round % 2 == 0, round % 2 != 0] {
                if with_tls {
                    let gearmand = gearmand(TlsGearmand::start(&certificates));
                    go_to(&mut session, &certificates.path("ca.pem"), &gearmand);
                    measured.tls.once(&mut session, rows);
                } else {
                    let gearmand = gearmand(TlsGearmand::start_without_tls());
                    go_to(&mut session, "", &gearmand);
                    measured.plain.once(&mut session, rows);
                }
            }
        }
    }
    let version: String = database.value("SELECT VERSION()");
    println!("{version}, UPDATE of {rows} rows, median of {rounds}\n");
    report(&measured, rows)
}

fn gearmand(started: Result<TlsGearmand, String>) -> TlsGearmand {
    started.unwrap_or_else(|reason| panic!("{reason}"))
}

fn go_to(session: &mut Conn, ca: &str, gearmand: &TlsGearmand) {
    query(session, &format!("SET GLOBAL gman_tls_ca = '{ca}'"));
    let servers = gearmand.address();
    query(session, &format!("SET GLOBAL gman_servers = '{servers}'"));
}

impl Times {
    fn once(&mut self, session: &mut Conn, rows: u32) {
        let before = acknowledged(session);
        let began = Instant::now();
        self.update.push(update(session, rows));
        query(session, "SELECT gman_flush(60000)");
        self.delivered.push(began.elapsed());
        let jobs = acknowledged(session) - before;
        assert_eq!(jobs, u64::from(rows), "jobs that gearmand acknowledged");
    }
}

fn acknowledged(session: &mut Conn) -> u64 {
    let row: Option<(String, u64)> = session
        .query_first("SHOW GLOBAL STATUS LIKE 'gman_jobs_acknowledged'")
        .expect("a status variable");
    row.expect("a row").1
}

fn report(measured: &[Measured], rows: u32) -> ExitCode {
    println!("| delivery  | a row without TLS | with TLS | times | delivered without | with TLS |");
    println!("|-----------|------------------:|---------:|------:|------------------:|---------:|");
    let mut promises = Vec::new();
    for ((delivery, allowed), Measured { plain, tls }) in DELIVERIES.iter().zip(measured) {
        let us = |times: &[Duration]| median(times).as_secs_f64() * 1e6 / f64::from(rows);
        let times = us(&tls.update) / us(&plain.update);
        println!(
            "| {delivery:<9} | {:14.1} us | {:5.1} us | {times:5.2} | {:14.1} us | {:5.1} us |",
            us(&plain.update),
            us(&tls.update),
            us(&plain.delivered),
            us(&tls.delivered),
        );
        promises.push(Promise {
            promised: format!("{delivery}: at most {allowed} times the time without TLS"),
            found: format!("{times:.2} times"),
            kept: times <= *allowed,
        });
    }
    promise::judge(&promises)
}
