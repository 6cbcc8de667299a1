//! Whom to believe that it is this GitLab: the system's CAs, or a bundle of one's own.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// A full set of public CAs is about 220 KB; a larger one is no bundle, and would be kept in memory.
const MAX_PEM: usize = 512 * 1024;

/// Whose certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Trust {
    /// The CAs that the image carries.
    System,
    /// These, and no others.
    Bundle(CaBundle),
}

/// Certificates of CAs. Two are equal if they hold the same certificates in the same order.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CaBundle(Arc<[Vec<u8>]>);

impl CaBundle {
    /// Reads PEM: one or more `CERTIFICATE` blocks; whatever stands between them is ignored.
    ///
    /// # Errors
    /// What it is instead, without quoting it.
    pub fn parse(pem: &[u8]) -> Result<Self, String> {
        if pem.len() > MAX_PEM {
            return Err(format!("it has more than {} KiB", MAX_PEM / 1024));
        }
        let mut roots = RootCertStore::empty();
        let mut certificates = Vec::new();
        for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(pem)) {
            let broken = |why: &dyn fmt::Display| format!("certificate {number} cannot be read: {why}");
            let certificate = certificate.map_err(|error| broken(&error))?;
            certificates.push(certificate.as_ref().to_vec());
            roots.add(certificate).map_err(|error| broken(&error))?;
        }
        if certificates.is_empty() {
            return Err("it has no PEM block BEGIN CERTIFICATE".into());
        }
        Ok(Self(certificates.into()))
    }

    /// The certificates, as X.509 in DER.
    pub(super) fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }
}

impl fmt::Debug for CaBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaBundle({} certificates)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_bundle_is_told_without_quoting_it() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let large = "#".repeat(MAX_PEM + 1);
        for (pem, says) in [
            ("", "no PEM block"),
            ("canary", "no PEM block"),
            (key, "no PEM block"),
            (broken, "certificate 1 cannot be read"),
            (&large, "more than 512 KiB"),
        ] {
            let why = CaBundle::parse(pem.as_bytes()).unwrap_err();
            assert!(why.contains(says) && !why.contains("canary"), "{why}");
        }
    }
}
