//! Our packets and those of other implementations: libgearman through PHP, and the crate `gearman`.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use gearman::worker::{GrabMode, WorkError, WorkerBuilder, WorkerJob};

use crate::support::{Gearmand, Gman, Process};

/// What both workers do, asked from SQL.
fn check_worker(gearmand: &Gearmand) {
    let mut gman = Gman::with_switches();
    gman.set("gman_on_failure", "error");
    gman.set_servers(&gearmand.address());

    assert_eq!(gman.call("gman_do('reverse', 'a\\0bc')").text(), "cb\0a");
    assert_eq!(gman.call("gman_do_high('reverse', '')").text(), "");
    assert_eq!(gman.call("gman_do('unique', '', 'my id')").text(), "my id");
    assert_eq!(gman.call("LENGTH(gman_do('unique', ''))").text(), "36");
    assert_eq!(
        gman.call("gman_do_low('parts', '')").text(),
        "one,two,three"
    );
    let failed = gman.call("gman_do('fail', '')").error();
    assert!(failed.contains("the worker failed (WORK_FAIL)"), "{failed}");
    let threw = gman.call("gman_do('throw', '')").error();
    assert!(
        threw.contains("the worker threw an exception: no such file"),
        "{threw}"
    );
    // A foreground job waits its turn behind the background jobs: they are done by then.
    gman.execute("SET @x = CONCAT(gman_do_background('reverse', 'x'), gman_do_low_background('reverse', 'x'))");
    assert_eq!(gman.call("gman_do_low('reverse', 'last')").text(), "tsal");
    assert_eq!(gearmand.status()["reverse"].queued, 0);
}

#[test]
fn a_worker_on_libgearman_understands_us_and_we_it() {
    let gearmand = Gearmand::start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/interop_worker.php");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new("php");
    command.arg(script).arg(gearmand.address());
    let mut worker = Process::start(command, &folder.path().join("log"));
    worker.wait_until_ready(|| match gearmand.status().get("throw") {
        Some(status) if status.workers == 1 => Ok(()),
        status => Err(status.copied()),
    });
    check_worker(&gearmand);
}

#[test]
fn a_worker_on_the_gearman_crate_understands_us_and_we_it() {
    let gearmand = Gearmand::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let worker = runtime.block_on(async {
        WorkerBuilder::new()
            .servers([gearmand.address()])
            .grab_mode(GrabMode::Uniq)
            .register("reverse", reverse)
            .register("unique", unique)
            .register("parts", parts)
            .register("fail", |_: WorkerJob| async {
                Err::<Bytes, _>(WorkError::Fail)
            })
            .register("throw", |_: WorkerJob| async {
                Err::<Bytes, _>(WorkError::Exception(Bytes::from_static(b"no such file")))
            })
            .run()
    });
    check_worker(&gearmand);
    runtime.block_on(worker.shutdown());
}

async fn reverse(job: WorkerJob) -> Result<Bytes, WorkError> {
    Ok(job.payload.iter().rev().copied().collect())
}

async fn unique(job: WorkerJob) -> Result<Bytes, WorkError> {
    Ok(job.unique.unwrap_or_default().into())
}

async fn parts(job: WorkerJob) -> Result<Bytes, WorkError> {
    let reporter = &job.reporter;
    let said = async {
        reporter.report_status(1, 2).await?;
        reporter.send_data("one,").await?;
        reporter.warn("careful").await?;
        reporter.send_data("two,").await
    };
    said.await.map_err(|_| WorkError::Fail)?;
    Ok("three".into())
}
