//! What the documents promise to list, they list completely.
//!
//! `docs/operations.md` explains every message that the library has, and no other. What a message is,
//! the sources say: each sentence in a string literal. Those that no user gets to see are listed here,
//! so that a new message cannot be forgotten. `CONTRIBUTING.md` names every room of the library.

mod links;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use gearman_mysql_udf::settings;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::support::product_file;

/// The section of the document that has the table.
const SECTION: &str = "## What each message means";

/// What settings and counters are for is said in `docs/settings.md` and `docs/monitoring.md`; the others are for
/// tests.
const OTHER_FILES: [&str; 4] = [
    "settings.rs",
    "status.rs",
    "functions/test_switches.rs",
    "json/properties.rs",
];

/// Sentences that nobody sees: what `serde` is told, and what cannot fail once it is built; and the form
/// of a line in the error log.
const NO_MESSAGES: [&str; 6] = [
    "%Y-%m-%d %H:%M:%S",
    "{now} 0 [{level}] gman: {}\n",
    "nested too deep",
    "a JSON value",
    "the layout of `Typelib` holds on little-endian machines only",
    "cargo gives a version's parts as numbers",
];

/// The string literals in a file's code, without its tests and attributes.
fn literals(code: TokenStream, found: &mut Vec<String>) {
    let mut tokens = code.into_iter().peekable();
    let mut is_test = false;
    while let Some(token) = tokens.next() {
        match token {
            // An attribute: `#[...]`, or `#![...]` for what is around it.
            TokenTree::Punct(mark) if mark.as_char() == '#' => {
                tokens.next_if(|next| !matches!(next, TokenTree::Group(_)));
                let attribute = tokens.next().map(|group| group.to_string());
                is_test |= attribute.is_some_and(|text| text.contains("cfg (test)"));
            }
            TokenTree::Group(group) => {
                let is_body = group.delimiter() == Delimiter::Brace;
                if !(is_test && is_body) {
                    literals(group.stream(), found);
                }
                is_test &= !is_body;
            }
            TokenTree::Literal(literal) => {
                let literal = syn::parse_str::<syn::LitStr>(&literal.to_string());
                found.extend(literal.map(|text| text.value()));
            }
            _ => {}
        }
    }
}

/// A message as its literal has it: the texts around the places that are filled in.
#[derive(Debug)]
struct Message {
    literal: String,
    pieces: Vec<String>,
}

impl Message {
    fn new(literal: String) -> Self {
        let mut pieces = vec![String::new()];
        let mut is_place = false;
        for letter in literal.chars() {
            match letter {
                '{' => is_place = true,
                '}' => {
                    is_place = false;
                    pieces.push(String::new());
                }
                _ if is_place => {}
                letter => pieces.last_mut().expect("one at least").push(letter),
            }
        }
        Self { literal, pieces }
    }

    /// What is shorter is put together with something else, or a name.
    fn is_sentence(&self) -> bool {
        const LETTERS: usize = 3;
        let is_word = |word: &str| word.chars().filter(|c| c.is_alphabetic()).count() >= LETTERS;
        let has_word = |piece: &String| piece.split_whitespace().any(is_word);
        self.literal.contains(' ') && self.pieces.iter().any(has_word)
    }

    /// Whether `text` holds the message, with anything in the places that are filled in.
    fn is_in(&self, text: &str) -> bool {
        let mut rest = text;
        self.pieces
            .iter()
            .all(|piece| match rest.split_once(piece.as_str()) {
                Some((_, after)) => {
                    rest = after;
                    true
                }
                None => false,
            })
    }
}

fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All messages of the library and of the SQL that comes with it.
fn messages() -> Vec<Message> {
    let (mut rust, mut sql) = (Vec::new(), Vec::new());
    files(&product_file("src"), "rs", &mut rust);
    files(&product_file("sql"), "sql", &mut sql);
    rust.retain(|path| !OTHER_FILES.iter().any(|file| path.ends_with(file)));

    let mut found = Vec::new();
    for path in &rust {
        let code = read(path).parse();
        let code = code.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        literals(code, &mut found);
    }
    for path in &sql {
        let text = read(path);
        let signals = text.split("MESSAGE_TEXT =").skip(1);
        found.extend(signals.filter_map(|text| text.split('\'').nth(1).map(str::to_owned)));
        // An error without a procedure: see sql/outbox.sql.
        let refused = text.split("default_storage_engine = ''").skip(1);
        found.extend(refused.filter_map(|text| text.split('\'').next().map(str::to_owned)));
    }
    let messages = found.into_iter().map(Message::new);
    messages
        .filter(|message| message.is_sentence())
        .filter(|message| !NO_MESSAGES.contains(&message.literal.as_str()))
        .collect()
}

