//! What handing a job to gearmand costs for each row of an `UPDATE`, in one server and one run.
//!
//! `scripts/bench submit` runs it. A trigger builds the row's JSON and (a) does nothing with it, (b)
//! hands it to a function on libgearman, built as the C plugin is and as it could have been
//! (`benches/peer/peer.c`), (c) hands it to ours. The limit is a bare ping-pong of the same packets on one
//! kept connection. Then 32 sessions update at once, up to 512 update row by row, and the job server is a
//! black hole. It ends with an error if a bar is missed.

#[path = "support/bar_chart.rs"]
mod bar_chart;
#[path = "support/job_server.rs"]
mod job_server;
#[path = "support/median.rs"]
mod median;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/promise.rs"]
mod promise;
#[path = "../tests/it/support/mod.rs"]
mod support;
#[path = "support/tls_cost.rs"]
mod tls_cost;
#[path = "support/trigger_table.rs"]
mod trigger_table;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use gearman_mysql_udf::gearman::wire::packet::{self, Decoded, Magic};
use mysql::Conn;
use mysql::prelude::Queryable;

use bar_chart::Bar;
use promise::Promise;
use support::{BlackHole, Database, Gearmand};
use trigger_table::{JSON, assert_jobs, keep_fastest, query, request, set_trigger, update};

/// How many sessions update at once, each its share in one statement.
const SESSIONS: u32 = 32;

/// How many sessions update row by row.
const BURSTS: [u32; 5] = [1, 8, 32, 64, 512];

/// Of them those whose rates are compared.
const FEW: usize = 2;
const MANY: usize = 4;

/// The default of `gman_connect_timeout_ms`.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);

/// Measures submission.
#[derive(Parser)]
struct Options {
    /// How many rows the table has.
    #[arg(long, default_value_t = 20_000)]
    rows: u32,
    /// How often everything is measured; the fastest time of each counts.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Measure what TLS costs instead; needs what scripts/gearmand-tls builds.
    #[arg(long)]
    tls: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The fastest times, and what came with them.
#[derive(Debug, Default)]
struct Measured {
    json: Option<Duration>,
    peer: Option<Duration>,
    /// The one that keeps a client for each thread.
    kept_peer: Option<Duration>,
    ours: Option<Duration>,
    ping_pong: Option<Duration>,
    sessions: Option<Duration>,
    black_hole: Option<Duration>,
    /// Row by row, in so many sessions as [`BURSTS`] says: with the JSON alone, and with ours.
    bursts: [(Option<Duration>, Option<Duration>); BURSTS.len()],
    /// The most sockets that one `UPDATE` opened.
    peer_sockets: usize,
    our_sockets: usize,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.tls {
        return tls_cost::measure(options.rows, options.rounds);
    }
    let database = Database::builder()
        .library()
        .option("--max-connections=1000")
        .start();
    database.install_functions();
    peer::install(&database);
    let mut session = database.connect();
    trigger_table::create(&mut session, options.rows);

    let mut measured = Measured::default();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        measured.round(&database, &mut session, options.rows);
    }
    let version: String = database.value("SELECT VERSION()");
    report(&version, &options, &measured)
}

impl Measured {
    /// Everything once. The statements take turns, so that what disturbs the machine disturbs all.
    fn round(&mut self, database: &Database, session: &mut Conn, rows: u32) {
        set_trigger(session, Some(&format!("SET @r = {JSON}")));
        keep_fastest(&mut self.json, update(session, rows));

        for (sessions, (json, _)) in BURSTS.iter().zip(&mut self.bursts) {
            keep_fastest(json, update_row_by_row(database, *sessions, rows));
        }

        let gearmand =
            peer::keep_fastest_update("peer_do_background", &mut self.peer, session, rows);
        self.peer_sockets = self.peer_sockets.max(gearmand.recent_sockets());
        let function = "peer_kept_do_background";
        peer::keep_fastest_update(function, &mut self.kept_peer, session, rows);

        let gearmand = job_server::start();
        set_servers(session, &gearmand.address());
        let call = format!("SET @r = gman_do_background('f', {JSON})");
        set_trigger(session, Some(&call));
        keep_fastest(&mut self.ours, update(session, rows));
        assert_jobs(&gearmand, rows);
        self.our_sockets = self.our_sockets.max(gearmand.recent_sockets());

        let gearmand = job_server::start();
        keep_fastest(&mut self.ping_pong, ping_pong(&gearmand, rows));
        assert_jobs(&gearmand, rows);

        let gearmand = job_server::start();
        set_servers(session, &gearmand.address());
        keep_fastest(&mut self.sessions, update_in_sessions(database, rows));
        assert_jobs(&gearmand, rows);

        for (sessions, (_, ours)) in BURSTS.iter().zip(&mut self.bursts) {
            let gearmand = job_server::start();
            set_servers(session, &gearmand.address());
            keep_fastest(ours, update_row_by_row(database, *sessions, rows));
            assert_jobs(&gearmand, rows);
        }

        let hole = BlackHole::start();
        set_servers(session, &hole.address().to_string());
        keep_fastest(&mut self.black_hole, update(session, rows));
    }
}

