//! Why there is no control plane. Each message says what to do where there is something to do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the user may choose from when the binaries could not be had.
const FOUR_WAYS: &str = "\
choose one:
  1. KUBEBUILDER_ASSETS=<directory>  use the etcd and kube-apiserver in it (`setup-envtest use -p path` prints one)
  2. PIPEKICK_CACHE=<directory>      bring a cache along from a machine where this worked
  3. PIPEKICK_CONTROLPLANE=archive   download the envtest archive; needs github.com (HTTPS_PROXY is honoured)
  4. PIPEKICK_CONTROLPLANE=go        build from the Go modules; needs Go 1.26, a Go module proxy and some minutes";

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{name}={value:?} is not understood: {expected}")]
    Setting { name: &'static str, value: String, expected: &'static str },

    #[error(
        "KUBEBUILDER_ASSETS names {}, and {missing} is not there; correct it, or unset it to use Pipekick's own",
        dir.display()
    )]
    Assets { dir: PathBuf, missing: String },

    #[error("no {wanted}: {}\n{FOUR_WAYS}", tried.join("; "))]
    NoBinaries { wanted: String, tried: Vec<String> },

    #[error("{url}: {problem}")]
    Download { url: String, problem: String },

    #[error("{url}: the SHA-512 is {found}, not {expected}; the file was not used")]
    Digest { url: String, expected: String, found: String },

    #[error("{archive}: {problem}")]
    Unpack { archive: String, problem: String },

    #[error("go: {0}")]
    Go(String),

    #[error("{server} ended while starting ({status}); the end of its log:\n{log}")]
    Ended { server: &'static str, status: String, log: String },

    #[error("{server} was not ready within {} s; the end of its log:\n{log}", within.as_secs())]
    NotReady { server: &'static str, within: Duration, log: String },

    #[error("cannot {doing}: {source}")]
    Io { doing: String, source: io::Error },

    #[error("cannot make certificates: {0}")]
    Certificates(#[from] rcgen::Error),

    #[error("the manifest is not YAML: {0}")]
    Yaml(String),

    #[error("document {number} of the manifest: {problem}")]
    Manifest { number: usize, problem: String },

    /// The API server's answer, or that there was none.
    #[error("cannot {doing}: {source}")]
    Api { doing: String, source: Box<kube::Error> },

    #[error("cannot {doing}: {source}")]
    Watch { doing: String, source: Box<kube::runtime::wait::Error> },

    #[error("cannot {doing}: nothing happened for {} s", after.as_secs())]
    Timeout { doing: String, after: Duration },
}

impl Error {
    pub(crate) fn io(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let doing = format!("{doing} {}", path.display());
        move |source| Self::Io { doing, source }
    }

    pub(crate) fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Api { doing, source: Box::new(source) }
    }
}
