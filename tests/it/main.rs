//! Integration tests: the shipped library in real servers.

mod support;

mod servers;
mod submission;
