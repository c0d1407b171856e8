//! What was found, for who parses.

use serde::Serialize;

use super::definitions::{self, Kind};
use super::script::{Change, Side, script};
use crate::error::{Error, Result};
use crate::terminal;

/// Everything that was found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Findings {
    /// What calls the functions, in the order in which it is replaced.
    pub(super) definitions: Vec<Finding>,
    /// Functions that the new names need and the server lacks.
    pub(super) missing_functions: Vec<String>,
    /// Why a definition could not be read.
    pub(super) unreadable: Vec<String>,
    /// Columns whose definition may call the functions: ALTER TABLE changes them.
    pub(super) columns: Vec<String>,
    /// The statements that replace the definitions; `None` if one is in another character set than UTF-8,
    /// which JSON cannot carry.
    pub(super) script: Option<String>,
}

/// A definition that calls the functions, or may.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) schema: String,
    pub(super) name: String,
    /// How many calls are renamed.
    pub(super) calls: usize,
    /// Lines with a string that may hold a call, which stays as it was.
    pub(super) suspect_lines: Vec<usize>,
}

impl Finding {
    /// For people, such as `trigger shop.changed`.
    pub(super) fn label(&self) -> String {
        definitions::label(self.kind.word(), &self.schema, &self.name)
    }
}

impl Findings {
    /// # Errors
    ///
    /// If nobody reads it any more.
    pub(super) fn print(mut self, changes: &[Change]) -> Result {
        self.script = String::from_utf8(script(changes, Side::New)).ok();
        let text = serde_json::to_string_pretty(&self).map_err(Error::failed)?;
        terminal::print(&text)
    }
}
