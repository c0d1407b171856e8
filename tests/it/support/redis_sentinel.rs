//! A Redis with a replica, and three Sentinels that watch them.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::folder;
use super::ports::Port;
use super::process::Process;
use super::redis::{Redis, program};
use super::wait::wait_until;

/// How long they may take to find each other, and to agree.
const PATIENCE: Duration = Duration::from_secs(60);

const MASTER: &str = "mymaster";

/// Two Redis and their Sentinels.
#[derive(Debug)]
pub(crate) struct RedisSentinel {
    /// The first is the master when it starts.
    pub(crate) nodes: [Redis; 2],
    sentinels: Vec<Sentinel>,
}

#[derive(Debug)]
struct Sentinel {
    process: Process,
    port: Port,
    _folder: TempDir,
}

impl RedisSentinel {
    /// Starts with further options for both, and waits until the Sentinels know everybody.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|word| (*word).to_owned()).collect();
        let master = Redis::start_with(options.clone(), "");
        let port = master.port().to_string();
        let host = Ipv4Addr::LOCALHOST.to_string();
        let of_master = [
            "--replicaof",
            &host,
            &port,
            "--repl-diskless-sync-delay",
            "0",
        ];
        let mut of_replica = options;
        of_replica.extend(of_master.iter().map(|word| (*word).to_owned()));
        let replica = Redis::start_with(of_replica, "");
        let sentinels = (0..3).map(|_| Sentinel::start(master.port())).collect();
        let all = Self {
            nodes: [master, replica],
            sentinels,
        };
        all.wait_until_complete();
        all
    }

    /// As `--redis` takes it.
    pub(crate) fn url(&self) -> String {
        let addresses: Vec<String> = self
            .sentinels
            .iter()
            .map(|sentinel| format!("{}:{}", Ipv4Addr::LOCALHOST, sentinel.port.number()))
            .collect();
        format!("redis-sentinel://{}/?master={MASTER}", addresses.join(","))
    }

    /// Waits until the Sentinels name the replica as the master.
    pub(crate) fn wait_for_failover(&self) {
        let port = self.nodes[1].port().to_string();
        for sentinel in &self.sentinels {
            wait_until(PATIENCE, "the Sentinels to name the replica", || {
                let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER];
                match sentinel.ask::<Vec<String>>(&words) {
                    Ok(address) if address[1] == port => Ok(()),
                    other => Err(other),
                }
            });
        }
    }

    fn wait_until_complete(&self) {
        for sentinel in &self.sentinels {
            wait_until(PATIENCE, "the Sentinels to know everybody", || {
                let known = |what| sentinel.ask::<Vec<redis::Value>>(&["SENTINEL", what, MASTER]);
                match (known("REPLICAS"), known("SENTINELS")) {
                    (Ok(replicas), Ok(others)) if (replicas.len(), others.len()) == (1, 2) => {
                        Ok(())
                    }
                    other => Err(other),
                }
            });
        }
    }
}

impl Sentinel {
    fn start(master: u16) -> Self {
        let (folder, port) = (folder::temporary(), Port::free());
        let file = folder.path().join("sentinel.conf");
        let host = Ipv4Addr::LOCALHOST;
        let configuration = format!(
            "bind {host}\nport {}\ndir {}\nsentinel monitor {MASTER} {host} {master} 2\n\
             sentinel down-after-milliseconds {MASTER} 1000\n\
             sentinel failover-timeout {MASTER} 5000\n",
            port.number(),
            folder.path().display()
        );
        fs::write(&file, configuration).expect("a file in a temporary folder");
        let mut command = Command::new(program());
        command.arg(&file).arg("--sentinel");
        let mut sentinel = Self {
            process: Process::start(command, &folder.path().join("log")),
            port,
            _folder: folder,
        };
        let number = sentinel.port.number();
        sentinel
            .process
            .wait_until_ready(|| ask::<String>(number, &["PING"]));
        sentinel
    }

    fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        ask(self.port.number(), words)
    }
}

fn ask<T: redis::FromRedisValue>(port: u16, words: &[&str]) -> redis::RedisResult<T> {
    let client = redis::Client::open((Ipv4Addr::LOCALHOST.to_string(), port))?;
    let mut command = redis::cmd(words[0]);
    command
        .arg(&words[1..])
        .query(&mut client.get_connection()?)
}
