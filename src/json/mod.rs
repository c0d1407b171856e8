//! JSON text from values, appended to a buffer that the caller keeps.
//!
//! # Layout
//!
//! - `name`: which name an expression gives its member.
//! - `escape`: a string between quotes.
//! - `number`: integers, decimals and floating point numbers.
//! - `base64`: bytes as text.
//! - `raw`: text that claims to be JSON already.
//! - `writer`: members and elements, separated, in one buffer.
//!
//! Whatever is appended, the text is JSON that `serde_json` parses with its defaults.

pub mod base64;
mod escape;
mod name;
mod number;
#[cfg(test)]
mod properties;
mod raw;
mod writer;

pub use name::{constant_name, member_name};
pub use number::Decimal;
pub use raw::{is_members, is_value, is_values};
pub use writer::{Name, Value, Writer};
