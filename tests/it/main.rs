//! Integration tests: the shipped library in real servers.

mod support;

mod demo;
mod redis;
mod servers;
mod submission;
mod symbols;
mod tutorial;
