//! JSON text from values, appended to a buffer that the caller keeps.
