//! The ways to one Redis: sockets, accounts, protocols, and other servers that speak as it does.

use super::{PATIENCE, run_job, start_for, wait_for_an_empty_queue, wait_for_lines};
use crate::support::{FUNCTION, Gearmand, ROW_FUNCTION, Redis, Submitter, wait_until};

#[test]
fn a_unix_socket_leads_to_redis() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("socket");
    let options = ["--unixsocket".to_owned(), socket.display().to_string()];
    let (gearmand, redis) = (Gearmand::start(), Redis::start_with(options.to_vec(), ""));
    let _worker = start_for(&gearmand, &format!("unix://{}", socket.display()), &[]);
    run_job(&gearmand, FUNCTION, r#"{"id":1,"name":"sm"}"#);
    assert_eq!(redis.get("1").as_deref(), Some("sm"));
}

#[test]
fn an_account_with_its_own_keys_alone_is_enough_in_both_protocols() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let rights = [
        "ACL", "SETUSER", "ann", "on", ">s@cret", "~shop:*", "+set", "+del", "+eval", "+evalsha",
        "+hset", "+type", "+get", "+hget",
    ];
    let () = redis.command(&rights).expect("ACL SETUSER");
    for protocol in ["resp2", "resp3"] {
        let url = format!(
            "redis://ann:s%40cret@{}/0?protocol={protocol}",
            redis.address()
        );
        let _worker = start_for(&gearmand, &url, &["--prefix=shop:", "--version-field=v"]);
        let job = format!(r#"{{"id":"{protocol}","name":"sm","v":1}}"#);
        run_job(&gearmand, FUNCTION, &job);
        assert_eq!(
            redis.get(&format!("shop:{protocol}")).as_deref(),
            Some("sm")
        );
    }
}

/// Without versions a row is a transaction, which needs no right to run scripts.
#[test]
fn an_account_that_may_run_no_scripts_is_enough_for_rows_without_versions() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let rights = [
        "ACL", "SETUSER", "ann", "on", ">secret", "~*", "+multi", "+exec", "+type", "+del", "+hset",
    ];
    let () = redis.command(&rights).expect("ACL SETUSER");
    let url = format!("redis://ann:secret@{}", redis.address());
    let _worker = start_for(&gearmand, &url, &[]);
    for row in [r#"{"a":1,"b":2}"#, r#"{"b":3}"#] {
        run_job(
            &gearmand,
            ROW_FUNCTION,
            &format!(r#"{{"key":"r","row":{row}}}"#),
        );
    }
    assert_eq!(redis.hash("r"), [("b".to_owned(), "3".to_owned())].into());
}

#[test]
fn a_full_redis_is_waited_for() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let worker = start_for(&gearmand, &redis.address(), &[]);
    let () = redis
        .command(&["CONFIG", "SET", "maxmemory", "1"])
        .expect("CONFIG SET");
    Submitter::to(&gearmand).submit(FUNCTION, [r#"{"id":1,"name":"sm"}"#.to_owned()]);
    wait_for_lines(&worker, "OOM", 1);
    let () = redis
        .command(&["CONFIG", "SET", "maxmemory", "0"])
        .expect("CONFIG SET");
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    assert_eq!(redis.get("1").as_deref(), Some("sm"));
}

#[test]
fn a_redis_that_reads_its_data_is_waited_for() {
    const KEYS: usize = 5_000;
    // For five seconds at least, with a word to its clients after every 1,024th key.
    let slowly = ["--key-load-delay", "1000"].map(str::to_owned);
    let (gearmand, mut redis) = (Gearmand::start(), Redis::start_with(slowly.to_vec(), ""));
    let mut connection = redis.connect();
    let mut pipeline = redis::pipe();
    for key in 0..KEYS {
        pipeline.set(format!("old{key}"), key).ignore();
    }
    let () = pipeline.query(&mut connection).expect("SET");
    let worker = start_for(&gearmand, &redis.address(), &[]);
    redis.stop();
    Submitter::to(&gearmand).submit(FUNCTION, [r#"{"id":1,"name":"sm"}"#.to_owned()]);
    wait_for_lines(&worker, "keeping the job", 1);
    redis.restart();
    wait_for_lines(&worker, "LOADING", 1);
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    assert_eq!(redis.get("1").as_deref(), Some("sm"));
}

#[test]
fn a_replica_is_waited_for_until_it_may_be_written_to() {
    let (gearmand, master, redis) = (Gearmand::start(), Redis::start(), Redis::start());
    let port = master.port().to_string();
    let () = redis
        .command(&["REPLICAOF", "127.0.0.1", &port])
        .expect("REPLICAOF");
    let worker = start_for(&gearmand, &redis.address(), &[]);
    Submitter::to(&gearmand).submit(FUNCTION, [r#"{"id":1,"name":"sm"}"#.to_owned()]);
    wait_for_lines(&worker, "READONLY", 1);
    let () = redis
        .command(&["REPLICAOF", "NO", "ONE"])
        .expect("REPLICAOF");
    wait_for_an_empty_queue(&gearmand, FUNCTION);
    wait_until(PATIENCE, "the name", || match redis.get("1") {
        Some(name) if name == "sm" => Ok(()),
        other => Err(other),
    });
}
