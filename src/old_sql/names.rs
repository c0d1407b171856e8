//! The names that are changed, and where a name is called.

use super::tokens::Token;

/// The functions of the C plugin that native ones have the names of.
pub const OLD_NAMES: [&str; 2] = ["json_object", "json_array"];

/// What stands before a name that is followed by a parenthesis and still no call.
const NO_CALL_AFTER: [&str; 26] = [
    ".",
    "@",
    ")",
    "as",
    "call",
    "delayed",
    "exists",
    "fulltext",
    "function",
    "high_priority",
    "ignore",
    "index",
    "insert",
    "into",
    "key",
    "low_priority",
    "procedure",
    "recursive",
    "references",
    "replace",
    "spatial",
    "table",
    "trigger",
    "unique",
    "view",
    "with",
];

/// Whether a name after `before` can be called.
pub fn can_call_after(before: Option<Token<'_>>) -> bool {
    !before.is_some_and(|before| NO_CALL_AFTER.iter().any(|word| before.is(word)))
}
