//! The SQL files of the product, as a client with DELIMITER reads them.

use gearman_mysql_udf::installation::{FUNCTIONS, JSON_NAMES};
use mysql::Conn;

use crate::connections::Ask;

/// The names of our functions, in the order in which they are created.
pub(super) fn function_names() -> Vec<&'static str> {
    let lines = FUNCTIONS.lines().chain(JSON_NAMES.lines());
    lines
        .filter_map(|line| {
            let created = line.trim_start().strip_prefix("CREATE ")?;
            let created = created.strip_prefix("AGGREGATE ").unwrap_or(created);
            let (name, _) = created.strip_prefix("FUNCTION ")?.split_once(" RETURNS ")?;
            Some(name)
        })
        .collect()
}

/// Runs a file statement by statement; what they print is of no interest.
pub(super) fn run(session: &mut Conn, script: &str) -> mysql::Result<()> {
    statements(script)
        .iter()
        .try_for_each(|statement| session.run(statement))
}

/// Takes a script apart. A statement ends with a line that ends with the delimiter; comments stand
/// on lines of their own.
fn statements(script: &str) -> Vec<String> {
    let (mut statements, mut statement) = (Vec::new(), String::new());
    let mut delimiter = ";";
    for line in script.lines() {
        if let Some(next) = line.strip_prefix("DELIMITER ") {
            delimiter = next.trim();
            continue;
        }
        if line.trim_start().starts_with("--") || (statement.is_empty() && line.trim().is_empty()) {
            continue;
        }
        let end = line.trim_end().strip_suffix(delimiter);
        statement.push_str(end.unwrap_or(line));
        statement.push('\n');
        if end.is_some() {
            statements.push(std::mem::take(&mut statement));
        }
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_ends_where_its_delimiter_does() {
        let script =
            "-- one;\nA\n  b;\nDELIMITER $$\nC\n  d;\n  -- e$$\nEND$$\nDELIMITER ;\n\nF;\n";
        assert_eq!(statements(script), ["A\n  b\n", "C\n  d;\nEND\n", "F\n"]);
        for script in [FUNCTIONS, JSON_NAMES] {
            let found = statements(script);
            assert!(found[1].starts_with("CREATE PROCEDURE "), "{found:?}");
            assert!(found[1].ends_with("END\n"), "{found:?}");
        }
    }

    #[test]
    fn the_names_are_those_of_every_function_that_is_created() {
        let names = function_names();
        let created = [FUNCTIONS, JSON_NAMES].map(|text| text.matches(" SONAME '").count());
        assert_eq!(names.len(), created.iter().sum::<usize>());
        for name in ["json_object_udf", "gman_check", "gman_sum", "json_array"] {
            assert!(names.contains(&name), "{name}");
        }
    }
}
