//! Certificates of one authority.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use tempfile::TempDir;

use super::folder;

/// An authority in `ca.pem`, and what it has signed as `NAME.pem` with the key in `NAME.key`.
pub(crate) struct Certificates {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    /// With a certificate `server` for 127.0.0.1 and localhost, and one `client`.
    pub(crate) fn new() -> Self {
        Self::by("authority")
    }

    /// As [`Certificates::new`], by an authority of another name.
    pub(crate) fn by(authority: &str) -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        // The default name is that of every certificate, which would then seem to be its own issuer.
        params
            .distinguished_name
            .push(DnType::CommonName, authority);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificates = Self {
            folder: folder::temporary(),
            authority: CertifiedIssuer::self_signed(params, key).expect("a certificate"),
        };
        certificates.write("ca.pem", &certificates.authority.pem());
        certificates.issue("server", ExtendedKeyUsagePurpose::ServerAuth, |_| {});
        certificates.issue("client", ExtendedKeyUsagePurpose::ClientAuth, |_| {});
        certificates
    }

    /// A certificate for 127.0.0.1 and localhost, but for what `change` changes.
    pub(crate) fn issue(
        &self,
        name: &str,
        purpose: ExtendedKeyUsagePurpose,
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let hosts = [Ipv4Addr::LOCALHOST.to_string(), "localhost".to_owned()];
        let mut params = CertificateParams::new(hosts).expect("an address and a name");
        params.extended_key_usages.push(purpose);
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params
            .signed_by(&key, &self.authority)
            .expect("a certificate");
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    /// As [`Certificates::issue`], for a server.
    pub(crate) fn issue_server(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        self.issue(name, ExtendedKeyUsagePurpose::ServerAuth, change);
    }

    /// Puts a file there in one step, as those who renew certificates do.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let unfinished = self.file(&format!("{name}.new"));
        fs::write(&unfinished, text)
            .and_then(|()| fs::rename(&unfinished, self.file(name)))
            .expect("a file in a temporary folder");
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same, as text.
    pub(crate) fn path(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }
}
