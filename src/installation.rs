//! What installs the library in a server: the files of `sql/` and `packaging/` that a program needs for it.

/// `sql/install.sql`: creates the functions.
pub const FUNCTIONS: &str = include_str!("../sql/install.sql");

/// `sql/install-json-names.sql`: creates the functions whose names many servers have taken themselves.
pub const JSON_NAMES: &str = include_str!("../sql/install-json-names.sql");

/// `packaging/gman.cnf`: the lines of a server's configuration that load the plugins.
pub const CONFIGURATION: &str = include_str!("../packaging/gman.cnf");
