//! Integration tests against real servers.

fn main() {}
