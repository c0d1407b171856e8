//! The tables that a subcommand is about.

use clap::Args;

use crate::error::Result;
use crate::sql::TableName;

/// Tables, as the command line names them.
#[derive(Debug, Args)]
pub(crate) struct Tables {
    /// The tables; put a name with a dot in backticks
    #[arg(value_name = "DATABASE.TABLE", required = true)]
    tables: Vec<String>,
}

impl Tables {
    /// # Errors
    ///
    /// If a name is none.
    pub(crate) fn names(&self) -> Result<Vec<TableName>> {
        self.tables
            .iter()
            .map(|text| TableName::parse(text))
            .collect()
    }
}
