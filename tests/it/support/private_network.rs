//! A network of its own for a test, in which addresses are cut off as a firewall does it: packets vanish, and
//! nobody is told.

use std::net::Ipv4Addr;
use std::panic;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};

use super::process::{run, start_in_network};

/// What nft(8) calls the chain of ours.
const CHAIN: [&str; 3] = ["inet", "cut", "input"];

/// A network with nothing but 127.0.0.0/8. What the test's thread starts is in it too.
pub(crate) struct PrivateNetwork(());

impl PrivateNetwork {
    /// Runs a test in it, in a thread of its own; or says why there can be none.
    pub(crate) fn run(test: impl FnOnce(&Self) + Send) -> Result<(), String> {
        let done = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let network = Self::enter()?;
                test(&network);
                Ok(())
            });
            thread.join()
        });
        done.unwrap_or_else(|panic| panic::resume_unwind(panic))
    }

    fn enter() -> Result<Self, String> {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("needs root: {error}"))?;
        let [family, table, chain] = CHAIN;
        let hook = "{ type filter hook input priority 0 ; }";
        for (program, words) in [
            ("ip", &["link", "set", "lo", "up"][..]),
            ("nft", &["add", "table", family, table]),
            ("nft", &["add", "chain", family, table, chain, hook]),
        ] {
            let done = Command::new(format!("/usr/sbin/{program}"))
                .args(words)
                .output();
            match done {
                Ok(output) if output.status.success() => {}
                other => return Err(format!("needs iproute2 and nftables: {program}: {other:?}")),
            }
        }
        let (process, thread) = (nix::unistd::getpid(), nix::unistd::gettid());
        let file = format!("/proc/{process}/task/{thread}/ns/net");
        start_in_network(file);
        Ok(Self(()))
    }

    /// From now on no packet passes between `host` and the others.
    pub(crate) fn cut_off(&self, host: Ipv4Addr, from: impl IntoIterator<Item = Ipv4Addr>) {
        for other in from {
            for (source, target) in [(host, other), (other, host)] {
                let (source, target) = (source.to_string(), target.to_string());
                let rule = ["ip", "saddr", &source, "ip", "daddr", &target, "drop"];
                run(Command::new("nft")
                    .args(["add", "rule"])
                    .args(CHAIN)
                    .args(rule));
            }
        }
    }

    /// Every packet passes again.
    pub(crate) fn heal(&self) {
        run(Command::new("nft").args(["flush", "chain"]).args(CHAIN));
    }
}
