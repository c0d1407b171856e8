//! TLS between `gman relay` and the database.

use mysql::prelude::Queryable;

use crate::support::{Certificates, Gearmand, RecordingWorker, RelayProcess, unsupported};

use super::{Outbox, wait_for_log};

/// A database that lets the relay in over TLS only, and shows the certificate `server`, which is for
/// 127.0.0.1 unless a test issues another one; or why this server cannot.
fn outbox(certificates: &Certificates, requires: &str) -> Result<Outbox, String> {
    let mut outbox = Outbox::start_with(&[
        &format!("--ssl-ca={}", certificates.path("ca.pem")),
        &format!("--ssl-cert={}", certificates.path("server.pem")),
        &format!("--ssl-key={}", certificates.path("server.key")),
    ]);
    let version: Option<(String, String)> = outbox
        .session
        .query_first("SHOW GLOBAL VARIABLES LIKE 'tls_version'")
        .expect("variables");
    if !version.is_some_and(|(_, versions)| versions.contains("TLSv1.2")) {
        return Err("the server speaks no TLS 1.2".to_owned());
    }
    // MySQL has it here since 5.7, MariaDB in both.
    let altered = outbox
        .session
        .query_drop(format!("ALTER USER relay@'%' REQUIRE {requires}"));
    altered.map_err(|error| error.to_string())?;
    outbox.write("f", ["1"]);
    Ok(outbox)
}

fn relay(outbox: &Outbox, gearmand: &Gearmand, options: &str) -> RelayProcess {
    let port = outbox.database.port();
    RelayProcess::start(&[
        format!("--mysql=mysql://relay:secret@127.0.0.1:{port}{options}"),
        format!("--gearmand={}", gearmand.address()),
    ])
}

#[test]
fn a_server_whose_certificate_is_in_order_is_relayed_from() {
    let certificates = Certificates::new();
    let (ca, cert, key) = (
        certificates.path("ca.pem"),
        certificates.path("client.pem"),
        certificates.path("client.key"),
    );
    let mut outbox = match outbox(&certificates, "X509") {
        Ok(outbox) => outbox,
        Err(reason) => unsupported!("{reason}"),
    };
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let options = format!("?ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}&ssl-cert={cert}&ssl-key={key}");
    let relay = relay(&outbox, &gearmand, &options);
    worker.wait_for(1);
    outbox.wait_until_empty();
    assert!(!relay.log().contains("trying again"), "{}", relay.log());
}

#[test]
fn a_server_whose_certificate_is_not_in_order_is_named_and_gets_no_password() {
    let certificates = Certificates::new();
    certificates.issue_server("server", |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName(
            "db.example.net".try_into().expect("a name"),
        )];
    });
    let strangers = Certificates::by("strangers");
    let mut outbox = match outbox(&certificates, "SSL") {
        Ok(outbox) => outbox,
        Err(reason) => unsupported!("{reason}"),
    };
    let gearmand = Gearmand::start();
    let (ca, strange) = (certificates.path("ca.pem"), strangers.path("ca.pem"));
    for (options, problem) in [
        (
            format!("?ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}"),
            "certificate not valid for name",
        ),
        (format!("?ssl-ca={strange}"), "UnknownIssuer"),
    ] {
        let relay = relay(&outbox, &gearmand, &options);
        wait_for_log(&relay, "cannot trust the database server at 127.0.0.1:");
        wait_for_log(&relay, problem);
        wait_for_log(&relay, "trying again in");
    }
    // Without TLS the account is refused, and that does not pass by itself.
    let mut plain = relay(&outbox, &gearmand, "");
    wait_for_log(&plain, "refuses the account");
    assert_eq!(plain.stop().code(), Some(1), "{}", plain.log());

    // The authority is checked, and not the name.
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let _relay = relay(&outbox, &gearmand, &format!("?ssl-ca={ca}"));
    worker.wait_for(1);
    outbox.wait_until_empty();
}
