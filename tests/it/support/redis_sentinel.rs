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
    /// That of the nodes; that of the Sentinels is [`of_sentinels`]. Empty for none.
    password: &'static str,
}

#[derive(Debug)]
struct Sentinel {
    process: Process,
    host: Ipv4Addr,
    port: Port,
    password: String,
    _folder: TempDir,
}

impl RedisSentinel {
    /// Starts with further options for both, and waits until the Sentinels know everybody.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        Self::start_at([Ipv4Addr::LOCALHOST; 3], options, "")
    }

    /// Nobody is let in without a password.
    pub(crate) fn start_with_password(password: &'static str) -> Self {
        let options = ["--masterauth", password];
        Self::start_at([Ipv4Addr::LOCALHOST; 3], &options, password)
    }

    /// Each Redis, and the Sentinels together, at an address of their own, so that they can be cut off.
    pub(crate) fn start_apart() -> Self {
        Self::start_at(
            [11, 12, 13].map(|host| Ipv4Addr::new(127, 0, 0, host)),
            &[],
            "",
        )
    }

    fn start_at(hosts: [Ipv4Addr; 3], options: &[&str], password: &'static str) -> Self {
        let options: Vec<String> = options.iter().map(|word| (*word).to_owned()).collect();
        let master = Redis::start_at(hosts[0], options.clone(), password);
        let port = master.port().to_string();
        let host = hosts[0].to_string();
        let of_master = [
            "--replicaof",
            &host,
            &port,
            "--repl-diskless-sync-delay",
            "0",
        ];
        let mut of_replica = options;
        of_replica.extend(of_master.iter().map(|word| (*word).to_owned()));
        let replica = Redis::start_at(hosts[1], of_replica, password);
        let sentinels = (0..3)
            .map(|_| Sentinel::start(hosts[2], &master, password))
            .collect();
        let all = Self {
            nodes: [master, replica],
            sentinels,
            password,
        };
        all.wait_until_complete();
        all
    }

    /// Where the Sentinels are.
    pub(crate) fn host(&self) -> Ipv4Addr {
        self.sentinels[0].host
    }

    /// As `--redis` takes it.
    pub(crate) fn url(&self) -> String {
        let addresses: Vec<String> = self.sentinels.iter().map(Sentinel::address).collect();
        let addresses = addresses.join(",");
        match self.password {
            "" => format!("redis-sentinel://{addresses}/?master={MASTER}"),
            password => format!(
                "redis-sentinel://:{password}@{addresses}/?master={MASTER}&sentinel_password={}",
                of_sentinels(password)
            ),
        }
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
    fn start(host: Ipv4Addr, master: &Redis, password: &str) -> Self {
        let (folder, port) = (folder::temporary(), Port::free());
        let file = folder.path().join("sentinel.conf");
        let (master_host, master_port) = (master.host(), master.port());
        let mut configuration = format!(
            "bind {host}\nbind-source-addr {host}\nprotected-mode no\nport {}\ndir {}\n\
             sentinel monitor {MASTER} {master_host} {master_port} 2\n\
             sentinel down-after-milliseconds {MASTER} 1000\n\
             sentinel failover-timeout {MASTER} 5000\n",
            port.number(),
            folder.path().display()
        );
        if !password.is_empty() {
            let own = of_sentinels(password);
            configuration += &format!(
                "sentinel auth-pass {MASTER} {password}\n\
                 requirepass {own}\nsentinel sentinel-pass {own}\n"
            );
        }
        fs::write(&file, configuration).expect("a file in a temporary folder");
        let mut command = Command::new(program());
        command.arg(&file).arg("--sentinel");
        let mut sentinel = Self {
            process: Process::start(command, &folder.path().join("log")),
            host,
            port,
            password: of_sentinels(password),
            _folder: folder,
        };
        let url = sentinel.url();
        sentinel
            .process
            .wait_until_ready(|| ask::<String>(&url, &["PING"]));
        sentinel
    }

    fn address(&self) -> String {
        format!("{}:{}", self.host, self.port.number())
    }

    fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        ask(&self.url(), words)
    }

    fn url(&self) -> String {
        match self.password.as_str() {
            "" => format!("redis://{}/", self.address()),
            password => format!("redis://:{password}@{}/", self.address()),
        }
    }
}

/// The password of the Sentinels, where the nodes have this one.
fn of_sentinels(password: &str) -> String {
    match password {
        "" => String::new(),
        password => format!("{password}-too"),
    }
}

fn ask<T: redis::FromRedisValue>(url: &str, words: &[&str]) -> redis::RedisResult<T> {
    let client = redis::Client::open(url)?;
    let mut command = redis::cmd(words[0]);
    command
        .arg(&words[1..])
        .query(&mut client.get_connection()?)
}
