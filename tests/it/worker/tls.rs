//! A Redis that wants a password and speaks TLS only with those who show a certificate.

use std::net::Ipv4Addr;
use std::path::Path;

use super::{PATIENCE, run_job, wait_for_lines};
use crate::support::{
    Certificates, FUNCTION, Gearmand, Port, Redis, RedisWorker, Submitter, wait_until,
};

const PASSWORD: &str = "s3cret-word";

/// A Redis with a second port for TLS.
struct TlsRedis {
    certificates: Certificates,
    port: Port,
    redis: Redis,
}

impl TlsRedis {
    fn start() -> Self {
        let certificates = Certificates::new();
        let port = Port::free();
        let file = |name| certificates.file(name).display().to_string();
        let options = [
            ["--tls-port", &port.number().to_string()],
            ["--tls-ca-cert-file", &file("ca.pem")],
            ["--tls-cert-file", &file("server.pem")],
            ["--tls-key-file", &file("server.key")],
            ["--tls-auth-clients", "yes"],
        ];
        let options = options.as_flattened().iter().map(|word| (*word).to_owned());
        let redis = Redis::start_with(options.collect(), PASSWORD);
        Self {
            certificates,
            port,
            redis,
        }
    }

    /// A worker that trusts the authority of `ca`.
    fn worker(&self, gearmand: &Gearmand, password: &str, ca: &Path) -> RedisWorker {
        let (host, port) = (Ipv4Addr::LOCALHOST, self.port.number());
        let file = |name| self.certificates.file(name).display().to_string();
        let options = [
            format!("--gearmand={}", gearmand.address()),
            format!("--redis=rediss://:{password}@{host}:{port}/"),
            format!("--redis-ca={}", ca.display()),
            format!("--redis-cert={}", file("client.pem")),
            format!("--redis-key={}", file("client.key")),
        ];
        RedisWorker::start_bare(&[gearmand], &options)
    }

    /// A worker that Redis does not trust, or that does not trust Redis, says so and keeps its job.
    fn keeps_the_job(&self, password: &str, ca: &Path, reason: &str) {
        let gearmand = Gearmand::start();
        let mut worker = self.worker(&gearmand, password, ca);
        let job = r#"{"id":"kept","name":"sm"}"#.to_owned();
        Submitter::to(&gearmand).submit(FUNCTION, [job]);
        wait_for_lines(&worker, "keeping the job", 1);
        let log = worker.log();
        assert!(log.contains(reason), "{log}");
        assert_eq!(self.redis.get("kept"), None);
        worker.stop();
        assert!(!worker.log().contains(PASSWORD), "{}", worker.log());
        wait_until(
            PATIENCE,
            "the job to be back in the queue",
            || match gearmand.status()[FUNCTION] {
                status if (status.queued, status.running) == (1, 0) => Ok(()),
                status => Err(status),
            },
        );
    }
}

#[test]
fn jobs_reach_a_redis_with_tls_and_a_password_also_when_it_comes_back() {
    let mut tls = TlsRedis::start();
    let gearmand = Gearmand::start();
    let ca = tls.certificates.file("ca.pem");
    let worker = tls.worker(&gearmand, PASSWORD, &ca);
    run_job(&gearmand, FUNCTION, r#"{"id":1,"name":"sm"}"#);
    assert_eq!(tls.redis.get("1").as_deref(), Some("sm"));

    tls.redis.restart();
    run_job(&gearmand, FUNCTION, r#"{"id":1,"name":"again"}"#);
    assert_eq!(tls.redis.get("1").as_deref(), Some("again"));
    assert!(!worker.log().contains(PASSWORD), "{}", worker.log());
}

#[test]
fn a_job_is_kept_while_the_password_is_wrong_or_the_certificate_not_trusted() {
    let tls = TlsRedis::start();
    tls.keeps_the_job(
        "wrong",
        &tls.certificates.file("ca.pem"),
        "refuses the password",
    );
    let stranger = Certificates::new();
    tls.keeps_the_job(
        PASSWORD,
        &stranger.file("ca.pem"),
        "invalid peer certificate",
    );
}
