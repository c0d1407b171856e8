//! What the packages tell of the crates that are linked in.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{Tarball, package};
use crate::support::run;

/// A crate of the library's, and one of gman's alone.
const LINKED: [&str; 2] = ["rustls", "clap"];

fn assert_tells(folder: &Path) {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let licences = read("licenses.txt");
    let bill: Value =
        serde_json::from_str(&read("gearman-mysql-udf.cdx.json")).expect("a bill of materials");
    let components = bill["components"].as_array().expect("components");
    for name in LINKED {
        assert!(licences.contains(&format!("\n{name} ")), "{licences}");
        let component = components.iter().find(|one| one["name"] == name);
        let component = component.unwrap_or_else(|| panic!("no {name} in {bill}"));
        assert_eq!(component["hashes"][0]["alg"], "SHA-256", "{component}");
    }
}

#[test]
fn both_packages_bring_the_licences_and_a_bill_of_materials_of_what_is_linked_in() {
    assert_tells(Tarball::unpack().folder.path());
    let root = tempfile::tempdir().expect("a temporary folder");
    run(Command::new("dpkg-deb")
        .arg("--extract")
        .arg(package(".deb"))
        .arg(root.path()));
    assert_tells(&root.path().join("usr/share/doc/gearman-mysql-udf"));
}
