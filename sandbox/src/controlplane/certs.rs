//! The keys and certificates of one control plane: made at its start, and gone with its directory.
//!
//! One authority signs everything, etcd's side included: on a shared machine loopback is open to every user, and
//! etcd's content is the whole cluster. Certificates carry no meaningful dates; the keys live for minutes.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use super::error::Error;

/// A certificate and its key, as PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Where the servers find theirs.
pub(crate) struct Files {
    pub(crate) authority: PathBuf,
    /// For both servers, and for kube-apiserver as etcd's client.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// What ServiceAccount tokens are signed with, and checked by.
    pub(crate) account_key: PathBuf,
    pub(crate) account_public_key: PathBuf,
}

pub(crate) struct Certificates {
    /// The authority's certificate, as PEM.
    pub(crate) authority: String,
    /// A member of `system:masters`, whom RBAC does not ask.
    pub(crate) admin: Identity,
    pub(crate) files: Files,
}

impl Certificates {
    /// Makes them, and writes what the servers need into `dir`, which must be readable by this user only.
    pub(crate) fn make(dir: &Path) -> Result<Self, Error> {
        let authority = authority()?;
        let servers = issue(&authority, "pipekick-sandbox", None, &["127.0.0.1", "localhost"])?;
        let admin = issue(&authority, "pipekick-sandbox-admin", Some("system:masters"), &[])?;
        let account = KeyPair::generate()?;

        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            fs::write(&path, text).map_err(Error::io("write", &path))?;
            Ok::<_, Error>(path)
        };
        let files = Files {
            authority: write("ca.crt", &authority.pem())?,
            certificate: write("server.crt", &servers.certificate)?,
            key: write("server.key", &servers.key)?,
            account_key: write("service-account.key", &account.serialize_pem())?,
            account_public_key: write("service-account.pub", &account.public_key_pem())?,
        };
        Ok(Self { authority: authority.pem(), admin, files })
    }
}

pub(crate) fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "pipekick-sandbox-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// Kubernetes reads the common name as the user and the organization as the group.
pub(crate) fn issue(
    authority: &CertifiedIssuer<'_, KeyPair>,
    user: &str,
    group: Option<&str>,
    hosts: &[&str],
) -> Result<Identity, Error> {
    let hosts: Vec<String> = hosts.iter().copied().map(str::to_owned).collect();
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name.push(DnType::CommonName, user);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?.pem();
    Ok(Identity { certificate, key: key.serialize_pem() })
}
