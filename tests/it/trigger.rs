//! The trigger of `sql/test-native-json.sql`, and what a large UPDATE does to the job server.

use crate::support::{Database, Gearmand, RecordingWorker, product_file};

/// A server with the functions, the tutorial's table and its trigger, sending to `gearmand`.
fn tutorial(gearmand: &Gearmand) -> Database {
    let database = Database::start();
    database.install_functions();
    database.run_script(&product_file("sql/test-native-json.sql"));
    let set = format!("SELECT gman_servers_set('{}')", gearmand.address());
    assert_eq!(database.value::<String>(&set), gearmand.address());
    database
}

#[test]
fn an_update_sends_the_row_byte_for_byte() {
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["syncToRedis"]);
    let database = tutorial(&gearmand);

    database.execute("UPDATE test SET name='sm' WHERE id=1");

    let jobs = worker.wait_for(1);
    assert_eq!(jobs[0].function, "syncToRedis");
    assert_eq!(jobs[0].workload, br#"{"id":1,"name":"sm"}"#);
}

#[test]
fn the_scripts_can_be_run_twice_and_taken_back() {
    let database = Database::start();
    database.install_functions();
    let listed = database.run_script(&product_file("sql/install.sql"));
    assert!(listed.contains("gman_do_background"), "{listed}");
    assert!(!listed.contains("belongs to another library"), "{listed}");

    let functions: Vec<(String, String)> =
        database.query("SELECT name, dl FROM mysql.func ORDER BY name");
    for name in ["gman_do_background", "gman_servers_set", "json_object_udf"] {
        let expected = (name.to_owned(), "libgearman_mysql_udf.so".to_owned());
        assert!(functions.contains(&expected), "{functions:?}");
    }

    database.run_script(&product_file("sql/uninstall.sql"));
    database.run_script(&product_file("sql/uninstall.sql"));
    assert_eq!(database.value::<u32>("SELECT COUNT(*) FROM mysql.func"), 0);
}

#[test]
fn twenty_thousand_rows_go_through_a_handful_of_connections_in_order() {
    const ROWS: usize = 20_000;
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["syncToRedis"]);
    let database = tutorial(&gearmand);
    database.execute("DELETE FROM test");
    database.execute("INSERT INTO test (id) VALUES (1)");
    let mut rows = 1;
    while rows < ROWS {
        let more = rows.min(ROWS - rows);
        database.execute(&format!(
            "INSERT INTO test (id) SELECT id + {rows} FROM test WHERE id <= {more}"
        ));
        rows += more;
    }

    database.execute("UPDATE test SET name='sm' ORDER BY id");

    let sockets = gearmand.recent_sockets() - 1;
    println!("{sockets} connections for {ROWS} rows");
    assert!(
        sockets <= 4,
        "{sockets} connections; {}",
        database.error_log()
    );
    let jobs = worker.wait_for(ROWS);
    assert_eq!(jobs.len(), ROWS);
    for (row, job) in jobs.iter().enumerate() {
        let expected = format!(r#"{{"id":{},"name":"sm"}}"#, row + 1);
        assert_eq!(job.workload, expected.as_bytes());
    }
}