fn set_servers(session: &mut Conn, servers: &str) {
    query(session, &format!("SELECT gman_servers_set('{servers}')"));
}

/// Updates every row, each of 32 sessions its share in one statement.
fn update_in_sessions(database: &Database, rows: u32) -> Duration {
    in_sessions(database, SESSIONS, rows, |session, ids| {
        let (first, last) = (ids.start(), ids.end());
        query(
            session,
            &format!("UPDATE t SET n = n + 1 WHERE id BETWEEN {first} AND {last}"),
        );
    })
}

/// Updates every row by a statement of its own, each session its share.
fn update_row_by_row(database: &Database, sessions: u32, rows: u32) -> Duration {
    in_sessions(database, sessions, rows, |session, ids| {
        let update = session
            .prep("UPDATE t SET n = n + 1 WHERE id = ?")
            .expect("a statement");
        for id in ids {
            session.exec_drop(&update, (id,)).expect("an update");
        }
    })
}

/// Does something in many sessions at once, each with its share of the ids; returns how long all of them took
/// together.
fn in_sessions(
    database: &Database,
    sessions: u32,
    rows: u32,
    work: impl Fn(&mut Conn, RangeInclusive<u32>) + Sync,
) -> Duration {
    let share = rows.div_ceil(sessions);
    let mut connections: Vec<Conn> = (0..sessions).map(|_| database.connect()).collect();
    let began = Instant::now();
    thread::scope(|scope| {
        for (number, session) in (0..).zip(&mut connections) {
            let first = number * share + 1;
            let last = (first + share - 1).min(rows);
            let work = &work;
            scope.spawn(move || work(session, first..=last));
        }
    });
    began.elapsed()
}

/// The limit: sends each job's packet on one kept connection and reads the answer, nothing else.
fn ping_pong(gearmand: &Gearmand, rows: u32) -> Duration {
    let mut stream = TcpStream::connect(gearmand.address()).expect("gearmand");
    stream.set_nodelay(true).expect("a TCP socket");
    let requests: Vec<Vec<u8>> = (1..=rows).map(request).collect();
    let mut answer = [0; 1024];
    let began = Instant::now();
    for request in &requests {
        stream.write_all(request).expect("gearmand reads");
        let mut read = 0;
        while read == 0 || is_incomplete(&answer[..read]) {
            read += stream.read(&mut answer[read..]).expect("gearmand answers");
        }
    }
    began.elapsed()
}

fn is_incomplete(answer: &[u8]) -> bool {
    match packet::decode(Magic::Response, answer).expect("a packet") {
        Decoded::Incomplete { .. } => true,
        Decoded::Packet(packet) => {
            assert_eq!(packet.command, packet::Command::JobCreated);
            false
        }
    }
}

/// One line of the table.
struct Line {
    name: &'static str,
    time: Duration,
    /// What a job took, where there was one: without the time for the row and its JSON.
    job: Option<Duration>,
    sockets: Option<usize>,
    picture: Picture,
}

/// What the picture shows of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Picture {
    Ours,
    Other,
    /// Nothing: no job is handed over.
    Absent,
}

fn report(version: &str, options: &Options, measured: &Measured) -> ExitCode {
    let lines = lines(measured, options.rows);
    let title = format!(
        "{version}, UPDATE of {} rows, fastest of {}",
        options.rows, options.rounds
    );
    println!("{title}\n");
    print_table(&lines, options.rows);
    print_bursts(measured, options.rows);
    draw(&lines, &title, options.rows);
    let promises = promises(measured, options.rows);
    promise::judge(&promises)
}

fn taken(time: Option<Duration>) -> Duration {
    time.expect("at least one round")
}

fn lines(measured: &Measured, rows: u32) -> Vec<Line> {
    let json = taken(measured.json);
    let line = |name, time: Option<Duration>, sockets, picture| {
        let time = taken(time);
        Line {
            name,
            time,
            job: Some(time.saturating_sub(json) / rows),
            sockets,
            picture,
        }
    };
    let (peer_sockets, our_sockets) = (Some(measured.peer_sockets), Some(measured.our_sockets));
    let ping_pong = taken(measured.ping_pong);
    vec![
        Line {
            job: None,
            ..line("only the JSON", measured.json, None, Picture::Absent)
        },
        line(
            "C peer, a client a call",
            measured.peer,
            peer_sockets,
            Picture::Other,
        ),
        line(
            "C peer, a client a thread",
            measured.kept_peer,
            None,
            Picture::Other,
        ),
        line(
            "gman_do_background",
            measured.ours,
            our_sockets,
            Picture::Ours,
        ),
        line(
            "the same in 32 sessions",
            measured.sessions,
            None,
            Picture::Ours,
        ),
        Line {
            name: "bare ping-pong, the limit",
            time: ping_pong,
            job: Some(ping_pong / rows),
            sockets: Some(1),
            picture: Picture::Other,
        },
        line(
            "at a black hole",
            measured.black_hole,
            None,
            Picture::Absent,
        ),
    ]
}

