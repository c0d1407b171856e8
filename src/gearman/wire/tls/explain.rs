//! Why TLS did not come about, and the remedy: for the person who reads the line in the error log.

use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use crate::gearman::wire::tls::files::Names;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The reason and the remedy, without the job server's name, in one line.
pub(crate) fn explain(error: &Error, names: &Names) -> String {
    match error {
        Error::InvalidCertificate(problem) => certificate(problem, names),
        Error::AlertReceived(alert) => refusal(*alert, names),
        Error::PeerIncompatible(problem) => incompatible(problem),
        Error::InvalidMessage(_) => format!(
            "what it sends is not TLS ({error}); start it with TLS, or take {} away",
            names.ca
        ),
        Error::NoCertificatesPresented => {
            "it shows no certificate; give the job server one".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Why a server that hung up in the handshake may have done so.
pub(crate) fn hung_up(names: &Names) -> String {
    format!(
        "it ended the connection in the handshake; see whether it speaks TLS, as gearmand does with \
         --ssl if it was built with TLS, and {} if it does not",
        names.ca
    )
}

fn certificate(problem: &CertificateError, names: &Names) -> String {
    match problem {
        CertificateError::Expired => "its certificate has expired; renew it there".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => {
            let ago = Duration::from_secs(time.as_secs().saturating_sub(not_after.as_secs()));
            let ago = span(ago);
            format!("its certificate expired {ago} ago; renew it there")
        }
        CertificateError::NotValidYet => {
            "its certificate is not valid yet; compare the clocks of both hosts".to_owned()
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            let until = Duration::from_secs(not_before.as_secs().saturating_sub(time.as_secs()));
            let until = span(until);
            format!("its certificate is valid in {until} only; compare the clocks of both hosts")
        }
        CertificateError::NotValidForName => format!(
            "its certificate is for another name; {} sets the name that is expected",
            names.server_name
        ),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => wrong_name(expected, presented, names),
        CertificateError::UnknownIssuer => format!(
            "the issuer of its certificate is unknown; {} must hold the certificate of the authority \
             that signed it, and the server must send those in between",
            names.ca
        ),
        CertificateError::BadSignature => format!(
            "its certificate is not signed by the authority in {} that has its issuer's name; that may be \
             an older one, so fetch the authority's certificate again",
            names.ca
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not for servers; issue one with the extended key usage serverAuth"
                .to_owned()
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is an authority's; let the authority sign one for the server"
                .to_owned()
        }
        _ => format!("its certificate cannot be trusted: {problem}"),
    }
}

fn wrong_name(expected: &ServerName<'_>, presented: &[String], names: &Names) -> String {
    let expected = expected.to_str();
    let option = names.server_name;
    if presented.is_empty() {
        return format!(
            "its certificate names nobody, expected {expected} in subjectAltName (the common name does \
             not count); issue another one"
        );
    }
    let presented: Vec<&str> = presented.iter().map(|name| plain(name)).collect();
    let presented = presented.join(", ");
    format!(
        "its certificate is for {presented}, not for {expected}; name the server so in the list, or set \
         {option}"
    )
}

/// `db.example` of `DnsName("db.example")`, and `127.0.0.1` of `IpAddress(127.0.0.1)`.
fn plain(presented: &str) -> &str {
    let inner = presented.split_once('(').map(|(_, inner)| inner);
    let inner = inner.and_then(|inner| inner.strip_suffix(')'));
    inner.unwrap_or(presented).trim_matches('"')
}

fn refusal(alert: AlertDescription, names: &Names) -> String {
    let Names { cert, key, .. } = names;
    match alert {
        AlertDescription::CertificateRequired => {
            format!("it wants a certificate of ours; {cert} and {key} name one")
        }
        AlertDescription::CertificateExpired => {
            format!("it says that our certificate has expired; renew {cert}")
        }
        AlertDescription::UnknownCA | AlertDescription::DecryptError => format!(
            "it does not know the authority of our certificate; it must trust the authority that signed \
             {cert}"
        ),
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRevoked
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::AccessDenied
        | AlertDescription::HandshakeFailure => format!(
            "it refuses the connection ({alert:?}), as one that wants a certificate it can trust does; \
             see {cert}, and the job server's log"
        ),
        _ => format!("it refuses the connection ({alert:?}); see the job server's log"),
    }
}

fn incompatible(problem: &PeerIncompatible) -> String {
    format!(
        "there is no common version or cipher ({problem:?}); let the server offer TLS 1.2 or 1.3"
    )
}

/// In days, or less if it is less.
fn span(time: Duration) -> String {
    let count = |unit: u64, name: &str| {
        let number = time.as_secs() / unit;
        let plural = if number == 1 { "" } else { "s" };
        format!("{number} {name}{plural}")
    };
    match time {
        _ if time >= DAY => count(DAY.as_secs(), "day"),
        _ if time.as_secs() >= 3600 => count(3600, "hour"),
        _ if time.as_secs() >= 60 => count(60, "minute"),
        _ => count(1, "second"),
    }
}
