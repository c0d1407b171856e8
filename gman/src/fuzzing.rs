//! What fuzzers reach of the command; compiled for them alone.

use clap::Parser;

use crate::command_line::Arguments;
use crate::connections::fuzzing;
use crate::redis_client::Servers;
use crate::sql::{self, TableName};
pub use crate::worker::fuzzing as worker;

/// What is wrong with a value of an option, for people.
pub type Problem = String;

/// Reads a command line, the name of the program aside; runs nothing.
///
/// # Errors
///
/// What clap says of it.
pub fn command_line(words: &[&str]) -> Result<(), Problem> {
    Arguments::try_parse_from([&["gman"], words].concat())
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Reads `--redis`; the addresses, as messages show them.
///
/// # Errors
///
/// What was expected.
pub fn redis(url: &str) -> Result<Vec<String>, Problem> {
    let servers = Servers::parse(url, || Err("no TLS here".to_owned()))?;
    Ok(servers.addresses.iter().map(ToString::to_string).collect())
}

/// Reads `--mysql`; where the server is looked for.
///
/// # Errors
///
/// What was expected.
pub fn mysql(url: &str) -> Result<String, Problem> {
    fuzzing::mysql(url).map_err(|error| error.text().to_owned())
}

/// Reads an option file, and of others that it includes nothing; how many settings it has.
///
/// # Errors
///
/// Which line means nothing.
pub fn option_file(text: &str) -> Result<usize, Problem> {
    fuzzing::option_file(text).map_err(|error| error.text().to_owned())
}

/// Reads the name of a table; the name as a statement has it.
///
/// # Errors
///
/// What was expected.
pub fn table(name: &str) -> Result<String, Problem> {
    match TableName::parse(name) {
        Ok(table) => Ok(table.quoted()),
        Err(error) => Err(error.text().to_owned()),
    }
}

/// Reads a list of columns; the list as a statement has it.
pub fn columns(list: &str) -> Option<String> {
    let names = sql::identifiers(list)?;
    let quoted: Vec<String> = names.iter().map(|name| sql::quoted(name)).collect();
    Some(quoted.join(","))
}