fn per_second(rows: u32, time: Duration) -> f64 {
    f64::from(rows) / time.as_secs_f64()
}

fn print_table(lines: &[Line], rows: u32) {
    println!("| trigger                   |    time |   rows a second |    a job | sockets |");
    println!("|---------------------------|--------:|----------------:|---------:|--------:|");
    for Line {
        name,
        time,
        job,
        sockets,
        picture: _,
    } in lines
    {
        let job = job.map_or_else(|| "-".to_owned(), |job| format!("{:.1} us", in_us(job)));
        let sockets = sockets.map_or_else(|| "-".to_owned(), |count| count.to_string());
        println!(
            "| {name:<25} | {:5.3} s | {:15.0} | {job:>8} | {sockets:>7} |",
            time.as_secs_f64(),
            per_second(rows, *time)
        );
    }
}

fn in_us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn promises(measured: &Measured, rows: u32) -> Vec<Promise> {
    let (json, peer, ours) = (
        taken(measured.json),
        taken(measured.peer),
        taken(measured.ours),
    );
    let (ping_pong, sessions) = (taken(measured.ping_pong), taken(measured.sessions));
    let black_hole = taken(measured.black_hole);
    let faster = peer.as_secs_f64() / ours.as_secs_f64();
    let job = ours.saturating_sub(json) / rows;
    let to_limit = job.as_secs_f64() / (ping_pong / rows).as_secs_f64();
    let in_sessions = ours.as_secs_f64() / sessions.as_secs_f64();
    let allowed = json + 2 * CONNECT_TIMEOUT;
    let [few, many] = [FEW, MANY].map(|place| measured.bursts[place]);
    let times = |few, many| taken(few).as_secs_f64() / taken(many).as_secs_f64();
    let (burst_of_json, burst) = (times(few.0, many.0), times(few.1, many.1));
    vec![
        Promise {
            promised: "at least 2.0 times the C peer's rows a second".into(),
            found: format!("{faster:.1} times"),
            kept: faster >= 2.0,
        },
        Promise {
            promised: "a job takes at most 1.25 times the bare ping-pong".into(),
            found: format!("{to_limit:.2} times"),
            kept: to_limit <= 1.25,
        },
        Promise {
            promised: "at most 4 sockets".into(),
            found: measured.our_sockets.to_string(),
            kept: (1..=4).contains(&measured.our_sockets),
        },
        Promise {
            promised: "32 sessions together are at least as fast as one, and no call fails".into(),
            found: format!("{in_sessions:.2} times, {rows} jobs in gearmand"),
            kept: in_sessions >= 1.0,
        },
        Promise {
            promised: "row by row, 512 sessions are at least as fast as 32".into(),
            found: format!("{burst:.2} times; with the JSON alone {burst_of_json:.2}"),
            kept: burst >= 1.0,
        },
        Promise {
            promised: "at a black hole: the JSON's time and two connect timeouts".into(),
            found: format!(
                "{:.3} s of {:.3} s",
                black_hole.as_secs_f64(),
                allowed.as_secs_f64()
            ),
            kept: black_hole <= allowed,
        },
    ]
}

fn print_bursts(measured: &Measured, rows: u32) {
    println!("\n| sessions, row by row | rows a second with the JSON | with the job | times |");
    println!("|---:|---:|---:|---:|");
    for (sessions, (json, ours)) in BURSTS.iter().zip(&measured.bursts) {
        let (json, ours) = (taken(*json), taken(*ours));
        println!(
            "| {sessions} | {:.0} | {:.0} | {:.2} |",
            per_second(rows, json),
            per_second(rows, ours),
            ours.as_secs_f64() / json.as_secs_f64()
        );
    }
}

fn draw(lines: &[Line], title: &str, rows: u32) {
    let bars: Vec<Bar> = lines
        .iter()
        .filter(|line| line.picture != Picture::Absent)
        .map(|line| Bar {
            name: line.name.to_owned(),
            value: per_second(rows, line.time),
            label: format!("{:.0}", per_second(rows, line.time)),
            ours: line.picture == Picture::Ours,
        })
        .collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/submit.svg");
    bar_chart::draw(
        &path,
        "Rows a second through a trigger into gearmand",
        title,
        &bars,
    )
    .unwrap_or_else(|error| panic!("cannot draw {}: {error}", path.display()));
    println!("\ndrawn: docs/submit.svg");
}
