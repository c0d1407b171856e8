//! The triggers that were printed, created or dropped, for who parses.

use serde::Serialize;

use super::describe::Existing;
use super::script::Trigger;
use crate::error::{Error, Result};
use crate::terminal;

/// What was done with a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    /// Nothing changed on the server.
    Printed,
    Created,
    Dropped,
}

/// A trigger, and what was done with it.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    action: Action,
    trigger: String,
    table: String,
    event: String,
    /// The statement that creates it.
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<String>,
}

impl Listed {
    pub(super) fn new(trigger: &Trigger, action: Action) -> Self {
        Self {
            action,
            trigger: trigger.name.quoted(),
            table: trigger.on.quoted(),
            event: trigger.event.to_owned(),
            statement: Some(trigger.create.clone()),
        }
    }

    pub(super) fn dropped(trigger: &Existing) -> Self {
        Self {
            action: Action::Dropped,
            trigger: trigger.name.quoted(),
            table: trigger.on.quoted(),
            event: trigger.event.clone(),
            statement: None,
        }
    }

    /// The line for people.
    pub(super) fn print(&self) -> Result {
        let done = match self.action {
            Action::Printed => "printed",
            Action::Created => "created",
            Action::Dropped => "dropped",
        };
        terminal::print(&format!("{done} {}", terminal::printable(&self.trigger)))
    }
}

/// # Errors
///
/// If nobody reads it any more.
pub(super) fn print_json(listed: &[Listed]) -> Result {
    let text = serde_json::to_string_pretty(listed).map_err(Error::failed)?;
    terminal::print(&text)
}
