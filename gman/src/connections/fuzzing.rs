//! What fuzzers reach: how servers are named.

use std::path::Path;

use super::mysql::Account;
use super::option_file::{self, MAX_DEPTH};
use crate::error::Result;

/// Reads `--mysql`; where the server is looked for.
pub(crate) fn mysql(url: &str) -> Result<String> {
    let mut account = Account::default();
    account.read_server(url)?;
    Ok(account.to_string())
}

/// Reads an option file, without those that it includes; how many settings it has.
pub(crate) fn option_file(text: &str) -> Result<usize> {
    let mut settings = Vec::new();
    option_file::parse(Path::new("my.cnf"), text, MAX_DEPTH, &mut settings)?;
    Ok(settings.len())
}
