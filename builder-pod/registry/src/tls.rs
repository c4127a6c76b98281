//! Which certificates are trusted, for both HTTP clients in use.
//!
//! Invariant: aws-lc-rs is the only TLS provider, named explicitly, so that no process-wide default is needed.
//! A machine without any CA bundle gives clients that trust nobody: they work with plain http, and say of others
//! that their certificate is not trusted.

use std::sync::{Arc, OnceLock};

use oci_client::client::{Certificate, CertificateEncoding};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::SettingsError;
use crate::error::TransportCause;

/// Trusted CA certificates.
#[derive(Clone)]
pub(crate) struct Roots {
    certificates: Vec<CertificateDer<'static>>,
    store: Arc<RootCertStore>,
}

impl Roots {
    /// The system's CA certificates, and those of `extra_pem` besides.
    pub(crate) fn new(host: &str, extra_pem: Option<&[u8]>) -> Result<Self, SettingsError> {
        let malformed = |why: String| SettingsError::Certificates {
            host: host.to_owned(),
            why,
        };
        let mut store = RootCertStore::empty();
        let mut certificates = Vec::new();
        for certificate in system() {
            // A system's bundle may hold what cannot be used; it must not hinder the rest.
            if store.add(certificate.clone()).is_ok() {
                certificates.push(certificate.clone());
            }
        }
        if let Some(pem) = extra_pem {
            let mut count = 0;
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| malformed(error.to_string()))?;
                store
                    .add(certificate.clone())
                    .map_err(|error| malformed(error.to_string()))?;
                certificates.push(certificate);
                count += 1;
            }
            if count == 0 {
                return Err(malformed("it has no PEM certificate".to_owned()));
            }
        }
        Ok(Self {
            certificates,
            store: Arc::new(store),
        })
    }

    /// TLS for our own client.
    pub(crate) fn rustls(&self, host: &str) -> Result<ClientConfig, SettingsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| SettingsError::Client {
                host: host.to_owned(),
                source: TransportCause::new(error),
            })?;
        Ok(versions
            .with_root_certificates(Arc::clone(&self.store))
            .with_no_client_auth())
    }

    /// The same certificates for the OCI client, as the only ones it trusts: its other way, the platform's verifier,
    /// fails where there is no bundle.
    pub(crate) fn oci(&self) -> Vec<Certificate> {
        let der = |certificate: &CertificateDer<'static>| Certificate {
            encoding: CertificateEncoding::Der,
            data: certificate.to_vec(),
        };
        let mut certificates: Vec<Certificate> = self.certificates.iter().map(der).collect();
        if certificates.is_empty() {
            // An empty list would mean the platform's verifier; an empty bundle means nobody.
            certificates.push(Certificate {
                encoding: CertificateEncoding::Pem,
                data: Vec::new(),
            });
        }
        certificates
    }
}

/// The system's certificates, read once: `SSL_CERT_FILE`, `SSL_CERT_DIR` or the distribution's place.
fn system() -> &'static [CertificateDer<'static>] {
    static CERTIFICATES: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    CERTIFICATES.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::debug!(%error, "cannot read a system CA certificate");
        }
        found.certs
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_certificates_is_refused() {
        for pem in [
            "",
            "rubbish",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            let error = Roots::new("h.io", Some(pem.as_bytes()))
                .err()
                .map(|e| e.to_string());
            let error = error.unwrap_or_default();
            assert!(
                error.starts_with("the CA bundle of h.io cannot be used: "),
                "{error}"
            );
        }
    }

    #[test]
    fn clients_can_be_made_without_any_root() {
        let nobody = Roots {
            certificates: Vec::new(),
            store: Arc::new(RootCertStore::empty()),
        };
        assert!(nobody.rustls("h.io").is_ok());
        let config = oci_client::client::ClientConfig {
            tls_certs_only: nobody.oci(),
            ..Default::default()
        };
        assert!(oci_client::Client::try_from(config).is_ok());
    }
}