/// The rows of the document's tables, as their cells.
fn rows() -> Vec<Vec<String>> {
    let document = read(&product_file("docs/operations.md"));
    let section = document.split(SECTION).nth(1).expect(SECTION);
    let section = section.split("\n## ").next().unwrap_or(section);
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.split('|').skip(1).map(without_marks).collect())
        .collect()
}

/// A cell without what makes it code: backticks, or two of them and a space where it has some itself.
fn without_marks(cell: &str) -> String {
    let cell = cell.trim();
    let inner = cell
        .strip_prefix("`` ")
        .and_then(|cell| cell.strip_suffix(" ``"));
    inner.unwrap_or(cell.trim_matches('`')).to_owned()
}

#[test]
fn every_message_is_explained() {
    // A hint is a remedy, and so in another column than its message.
    let cells: Vec<String> = rows().into_iter().flatten().collect();
    let missing: Vec<_> = messages()
        .into_iter()
        .filter(|message| !cells.iter().any(|cell| message.is_in(cell)))
        .map(|message| message.literal)
        .collect();
    assert!(
        missing.is_empty(),
        "docs/operations.md does not explain:\n{}",
        missing.join("\n")
    );
}

#[test]
fn every_message_that_is_explained_exists() {
    let messages = messages();
    let unknown: Vec<_> = rows()
        .into_iter()
        .map(|mut cells| cells.swap_remove(0))
        .filter(|text| !messages.iter().any(|message| message.is_in(text)))
        .collect();
    assert!(unknown.is_empty(), "nothing says:\n{}", unknown.join("\n"));
}

#[test]
fn messages_are_found_in_code_and_not_in_tests() {
    let code = r##"
        #![doc = "an attribute"]
        /// A comment.
        fn f() { g(format!("a {name} b \"{}\" \
                            c", 1)); }
        #[cfg(test)]
        mod tests { fn h() { g("a test"); } }
        fn after() { g("and on"); }
    "##;
    let mut found = Vec::new();
    literals(code.parse().expect("Rust"), &mut found);
    assert_eq!(found, ["a {name} b \"{}\" c", "and on"]);

    let message = Message::new(found.swap_remove(0));
    assert!(message.is_in("see: a dog b \"cat\" c"));
    assert!(!message.is_in("see: a dog c \"cat\" b"));
}

#[test]
fn the_map_of_the_house_has_every_room_of_the_library() {
    let map = read(&product_file("CONTRIBUTING.md"));
    // The folders beside src/ have a table of their own.
    let rooms = map.split("\nBeside it").next().unwrap_or(&map);
    let named: BTreeSet<String> = rooms
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("/` |"))
        .map(|(name, _)| name.to_owned())
        .collect();
    let source = product_file("src");
    let mut found = Vec::new();
    files(&source, "rs", &mut found);
    let found: BTreeSet<String> = found
        .iter()
        .filter_map(|path| path.strip_prefix(&source).expect("it is in there").parent())
        .map(|room| room.display().to_string())
        .filter(|room| !room.is_empty())
        .collect();
    assert_eq!(named, found);
}

#[test]
fn every_function_has_a_description() {
    let page = read(&product_file("docs/functions.md"));
    for script in ["sql/install.sql", "sql/install-json-names.sql"] {
        let script = read(&product_file(script));
        let created = script.split("FUNCTION ").skip(1);
        let names = created.filter_map(|rest| rest.split_once(" RETURNS ").map(|(name, _)| name));
        for name in names.filter(|name| !name.contains(char::is_whitespace)) {
            let is_named = [format!("`{name}("), format!("`{name}`")]
                .iter()
                .any(|form| page.contains(form));
            assert!(is_named, "docs/functions.md does not describe {name}");
        }
    }
}

#[test]
fn every_setting_has_a_row_with_its_default() {
    let page = read(&product_file("docs/settings.md"));
    let has_row = |name: &str, default: &str| {
        let row = format!("| `{name}` | {default} |");
        assert!(page.contains(&row), "docs/settings.md has no row {row}");
    };
    has_row(settings::SERVERS.name, "empty");
    for number in settings::NUMBERS {
        has_row(number.name, &number.default.to_string());
    }
    for choice in settings::CHOICES {
        has_row(
            choice.name,
            &format!("`{}`", choice.choices[choice.default]),
        );
        for value in choice.choices {
            assert!(
                page.contains(&format!("`{value}`")),
                "{}: {value}",
                choice.name
            );
        }
    }
    for switch in settings::SWITCHES {
        has_row(switch.name, if switch.default { "`ON`" } else { "`OFF`" });
    }
}
