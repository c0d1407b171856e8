//! Integration tests: the shipped library in real servers.

mod support;

mod bad_input;
mod bounds;
mod bursts;
mod committed;
mod demo;
mod documents;
mod dumps;
mod error_log;
mod failover;
mod faults;
mod imports;
mod interop;
mod job_servers;
mod json;
mod lifetime;
mod memory;
mod migrating;
mod outbox;
mod package;
mod page;
mod pipeline;
mod plugin;
mod redis;
mod replication;
mod returns;
mod sale;
mod servers;
mod submission;
mod sum;
mod symbols;
mod trigger;
mod triggers;
mod tutorial;
mod worker;
