//! The rows of a table, as the jobs that its triggers send for them: read from the triggers
//! themselves, and evaluated by the server.
//!
//! - [`hand_over`]: what a trigger's body hands over;
//! - [`source`]: a table with triggers, and how its rows are asked for;
//! - [`place`]: places in the order of the primary key, and the parts of a table between them;
//! - [`pace`]: how many rows to take at once;
//! - [`tables`]: which tables.

pub(crate) mod hand_over;
pub(crate) mod pace;
pub(crate) mod place;
pub(crate) mod source;
pub(crate) mod tables;
