//! The rooms of the house: imports run downwards and never in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item, UseTree};

use crate::support::product_file;

/// The rooms of the library from top to bottom. Rooms of one line do not know each other; a file in
/// none of them is below them all.
const ROOMS: [&[&str]; 3] = [
    &["plugin", "fuzzing"],
    &["functions"],
    &["json", "gearman", "old_sql", "host"],
];

/// The rooms inside the Gearman client, in the same way.
const GEARMAN_ROOMS: [&[&str]; 3] = [
    &["gearman/delivery"],
    &["gearman/servers"],
    &["gearman/wire"],
];

/// A file of a crate, by its path below `src` without `.rs` or `/mod.rs`, such as `gearman/wire/job`.
type File = String;

/// What each file imports of its own crate.
type Imports = BTreeMap<File, BTreeSet<File>>;

fn imports(source: &Path) -> Imports {
    let files = rust_files(source);
    let names: BTreeSet<File> = files.iter().map(|file| name(source, file)).collect();
    let of = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let own = name(source, file);
        let mut paths = Vec::new();
        for item in &parsed.items {
            collect(item, &mut paths);
        }
        let imported = paths
            .iter()
            .filter_map(|path| resolve(&own, path, &names))
            .filter(|imported| *imported != own)
            .collect();
        (own, imported)
    };
    files.iter().map(of).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    entries
        .map(|entry| entry.expect("a folder that can be listed").path())
        .flat_map(|path| match path.extension() {
            _ if path.is_dir() => rust_files(&path),
            Some(extension) if extension == "rs" => vec![path],
            _ => Vec::new(),
        })
        .collect()
}

fn name(source: &Path, file: &Path) -> File {
    let below = file.strip_prefix(source).expect("a file below the source");
    let below = below.with_extension("").display().to_string();
    match below.strip_suffix("/mod") {
        Some(folder) => folder.to_owned(),
        None => below,
    }
}

/// The paths of the `use` lines of `item`, those of tests left out.
fn collect(item: &Item, paths: &mut Vec<Vec<String>>) {
    match item {
        Item::Use(line) if !is_for_tests(&line.attrs) => walk(&line.tree, &mut Vec::new(), paths),
        Item::Mod(module) if !is_for_tests(&module.attrs) => {
            for item in module.content.iter().flat_map(|(_, items)| items) {
                collect(item, paths);
            }
        }
        _ => {}
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let list = attribute.meta.require_list();
        attribute.path().is_ident("cfg") && list.is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

fn walk(tree: &UseTree, before: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            walk(&path.tree, before, paths);
            before.pop();
        }
        UseTree::Name(name) => paths.push(with(before, name.ident.to_string())),
        UseTree::Rename(name) => paths.push(with(before, name.ident.to_string())),
        UseTree::Glob(_) => paths.push(before.clone()),
        UseTree::Group(group) => {
            for tree in &group.items {
                walk(tree, before, paths);
            }
        }
    }
}

fn with(before: &[String], last: String) -> Vec<String> {
    let mut path = before.to_vec();
    path.push(last);
    path
}

/// The file of the crate that `path`, used in the file `own`, leads to; `None` for another crate.
fn resolve(own: &File, path: &[String], names: &BTreeSet<File>) -> Option<File> {
    let mut parts: Vec<&str> = match path.first()?.as_str() {
        "crate" => Vec::new(),
        "self" => own.split('/').collect(),
        "super" => {
            let mut parts: Vec<&str> = own.split('/').collect();
            parts.pop();
            parts
        }
        _ => return None,
    };
    parts.extend(path[1..].iter().map(String::as_str));
    // The rest names something inside the file.
    while !parts.is_empty() {
        let file = parts.join("/");
        if names.contains(&file) {
            return Some(file);
        }
        parts.pop();
    }
    None
}

/// The line of `rooms` that a file is in.
fn floor(rooms: &[&[&str]], file: &str) -> Option<(usize, usize)> {
    rooms.iter().enumerate().find_map(|(line, rooms)| {
        let is_in = |room: &&str| file == *room || file.starts_with(&format!("{room}/"));
        rooms.iter().position(is_in).map(|room| (line, room))
    })
}

/// Every import that leads upwards, or to another room of the same line.
fn upwards(imports: &Imports, rooms: &[&[&str]]) -> Vec<String> {
    let mut found = Vec::new();
    for (file, imported) in imports {
        for other in imported {
            let (from, to) = (floor(rooms, file), floor(rooms, other));
            let goes_down = match (from, to) {
                (Some(from), Some(to)) => from == to || from.0 < to.0,
                // What is in no line is below.
                (None, Some(_)) => false,
                (_, None) => true,
            };
            if !goes_down {
                found.push(format!("{file} imports {other}"));
            }
        }
    }
    found
}

/// The imports that close a circle, each with the way around.
fn circles(imports: &Imports) -> Vec<String> {
    let mut found = Vec::new();
    let mut done = BTreeSet::new();
    for file in imports.keys() {
        follow(imports, file, &mut Vec::new(), &mut done, &mut found);
    }
    found
}

fn follow<'a>(
    imports: &'a Imports,
    file: &'a File,
    way: &mut Vec<&'a File>,
    done: &mut BTreeSet<&'a File>,
    found: &mut Vec<String>,
) {
    if let Some(start) = way.iter().position(|before| *before == file) {
        let around: Vec<&str> = way[start..].iter().map(|file| file.as_str()).collect();
        let last = around[around.len() - 1];
        found.push(format!("{last} imports {file}: {}", around.join(" -> ")));
        return;
    }
    if !done.contains(file) {
        way.push(file);
        for other in imports.get(file).into_iter().flatten() {
            follow(imports, other, way, done, found);
        }
        way.pop();
        done.insert(file);
    }
}

/// The crates of the workspace.
const SOURCES: [&str; 2] = ["src", "gman/src"];

#[test]
fn no_import_closes_a_circle() {
    for source in SOURCES {
        let circles = circles(&imports(&product_file(source)));
        assert!(circles.is_empty(), "{source}: {circles:#?}");
    }
}

#[test]
fn imports_of_the_library_run_downwards() {
    let imports = imports(&product_file("src"));
    assert!(imports.len() > 50, "only {} files were read", imports.len());
    let mut found = upwards(&imports, &ROOMS);
    let of_gearman = |(file, _): &(File, _)| file.starts_with("gearman/");
    let of_gearman = imports.into_iter().filter(of_gearman).collect();
    found.extend(upwards(&of_gearman, &GEARMAN_ROOMS));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_circle_and_an_upward_import_are_found_and_named() {
    let imports: Imports = [
        ("functions/a", vec!["gearman/wire/b"]),
        ("gearman/wire/b", vec!["gearman/wire/c", "functions/a"]),
        ("gearman/wire/c", vec!["gearman/wire/b"]),
    ]
    .into_iter()
    .map(|(file, others)| {
        let others = others.into_iter().map(str::to_owned).collect();
        (file.to_owned(), others)
    })
    .collect();
    assert_eq!(
        upwards(&imports, &ROOMS),
        ["gearman/wire/b imports functions/a"]
    );
    assert_eq!(
        circles(&imports),
        [
            "gearman/wire/b imports functions/a: functions/a -> gearman/wire/b",
            "gearman/wire/c imports gearman/wire/b: gearman/wire/b -> gearman/wire/c",
        ]
    );
}
