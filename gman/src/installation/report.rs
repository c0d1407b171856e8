//! What was done: told at once for people, or in the end for who parses.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::terminal::{self, printable};

/// What was done.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    #[serde(skip)]
    json: bool,
    /// In the order in which it was done.
    done: Vec<String>,
    /// The functions that the server has now.
    pub(super) functions: Vec<String>,
    /// The plugins of ours that the server has now.
    pub(super) plugins: Vec<String>,
    to_do: Vec<String>,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            ..Self::default()
        }
    }

    /// # Errors
    ///
    /// If nobody reads it any more.
    pub(super) fn did(&mut self, line: impl Into<String>) -> Result {
        let line = line.into();
        if !self.json {
            terminal::print(&printable(&line))?;
        }
        self.done.push(line);
        Ok(())
    }

    /// What the user has to do.
    pub(super) fn left(&mut self, step: impl Into<String>) {
        self.to_do.push(step.into());
    }

    /// Tells the rest.
    ///
    /// # Errors
    ///
    /// If nobody reads it any more.
    pub(super) fn end(self) -> Result {
        if self.json {
            let text = serde_json::to_string_pretty(&self).map_err(Error::failed)?;
            return terminal::print(&text);
        }
        if self.to_do.is_empty() {
            return Ok(());
        }
        terminal::print("still to be done:")?;
        self.to_do
            .iter()
            .try_for_each(|step| terminal::print(&printable(&format!("  - {step}"))))
    }
}
