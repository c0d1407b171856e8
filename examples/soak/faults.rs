//! What goes wrong, one thing after the other, and what a DBA changes meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use mysql::Conn;
use mysql::prelude::Queryable;

use crate::stage::{JobServer, Source};
use crate::stop::Stop;
use crate::support::RedisCluster;

/// How long between two faults, in seconds.
const CALM: (f64, f64) = (1.0, 6.0);

/// How long a fault lasts, in seconds.
const TROUBLE: (f64, f64) = (0.1, 5.0);

/// How long between two changes of a setting, in seconds.
const UNCHANGED: (f64, f64) = (0.5, 4.0);

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Kill,
    Freeze,
    Cut,
    TlsKill,
    NodeRestart,
}

impl Fault {
    pub(crate) const ALL: [Self; 5] = [
        Self::Kill,
        Self::Freeze,
        Self::Cut,
        Self::TlsKill,
        Self::NodeRestart,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "gearmand killed",
            Self::Freeze => "gearmand stopped",
            Self::Cut => "port cut",
            Self::TlsKill => "TLS end killed",
            Self::NodeRestart => "Redis node away",
        }
    }
}

/// A fault that was, and when it began and ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incident {
    pub(crate) fault: Fault,
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

/// Has faults happen until it is time to end; then nothing is wrong any more.
pub(crate) fn inflict(
    servers: &mut [JobServer],
    redis: &mut RedisCluster,
    mut rng: Rng,
    stop: &Stop,
) -> Vec<Incident> {
    let mut incidents = Vec::new();
    while stop.sleep(between(&mut rng, CALM)) {
        let fault = Fault::ALL[rng.usize(..Fault::ALL.len())];
        let server = rng.usize(..servers.len());
        let server = &mut servers[server];
        let from = Instant::now();
        let trouble = between(&mut rng, TROUBLE);
        match fault {
            Fault::Kill => {
                // So that there are jobs in it when it dies.
                server.stop_workers();
                stop.sleep(trouble / 2);
                server.gearmand.kill();
                stop.sleep(trouble / 2);
                server.restart();
            }
            Fault::Freeze => {
                server.gearmand.stop();
                stop.sleep(trouble);
                server.gearmand.cont();
            }
            Fault::Cut => {
                server.wire.cut();
                stop.sleep(trouble);
                server.wire.mend();
                server.wire.forget_acknowledged();
            }
            Fault::TlsKill => {
                server.tls.kill();
                stop.sleep(trouble);
                server.tls.restart();
            }
            // A master that is away for long enough has been replaced when it comes back.
            Fault::NodeRestart => {
                let node = rng.usize(..redis.nodes.len());
                redis.nodes[node].stop();
                stop.sleep(trouble);
                redis.nodes[node].restart();
                redis.wait_until_whole();
            }
        }
        incidents.push(Incident {
            fault,
            from,
            to: Instant::now(),
        });
    }
    incidents
}

/// Settings, and the values that they take in turn; the first is the one at the end.
pub(crate) type Settings = BTreeMap<&'static str, Vec<String>>;

/// What is changed in a server that has these lists of job servers.
pub(crate) fn settings(lists: &[String]) -> Settings {
    let quoted = |value: &String| format!("'{value}'");
    let words = |values: &[&str]| values.iter().map(ToString::to_string).collect();
    BTreeMap::from([
        ("gman_servers", lists.iter().map(quoted).collect()),
        ("gman_delivery", words(&["acked", "pipelined", "committed"])),
        ("gman_commit_wait", words(&["OFF", "ON"])),
        (
            "gman_on_failure",
            words(&["'warning'", "'null'", "'error'"]),
        ),
        ("gman_timeout_ms", words(&["1000", "100", "3000"])),
        ("gman_connect_timeout_ms", words(&["250", "50", "1000"])),
        (
            "gman_window_bytes",
            words(&["16777216", "65536", "1048576"]),
        ),
        ("gman_max_connections", words(&["16", "4", "8"])),
    ])
}

/// Changes settings of one source after the other until it is time to end; returns how often.
pub(crate) fn change_settings(sources: &[Source], mut rng: Rng, stop: &Stop) -> u64 {
    let mut sessions: Vec<Conn> = sources
        .iter()
        .map(|source| source.database.connect())
        .collect();
    let mut changes = 0;
    while stop.sleep(between(&mut rng, UNCHANGED)) {
        let number = rng.usize(..sources.len());
        let settings = &sources[number].settings;
        let names: Vec<_> = settings.keys().collect();
        let name = names[rng.usize(..names.len())];
        let values = &settings[name];
        let value = &values[rng.usize(..values.len())];
        set(&mut sessions[number], name, value);
        changes += 1;
    }
    sources.iter().for_each(calm);
    changes
}

/// Gives every setting its first value.
pub(crate) fn calm(source: &Source) {
    let mut session = source.database.connect();
    for (name, values) in &source.settings {
        set(&mut session, name, &values[0]);
    }
}

fn set(session: &mut Conn, name: &str, value: &str) {
    let sql = format!("SET GLOBAL {name} = {value}");
    session
        .query_drop(&sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

fn between(rng: &mut Rng, (low, high): (f64, f64)) -> Duration {
    Duration::from_secs_f64(low + rng.f64() * (high - low))
}
