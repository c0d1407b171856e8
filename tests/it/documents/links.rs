//! Every relative link leads to a file or heading that exists, and every page is in the table of contents.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{files, read};
use crate::support::product_file;

const CONTENTS: &str = "docs/README.md";

/// The documents outside of `docs/`.
const AT_THE_ROOT: [&str; 3] = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"];

fn documents() -> Vec<PathBuf> {
    let mut found: Vec<_> = AT_THE_ROOT.map(product_file).into();
    files(&product_file("docs"), "md", &mut found);
    found
}

/// The lines of a document that are not in a code block.
fn prose(document: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    document.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// A line without what stands between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// What `[text](target)`, `![text](target)` and `src="target"` name.
fn targets(document: &str) -> Vec<String> {
    let text: String = prose(document)
        .map(|line| without_code(line) + "\n")
        .collect();
    let ends = [("](", ')'), ("src=\"", '"')];
    let found = ends.into_iter().flat_map(|(begin, end)| {
        let rests = text.split(begin).skip(1);
        rests.filter_map(move |rest| rest.split_once(end).map(|(target, _)| target.to_owned()))
    });
    found.collect()
}

/// The anchors that GitHub gives to a document's headings.
fn anchors(document: &str) -> BTreeSet<String> {
    let headings = prose(document).filter_map(|line| {
        let (marks, heading) = line.split_once(' ')?;
        (!marks.is_empty() && marks.chars().all(|mark| mark == '#')).then_some(heading)
    });
    let anchor = |heading: &str| -> String {
        let kept = |letter: &char| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter);
        let letters = heading.to_lowercase();
        letters
            .chars()
            .filter(kept)
            .collect::<String>()
            .replace(' ', "-")
    };
    headings.map(anchor).collect()
}

/// Why a link from `page` leads nowhere.
fn fault(page: &Path, target: &str) -> Option<String> {
    if target.contains("://") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = match file {
        "" => page.to_owned(),
        file => page.parent().expect("it is in a folder").join(file),
    };
    if !file.exists() {
        return Some("no such file".to_owned());
    }
    let is_there = anchor.is_empty() || anchors(&read(&file)).contains(anchor);
    (!is_there).then(|| "no such heading".to_owned())
}

#[test]
fn every_link_leads_somewhere() {
    let mut dead = Vec::new();
    for page in documents() {
        for target in targets(&read(&page)) {
            let fault = fault(&page, &target);
            dead.extend(fault.map(|fault| format!("{}: {target}: {fault}", page.display())));
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

#[test]
fn the_table_of_contents_has_every_page_and_the_readme_has_the_table() {
    let named: BTreeSet<_> = targets(&read(&product_file(CONTENTS)))
        .into_iter()
        .collect();
    let pages = fs::read_dir(product_file("docs")).expect("a folder");
    let missing: Vec<_> = pages
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .filter(|name| name.ends_with(".md") && !CONTENTS.ends_with(name) && !named.contains(name))
        .collect();
    assert!(missing.is_empty(), "{CONTENTS} does not name {missing:?}");
    let readme = targets(&read(&product_file("README.md")));
    assert!(readme.iter().any(|target| target == CONTENTS));
}

/// Comments and texts name pages without a link.
#[test]
fn every_page_that_is_named_exists() {
    let mut found = documents();
    for folder in ["src", "gman", "examples", "benches", "tests/it"] {
        files(&product_file(folder), "rs", &mut found);
    }
    let mut unknown = Vec::new();
    for file in found {
        let text = read(&file);
        let names = text.split("docs/").skip(1).filter_map(|rest| {
            let letters = |letter: char| letter.is_alphanumeric() || "-_.".contains(letter);
            let end = rest.find(|letter| !letters(letter)).unwrap_or(rest.len());
            rest[..end].trim_end_matches('.').strip_suffix(".md")
        });
        let missing = names
            .map(|name| format!("docs/{name}.md"))
            .filter(|name| !product_file(name).exists());
        unknown.extend(missing.map(|name| format!("{}: {name}", file.display())));
    }
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

#[test]
fn links_and_headings_are_found_outside_of_code() {
    let document = "\
        # What `gman` does, and why\n\
        ```sh\n# no heading [no](link)\n```\n\
        See [a](a.md#b-c) and `[no](link)`, ![d](d.svg); <img src=\"e.png\">\n";
    assert_eq!(targets(document), ["a.md#b-c", "d.svg", "e.png"]);
    let anchors: Vec<_> = anchors(document).into_iter().collect();
    assert_eq!(anchors, ["what-gman-does-and-why"]);
    let page = product_file(CONTENTS);
    assert_eq!(
        fault(&page, "no-such-page.md").as_deref(),
        Some("no such file")
    );
    assert_eq!(
        fault(&page, "#no-heading").as_deref(),
        Some("no such heading")
    );
    assert_eq!(fault(&page, "../README.md#license"), None);
}
