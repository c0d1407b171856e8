//! The servers that subcommands talk to: how they are named, and reached.

mod ask;
mod gearmand;
mod http;
mod mysql;
mod option_file;
mod queues;
mod redis;

pub(crate) use ask::{Ask, each};
pub(crate) use gearmand::{GearmandOptions, connect as connect_to_job_server, job_servers};
pub(crate) use http::{Answer, get};
pub(crate) use mysql::{DatabaseServer, MysqlOptions, refused};
pub(crate) use queues::{Queue, queues};
pub(crate) use redis::RedisOptions;
