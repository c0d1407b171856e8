//! Large results, and results that the server stores on its way.

use super::Json;

#[test]
fn text_of_64_mib_comes_out_whole() {
    let mut json = Json::start();
    assert_eq!(
        json.text(
            "SELECT CONCAT(json_object(REPEAT('x', 64 << 20) AS a)
                           = CONCAT('{\"a\":\"', REPEAT('x', 64 << 20), '\"}'))"
        ),
        "1"
    );
    // Every character escaped, under a name that says it is JSON.
    assert_eq!(
        json.text("SELECT LENGTH(json_object(REPEAT('\"', 32 << 20) AS json_a))"),
        (r#"{"json_a":""}"#.len() + (64 << 20)).to_string()
    );
}

#[test]
fn the_server_stores_long_results_whole() {
    let mut json = Json::start();
    json.execute("CREATE TABLE l (id INT, t MEDIUMTEXT)");
    json.execute(
        "INSERT INTO l VALUES (1, REPEAT('x', 300000)), (2, 'y'), (1, REPEAT('x', 300000))",
    );
    let lengths = |sql: &str, json: &mut Json| -> Vec<String> {
        let mut lengths: Vec<_> = json.try_rows(sql).unwrap().into_iter().flatten().collect();
        lengths.sort();
        lengths
    };
    let each = "SELECT json_object(id, t) AS j FROM l";
    for (sql, expected) in [
        (
            format!("SELECT CONCAT(LENGTH(j)) FROM ({each}) d"),
            vec!["16", "300015", "300015"],
        ),
        (
            format!("SELECT CONCAT(LENGTH(j)) FROM ({each}) d GROUP BY j"),
            vec!["16", "300015"],
        ),
        (
            format!("SELECT CONCAT(LENGTH(j)) FROM (SELECT DISTINCT j FROM ({each}) e) d"),
            vec!["16", "300015"],
        ),
        (
            format!("SELECT CONCAT(LENGTH(j)) FROM ({each} UNION {each}) d"),
            vec!["16", "300015"],
        ),
        (
            format!("SELECT CONCAT(LENGTH(MAX(j))) FROM ({each}) d WHERE j LIKE '%x%'"),
            vec!["300015"],
        ),
        (
            "SELECT CONCAT(LENGTH(json_object(id, t))) FROM l ORDER BY json_object(id, t)".into(),
            vec!["16", "300015", "300015"],
        ),
    ] {
        assert_eq!(lengths(&sql, &mut json), expected, "{sql}");
    }
    json.execute(&format!("CREATE TABLE kept AS {each}"));
    assert_eq!(
        lengths("SELECT CONCAT(LENGTH(j)) FROM kept", &mut json),
        ["16", "300015", "300015"]
    );
}
