//! What foreign keys do to a table's rows.

use serde_json::json;

use super::Path;

const TABLES: [&str; 3] = [
    "CREATE TABLE parent (id INT PRIMARY KEY, name TEXT) ENGINE=InnoDB",
    "CREATE TABLE child (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES parent (id)
       ON DELETE CASCADE ON UPDATE CASCADE) ENGINE=InnoDB",
    "CREATE TABLE loose (id INT PRIMARY KEY, parent INT, n INT, CONSTRAINT `the key` FOREIGN KEY (parent)
       REFERENCES parent (id) ON DELETE SET NULL ON UPDATE SET NULL) ENGINE=InnoDB",
];

fn start() -> Path {
    let mut path = Path::start();
    for table in TABLES {
        path.gman.execute(table);
    }
    path.gman
        .execute("INSERT INTO parent VALUES (1, 'a'), (2, 'b'), (3, 'c')");
    path
}

#[test]
fn a_table_whose_rows_a_key_changes_is_told() {
    let path = start();
    let said = path.make_triggers_with_warnings("test.loose", &[]);
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in [
        "`the key`",
        "ON DELETE SET NULL ON UPDATE SET NULL",
        "`test`.`parent`",
        "--cascade",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(path.make_triggers_with_warnings("test.parent", &[]), "");
}

#[test]
fn rows_that_follow_their_parent_are_sent() {
    let mut path = start();
    path.make_triggers("test.child", &["--cascade"]);
    path.create_triggers("test.child", &["--cascade"]);
    path.jobs("INSERT INTO child VALUES (1, 1), (2, 2), (3, 2)", 3);

    let job = path.job("UPDATE parent SET id = 10 WHERE id = 1");
    assert_eq!(
        job,
        json!({ "key": "test.child:1", "row": { "id": 1, "parent": 10 } })
    );
    let mut gone = path.jobs("DELETE FROM parent WHERE id = 2", 2);
    gone.sort();
    assert_eq!(
        gone,
        [
            r#"{"key":"test.child:2","row":null}"#,
            r#"{"key":"test.child:3","row":null}"#,
        ]
    );
    // A change that the key does not hear of sends nothing.
    path.gman.execute("UPDATE parent SET name = 'x', id = id");
    let job = path.job("INSERT INTO child VALUES (4, 3)");
    assert_eq!(job["key"], "test.child:4");

    let output = path.gman_triggers("test.child", &["--drop"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(path.triggers(), []);
}

#[test]
fn rows_that_lose_their_parent_are_sent_without_it() {
    let mut path = start();
    path.create_triggers("test.loose", &["--cascade"]);
    path.jobs("INSERT INTO loose VALUES (1, 1, 7), (2, 2, 8)", 2);
    let job = path.job("DELETE FROM parent WHERE id = 1");
    let without = |id, n| json!({ "key": format!("test.loose:{id}"), "row": { "id": id, "parent": null, "n": n } });
    assert_eq!(job, without(1, 7));
    let job = path.job("UPDATE parent SET id = 20 WHERE id = 2");
    assert_eq!(job, without(2, 8));
}

#[test]
fn a_key_that_follows_the_parent_is_another_key() {
    let mut path = start();
    path.gman.execute(
        "CREATE TABLE part (parent INT, n INT, PRIMARY KEY (parent, n), FOREIGN KEY (parent)
           REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE) ENGINE=InnoDB",
    );
    path.create_triggers("test.part", &["--cascade"]);
    path.jobs("INSERT INTO part VALUES (1, 1)", 1);
    assert_eq!(
        path.jobs("UPDATE parent SET id = 10 WHERE id = 1", 2),
        [
            r#"{"key":"test.part:1:1","row":null}"#,
            r#"{"key":"test.part:10:1","row":{"parent":10,"n":1}}"#,
        ]
    );
}

#[test]
fn what_cannot_be_done_is_told() {
    let mut path = start();
    path.gman.execute(
        "CREATE TABLE tree (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES tree (id)
           ON DELETE CASCADE) ENGINE=InnoDB",
    );
    let said = path.make_triggers_with_warnings("test.tree", &["--cascade"]);
    assert!(said.contains("it refers to the table itself"), "{said}");
    path.gman.execute(
        "CREATE TABLE grandchild (id INT PRIMARY KEY, child INT, FOREIGN KEY (child) REFERENCES child (id)
           ON DELETE CASCADE) ENGINE=InnoDB",
    );
    let said = path.make_triggers_with_warnings("test.grandchild", &["--cascade"]);
    assert!(
        said.contains("`test`.`child` is itself the child of `test`.`parent`"),
        "{said}"
    );
}
