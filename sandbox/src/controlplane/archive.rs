//! The official envtest archive: etcd and kube-apiserver as the Kubernetes project builds them for tests.
//!
//! Where this source pins the SHA-512, nothing but that file is used. For other platforms the SHA-512 comes from
//! controller-tools' own index, over HTTPS, and the output says so.

use std::collections::BTreeMap;
use std::env::consts;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use flate2::read::GzDecoder;
use reqwest::Url;
use serde::Deserialize;

use super::binaries::Binary;
use super::download::{Digest, Downloader};
use super::error::Error;
use super::install::Staging;
use super::progress::Progress;

pub(crate) const VERSION: &str = "v1.35.0";
const RELEASES: &str = "https://github.com/kubernetes-sigs/controller-tools/releases/download";
const INDEX: &str =
    "https://raw.githubusercontent.com/kubernetes-sigs/controller-tools/HEAD/envtest-releases.yaml";
/// Where the binaries lie in the archive.
const FOLDER: &str = "controller-tools/envtest";
/// Platform and SHA-512 of its archive.
const PINNED: [(&str, &str); 1] = [(
    "linux-amd64",
    "130369c16f076e724d089189afaede960316f5f5dea6cf57be7a4fc6f09c7734\
     2893192509790e4056e116e232dff832ed863f5bd55dcb55d38f3ab834828a11",
)];

/// An archive, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    pub url: Url,
    pub sha512: Digest,
}

impl Archive {
    fn pinned(platform: &str) -> Option<Self> {
        let (_, digits) = PINNED.iter().find(|(known, _)| *known == platform)?;
        let url = format!("{RELEASES}/envtest-{VERSION}/{}", file_name(platform));
        Some(Self { url: Url::parse(&url).ok()?, sha512: Digest::parse(digits)? })
    }

    /// What controller-tools' index at `index` says of a platform (`linux-arm64`).
    pub async fn from_index(downloader: &Downloader, index: &Url, platform: &str) -> Result<Self, Error> {
        let problem = |problem: String| Error::Download { url: index.to_string(), problem };
        let text = downloader.text(index).await?;
        let Index { mut releases } =
            serde_saphyr::from_str(&text).map_err(|error| problem(format!("not understood: {error}")))?;
        let entry = releases
            .get_mut(VERSION)
            .and_then(|archives| archives.remove(&file_name(platform)))
            .ok_or_else(|| problem(format!("has no envtest {VERSION} for {platform}")))?;
        let url = Url::parse(&entry.self_link).map_err(|error| problem(error.to_string()))?;
        let sha512 = Digest::parse(&entry.hash).ok_or_else(|| problem("not a SHA-512".to_owned()))?;
        Ok(Self { url, sha512 })
    }

    /// Downloads, checks and unpacks etcd and kube-apiserver into the directory `to`.
    pub async fn fetch(
        &self,
        downloader: &Downloader,
        to: &Path,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let packed = to.join("archive.tar.gz");
        downloader.file(&self.url, &self.sha512, &packed, progress).await?;
        let (to, name) = (to.to_owned(), self.url.to_string());
        let unpacked = tokio::task::spawn_blocking(move || unpack(&packed, &to)).await;
        let problem = match unpacked {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(panicked) => panicked.to_string(),
        };
        Err(Error::Unpack { archive: name, problem })
    }

    pub(crate) async fn install(
        &self,
        downloader: &Downloader,
        dir: &Path,
        wanted: &[Binary],
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let staging = Staging::beside(dir)?;
        self.fetch(downloader, staging.path(), progress).await?;
        staging.publish(wanted)?;
        progress.installing(&format!("installed in {}", dir.display()));
        Ok(())
    }
}

/// The shape of envtest-releases.yaml, as far as it is read.
#[derive(Deserialize)]
struct Index {
    releases: BTreeMap<String, BTreeMap<String, Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    hash: String,
    self_link: String,
}

pub(crate) async fn install(dir: &Path, wanted: &[Binary], progress: &dyn Progress) -> Result<(), Error> {
    let downloader = Downloader::new()?;
    let platform = platform();
    progress.installing(&format!(
        "downloading etcd and kube-apiserver: envtest {VERSION} for {platform}, about 52 MB, usually within a minute"
    ));
    let archive = if let Some(pinned) = Archive::pinned(&platform) {
        pinned
    } else {
        let index = Url::parse(INDEX).expect("a constant, which a test parses");
        let archive = Archive::from_index(&downloader, &index, &platform).await?;
        progress.installing(&format!(
            "  no SHA-512 is pinned for {platform}: checking against the one in {INDEX}"
        ));
        archive
    };
    archive.install(&downloader, dir, wanted, progress).await
}

/// As Go names it, and so envtest.
fn platform() -> String {
    let os = if consts::OS == "macos" { "darwin" } else { consts::OS };
    let arch = match consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    };
    format!("{os}-{arch}")
}

fn file_name(platform: &str) -> String {
    format!("envtest-{VERSION}-{platform}.tar.gz")
}

/// Takes the two binaries by their exact paths and nothing else, so no entry can choose where it is written.
fn unpack(packed: &Path, to: &Path) -> io::Result<()> {
    let mut missing = vec![Binary::Etcd, Binary::ApiServer];
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(packed)?));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let wanted = missing.iter().position(|binary| path == Path::new(FOLDER).join(binary.name()));
        if let Some(at) = wanted.filter(|_| entry.header().entry_type().is_file()) {
            io::copy(&mut entry, &mut File::create(to.join(missing.swap_remove(at).name()))?)?;
        }
    }
    match missing.first() {
        None => fs::remove_file(packed),
        Some(binary) => Err(io::Error::other(format!("no {FOLDER}/{} in it", binary.name()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_are_what_they_claim_to_be() {
        assert!(Url::parse(INDEX).is_ok());
        for (platform, _) in PINNED {
            let archive = Archive::pinned(platform).unwrap();
            assert!(archive.url.as_str().ends_with("/envtest-v1.35.0/envtest-v1.35.0-linux-amd64.tar.gz"));
        }
        assert_eq!(Archive::pinned("plan9-mips"), None);
    }
}
