//! Real servers for tests: each on free ports of 127.0.0.1, with its data in a temporary folder,
//! stopped when its value is dropped.
//!
//! What goes wrong while a test prepares is a panic that says what was expected and shows the log
//! of the server concerned.

// The examples and benchmarks that start the same servers each use a part.
#![allow(dead_code, unused_imports, unused_macros)]

mod black_hole;
mod browser;
mod cargo;
mod certificates;
mod clock;
mod command;
mod database;
mod fake_database;
pub(crate) mod fake_job_server;
mod fake_redis;
mod flash_sale;
mod folder;
mod galera;
mod gearmand;
mod gman;
mod group_replication;
mod library;
mod nodes;
pub(crate) mod own_disk;
mod page;
mod ports;
mod private_network;
mod process;
mod prometheus;
mod proxy;
mod recording_worker;
mod redis;
mod redis_cluster;
mod redis_sentinel;
mod redis_worker;
mod relay_process;
mod replication;
mod scale;
mod server_kind;
mod sink;
mod slow_link;
mod stunnel;
mod submitter;
mod switch;
mod tls_gearmand;
mod unsupported;
mod wait;
pub(crate) mod wire;
mod writers;

pub(crate) use black_hole::BlackHole;
pub(crate) use browser::Browser;
pub(crate) use cargo::{example, gman_program};
pub(crate) use certificates::Certificates;
pub(crate) use clock::Clock;
pub(crate) use command::{Ran, gman_command, gman_succeeds, ran, run_gman};
pub(crate) use database::{Builder as DatabaseBuilder, Database, product_file};
pub(crate) use fake_database::{FakeDatabase, Replies};
pub(crate) use fake_job_server::FakeJobServer;
pub(crate) use fake_redis::{FakeRedis, Said};
pub(crate) use flash_sale::FlashSale;
pub(crate) use galera::galera;
pub(crate) use gearmand::Gearmand;
pub(crate) use gman::{Call, Gman, call};
pub(crate) use group_replication::group_replication;
pub(crate) use library::{FILE_NAME, Library};
pub(crate) use nodes::Nodes;
pub(crate) use page::Page;
pub(crate) use ports::Port;
pub(crate) use private_network::PrivateNetwork;
pub(crate) use process::{Process, run};
pub(crate) use prometheus::Prometheus;
pub(crate) use proxy::Proxy;
pub(crate) use recording_worker::{Answer, Job, RecordingWorker};
pub(crate) use redis::Redis;
pub(crate) use redis_cluster::RedisCluster;
pub(crate) use redis_sentinel::RedisSentinel;
pub(crate) use redis_worker::{FUNCTION, Language, ROW_FUNCTION, RedisWorker};
pub(crate) use relay_process::RelayProcess;
pub(crate) use replication::ReplicationWords;
pub(crate) use scale::scale;
pub(crate) use server_kind::{ServerKind, build_folder};
pub(crate) use sink::Sink;
pub(crate) use slow_link::SlowLink;
pub(crate) use stunnel::Stunnel;
pub(crate) use submitter::Submitter;
pub(crate) use switch::Switch;
pub(crate) use tls_gearmand::TlsGearmand;
pub(crate) use unsupported::{report_unsupported, unsupported};
pub(crate) use wait::wait_until;
pub(crate) use writers::{ROWS, while_written};
