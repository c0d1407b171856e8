//! The servers that subcommands talk to: how they are named, and reached.

mod gearmand;
mod mysql;
mod option_file;
mod redis;

pub(crate) use gearmand::GearmandOptions;
pub(crate) use mysql::{DatabaseServer, MysqlOptions, refused};
pub(crate) use redis::RedisOptions;
