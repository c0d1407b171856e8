//! What TLS to Redis is made of.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, crypto};

/// The texts of PEM files.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    /// Those to trust, instead of the system's.
    pub(crate) authorities: Option<Vec<u8>>,
    /// Our own, and its key.
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
}

impl Certificates {
    /// How connections with TLS are made.
    ///
    /// # Errors
    ///
    /// What is wrong with which of the files.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let builder =
            ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .with_root_certificates(self.roots()?);
        let config = match &self.client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
                    format!("the file of --redis-key holds no private key: {error}")
                })?;
                builder
                    .with_client_auth_cert(certificates(certificate, "--redis-cert")?, key)
                    .map_err(|error| {
                        format!("--redis-key does not belong to --redis-cert: {error}")
                    })?
            }
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        let Some(authorities) = &self.authorities else {
            // Some of a system's may be unreadable; a server that needs one of them is not trusted.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return Ok(roots);
        };
        for certificate in certificates(authorities, "--redis-ca")? {
            roots
                .add(certificate)
                .map_err(|error| format!("the file of --redis-ca: {error}"))?;
        }
        Ok(roots)
    }
}

/// At least one certificate.
fn certificates(pem: &[u8], option: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!(
            "the file of {option} holds no certificate in PEM form"
        )),
        Err(error) => Err(format!(
            "the file of {option} holds no certificate: {error}"
        )),
    }
}
