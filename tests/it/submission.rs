//! Jobs from SQL to a worker.

use crate::support::{Database, Gearmand, RecordingWorker};

#[test]
fn a_background_job_reaches_the_worker_as_it_was_given() {
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let database = Database::start();
    database.install_functions();
    let address = gearmand.address();
    let answer: String = database.value(&format!("SELECT gman_servers_set('{address}')"));
    assert_eq!(answer, address);

    let handle: String = database.value("SELECT gman_do_background('f', 'w\\0w', 'u')");

    let jobs = worker.wait_for(1);
    assert_eq!(jobs[0].handle, handle);
    assert_eq!(jobs[0].function, "f");
    assert_eq!(jobs[0].unique, "u");
    assert_eq!(jobs[0].workload, b"w\0w");
}
