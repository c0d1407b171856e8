//! The files that TLS is made of, in PEM form.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, crypto};

use crate::memory;

/// How much of a file is read: a thousand certificates.
const MAX_FILE_BYTES: u64 = 2 * 1024 * 1024;

/// Which files, and whose certificate is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The authorities that sign the job servers' certificates.
    pub ca: PathBuf,
    /// Our certificate, and those between it and its authority, for servers that want one.
    pub cert: Option<PathBuf>,
    /// The key of `cert`.
    pub key: Option<PathBuf>,
    /// The name in the servers' certificates, if it is another than that in the list of servers.
    pub server_name: Option<String>,
    /// What messages call them: paths are nobody's business.
    pub names: &'static Names,
}

/// What whoever sets them calls them.
#[derive(Debug, PartialEq, Eq)]
pub struct Names {
    /// [`Files::ca`].
    pub ca: &'static str,
    /// [`Files::cert`].
    pub cert: &'static str,
    /// [`Files::key`].
    pub key: &'static str,
    /// [`Files::server_name`].
    pub server_name: &'static str,
}

/// Which files these are, so that other ones in their place are noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp(Vec<Option<FileStamp>>);

/// Device, inode, size and time of the last change.
type FileStamp = (u64, u64, u64, i64, i64);

impl Files {
    /// As they are now; files that are not there have none.
    pub(crate) fn stamp(&self) -> Stamp {
        let paths = [Some(&self.ca), self.cert.as_ref(), self.key.as_ref()];
        let stamps = paths.into_iter().flatten();
        Stamp(stamps.map(|path| stamp(path).ok()).collect())
    }

    /// Reads them.
    ///
    /// # Errors
    ///
    /// Which of them cannot be used, why, and the remedy.
    pub(crate) fn config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(authorities(&self.ca).map_err(about(self.names.ca))?);
        let (cert, key) = match (&self.cert, &self.key) {
            (None, None) => return Ok(builder.with_no_client_auth()),
            (Some(cert), Some(key)) => (cert, key),
            (Some(_), None) => return Err(lonely(self.names.cert, self.names.key)),
            (None, Some(_)) => return Err(lonely(self.names.key, self.names.cert)),
        };
        let chain = certificates(cert).map_err(about(self.names.cert))?;
        let key = private_key(key).map_err(about(self.names.key))?;
        builder.with_client_auth_cert(chain, key).map_err(|error| {
            let Names { cert, key, .. } = self.names;
            format!("{cert} and {key} do not fit: {error}; the key must be that of the certificate")
        })
    }
}

/// Whether the file can be used as [`Files::ca`].
///
/// # Errors
///
/// Why not, and the remedy.
pub fn check_ca(path: &Path) -> Result<(), String> {
    authorities(path).map(drop)
}

/// Whether the file can be used as [`Files::cert`].
///
/// # Errors
///
/// As [`check_ca`].
pub fn check_cert(path: &Path) -> Result<(), String> {
    certificates(path).map(drop)
}

/// Whether the file can be used as [`Files::key`].
///
/// # Errors
///
/// As [`check_ca`].
pub fn check_key(path: &Path) -> Result<(), String> {
    private_key(path).map(drop)
}

/// Whether a certificate can be for `name`.
///
/// # Errors
///
/// As [`check_ca`].
pub fn check_server_name(name: &str) -> Result<(), String> {
    server_name(name).map(drop)
}

/// `name` as a certificate has it.
pub(crate) fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned()).map_err(|_| {
        format!("no certificate can be for {name}, expected a host name or an address")
    })
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store.add(certificate).map_err(|error| {
            format!("one of its certificates cannot be an authority's: {error}")
        })?;
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.map_err(|error| not_pem(&error))?;
    match certificates.is_empty() {
        true => Err(
            "the file holds no certificate, expected -----BEGIN CERTIFICATE----- (PEM)".to_owned(),
        ),
        false => Ok(certificates),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => "the file holds no private key, expected -----BEGIN PRIVATE \
             KEY----- (PEM) without a passphrase"
            .to_owned(),
        error => not_pem(&error),
    })
}

/// Never shows what is in the file: it may be a key.
fn not_pem(error: &pem::Error) -> String {
    let problem = match error {
        pem::Error::MissingSectionEnd { .. } => "a section does not end",
        pem::Error::IllegalSectionStart { .. } => "a section has no good beginning",
        pem::Error::Base64Decode(_) => "a section is not base64",
        _ => "it cannot be read",
    };
    format!("the file is no good PEM: {problem}")
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    read_regular(path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "the file cannot be read: {error}; the account that reads it must be allowed to, by its \
             folders and by SELinux or AppArmor as well"
        ),
        _ => format!("the file cannot be read: {error}"),
    })
}

/// A pipe would be waited for.
fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    let mut bytes = Vec::new();
    let room = file.metadata()?.len().min(MAX_FILE_BYTES);
    memory::reserve(&mut bytes, room as usize).map_err(io::Error::other)?;
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn open_regular(path: &Path) -> io::Result<File> {
    match path.metadata()?.is_file() {
        true => File::open(path),
        false => Err(io::Error::other("it is no regular file")),
    }
}

fn stamp(path: &Path) -> io::Result<FileStamp> {
    let of = |file: &Metadata| {
        (
            file.dev(),
            file.ino(),
            file.size(),
            file.mtime(),
            file.mtime_nsec(),
        )
    };
    path.metadata()
        .as_ref()
        .map(of)
        .map_err(|error| error.kind().into())
}

fn about(name: &'static str) -> impl Fn(String) -> String {
    move |problem| format!("{name}: {problem}")
}

fn lonely(set: &str, missing: &str) -> String {
    format!("{set} is set and {missing} is not; a certificate is of use with its key only")
}
