//! Where etcd and kube-apiserver come from: the first that serves of
//!
//! ```text
//! KUBEBUILDER_ASSETS → the project's cache → the official envtest archive → built with Go
//! ```
//!
//! The last two fill the cache, once per machine and version, whoever asks first ([`Lock`]). What does not serve is
//! said and passed over, except `KUBEBUILDER_ASSETS`: who set that wants nothing else.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::install::Lock;
use super::progress::Progress;
use super::{archive, golang};

/// A program of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Etcd,
    ApiServer,
    ControllerManager,
}

impl Binary {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
        }
    }
}

/// What can fill the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Archive,
    Go,
}

impl Source {
    /// The directory in the cache: two versions never share one.
    fn directory(self) -> String {
        match self {
            Self::Archive => format!("envtest-{}", archive::VERSION),
            Self::Go => format!("go-{}", golang::VERSION),
        }
    }

    /// envtest has no controller manager.
    fn has(self, binary: Binary) -> bool {
        match (self, binary) {
            (Self::Archive, Binary::Etcd | Binary::ApiServer) | (Self::Go, _) => true,
            (Self::Archive, Binary::ControllerManager) => false,
        }
    }
}

/// Where binaries may be taken from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// `KUBEBUILDER_ASSETS`: a directory with the binaries in it. Not asked when `only` is set.
    pub assets: Option<PathBuf>,
    /// `PIPEKICK_CACHE`, else `pipekick` in the user's cache directory.
    pub cache: PathBuf,
    /// `PIPEKICK_CONTROLPLANE`: this one, and no other.
    pub only: Option<Source>,
}

impl Sources {
    /// What the environment says.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_vars(|name| env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn from_vars(var: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let only = match var("PIPEKICK_CONTROLPLANE") {
            None => None,
            Some(value) if value == "archive" => Some(Source::Archive),
            Some(value) if value == "go" => Some(Source::Go),
            Some(value) => {
                return Err(Error::Setting {
                    name: "PIPEKICK_CONTROLPLANE",
                    value: value.to_string_lossy().into_owned(),
                    expected: "archive, go, or unset",
                });
            }
        };
        let user_caches = || match var("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute())
        {
            Some(path) => path,
            None if cfg!(target_os = "macos") => home(&var).join("Library/Caches"),
            None => home(&var).join(".cache"),
        };
        let cache = var("PIPEKICK_CACHE").map_or_else(|| user_caches().join("pipekick"), PathBuf::from);
        Ok(Self { assets: var("KUBEBUILDER_ASSETS").map(PathBuf::from), cache, only })
    }

    fn root(&self) -> PathBuf {
        self.cache.join("controlplane")
    }
}

/// Without a home (some containers), the directory for temporary files is as good as any.
fn home(var: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    var("HOME").map_or_else(env::temp_dir, PathBuf::from)
}

/// A directory that has all the binaries that were asked for.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    dir: PathBuf,
}

impl Found {
    pub(crate) fn path(&self, binary: Binary) -> PathBuf {
        self.dir.join(binary.name())
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Finds `wanted`, and installs it into the cache if it must.
pub(crate) async fn locate(
    wanted: &[Binary],
    sources: &Sources,
    progress: &dyn Progress,
) -> Result<Found, Error> {
    locate_or_install(wanted, sources, progress, async |source, dir| match source {
        Source::Archive => archive::install(dir, wanted, progress).await,
        Source::Go => golang::install(dir, &missing_in(dir, wanted), progress).await,
    })
    .await
}

async fn locate_or_install(
    wanted: &[Binary],
    sources: &Sources,
    progress: &dyn Progress,
    install: impl AsyncFn(Source, &Path) -> Result<(), Error>,
) -> Result<Found, Error> {
    if let (Some(dir), None) = (&sources.assets, sources.only) {
        let missing = missing_in(dir, wanted);
        if missing.is_empty() {
            return Ok(Found { dir: dir.clone() });
        }
        // No envtest directory has a controller manager: that one is added from elsewhere.
        if missing != [Binary::ControllerManager] {
            return Err(Error::Assets { dir: dir.clone(), missing: names(&missing) });
        }
    }

    let root = sources.root();
    let offers: Vec<Source> = [Source::Archive, Source::Go]
        .into_iter()
        .filter(|source| sources.only.is_none_or(|only| only == *source))
        .filter(|source| wanted.iter().all(|binary| source.has(*binary)))
        .collect();
    let cached = || {
        let dirs = offers.iter().map(|source| root.join(source.directory()));
        dirs.map(|dir| Found { dir }).find(|found| missing_in(&found.dir, wanted).is_empty())
    };
    if let Some(found) = cached() {
        return Ok(found);
    }

    let _lock = Lock::acquire(&root, progress).await?;
    if let Some(found) = cached() {
        return Ok(found);
    }
    let mut tried = Vec::new();
    for source in &offers {
        let dir = root.join(source.directory());
        match install(*source, &dir).await {
            Ok(()) => return Ok(Found { dir }),
            Err(problem) => {
                progress.installing(&format!("  {problem}"));
                tried.push(problem.to_string());
            }
        }
    }
    if offers.is_empty() {
        tried.push("the envtest archive does not have it".to_owned());
    }
    Err(Error::NoBinaries { wanted: names(wanted), tried })
}

fn missing_in(dir: &Path, wanted: &[Binary]) -> Vec<Binary> {
    wanted.iter().copied().filter(|binary| !dir.join(binary.name()).is_file()).collect()
}

fn names(binaries: &[Binary]) -> String {
    binaries.iter().map(|binary| binary.name()).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::sync::Mutex;

    use reqwest::Url;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::archive::Archive;
    use super::super::download::{Digest, Downloader};
    use super::super::progress::Quiet;
    use super::*;

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Progress for Told {
        fn installing(&self, line: &str) {
            self.0.lock().unwrap().push(line.to_owned());
        }
        fn so_far(&self, _line: &str) {}
        fn starting(&self, _line: &str) {}
    }

    fn sources(vars: &[(&str, &str)]) -> Result<Sources, Error> {
        Sources::from_vars(|name| {
            vars.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        })
    }

    fn install_fakes(dir: &Path, binaries: &[Binary]) {
        fs::create_dir_all(dir).unwrap();
        for binary in binaries {
            fs::write(dir.join(binary.name()), "").unwrap();
        }
    }

    const PLANE: [Binary; 2] = [Binary::Etcd, Binary::ApiServer];

    #[test]
    fn the_cache_is_where_the_project_then_xdg_then_home_says() {
        let all = [("PIPEKICK_CACHE", "/p"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        let cache = |vars| sources(vars).unwrap().cache;
        assert_eq!(cache(&all), Path::new("/p"));
        assert_eq!(cache(&all[1..]), Path::new("/x/pipekick"));
        let home =
            if cfg!(target_os = "macos") { "/h/Library/Caches/pipekick" } else { "/h/.cache/pipekick" };
        assert_eq!(cache(&all[2..]), Path::new(home));
        let relative = [("XDG_CACHE_HOME", "x"), ("HOME", "/h")];
        assert_eq!(cache(&relative), Path::new(home), "the XDG specification says to ignore relative paths");
    }

    #[test]
    fn an_unknown_source_is_refused_by_name() {
        let refused = sources(&[("PIPEKICK_CONTROLPLANE", "brew")]).unwrap_err().to_string();
        assert!(refused.contains("PIPEKICK_CONTROLPLANE=\"brew\""), "{refused}");
    }

    #[tokio::test]
    async fn assets_that_lack_a_binary_are_an_error_and_not_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let assets = dir.path().join("assets");
        install_fakes(&assets, &[Binary::Etcd]);
        install_fakes(&dir.path().join("controlplane").join(Source::Go.directory()), &PLANE);
        let sources = Sources { assets: Some(assets), cache: dir.path().to_owned(), only: None };

        let refused = locate(&PLANE, &sources, &Quiet).await.unwrap_err().to_string();

        assert!(refused.contains("kube-apiserver is not there"), "{refused}");
    }

    #[tokio::test]
    async fn assets_come_first_and_then_the_cache_of_either_source() {
        let dir = tempfile::tempdir().unwrap();
        let assets = dir.path().join("assets");
        let built = dir.path().join("controlplane").join(Source::Go.directory());
        install_fakes(&assets, &PLANE);
        install_fakes(&built, &[Binary::Etcd, Binary::ApiServer, Binary::ControllerManager]);
        let mut sources = Sources { assets: Some(assets.clone()), cache: dir.path().to_owned(), only: None };

        assert_eq!(locate(&PLANE, &sources, &Quiet).await.unwrap().dir(), assets);
        let manager = locate(&[Binary::ControllerManager], &sources, &Quiet).await.unwrap();
        assert_eq!(manager.dir(), built, "no envtest directory has it");

        sources.assets = None;
        assert_eq!(locate(&PLANE, &sources, &Quiet).await.unwrap().dir(), built);
    }

    /// Answers every request so, until the test's runtime ends.
    async fn answering(head: &'static str) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/envtest.tar.gz", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0; 1024];
                let _ = stream.read(&mut asked).await;
                let _ = stream.write_all(head.as_bytes()).await;
            }
        });
        Url::parse(&url).unwrap()
    }

    #[tokio::test]
    async fn where_the_archive_cannot_be_had_the_build_with_go_is_chosen_and_the_reason_told() {
        let missing = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let archive = Archive { url: answering(missing).await, sha512: Digest::of(b"") };
        let dir = tempfile::tempdir().unwrap();
        let sources = Sources { assets: None, cache: dir.path().to_owned(), only: None };
        let (told, built) = (Told::default(), Cell::new(0));
        let install = async |source: Source, dir: &Path| match source {
            Source::Archive => archive.install(&Downloader::new()?, dir, &PLANE, &told).await,
            Source::Go => {
                built.set(built.get() + 1);
                install_fakes(dir, &PLANE);
                Ok(())
            }
        };

        for _ in 0..2 {
            let found = locate_or_install(&PLANE, &sources, &told, install).await.unwrap();
            assert_eq!(found.dir(), dir.path().join("controlplane").join(Source::Go.directory()));
        }

        assert_eq!(built.get(), 1, "the second time it is in the cache");
        let told = told.0.lock().unwrap().join("\n");
        assert!(told.contains("404"), "{told}");
    }

    #[tokio::test]
    async fn a_failure_names_the_four_ways() {
        let dir = tempfile::tempdir().unwrap();
        let sources = Sources { assets: None, cache: dir.path().to_owned(), only: Some(Source::Archive) };
        let refused = locate(&[Binary::ControllerManager], &sources, &Quiet).await.unwrap_err().to_string();
        let ways = [
            "KUBEBUILDER_ASSETS=",
            "PIPEKICK_CACHE=",
            "PIPEKICK_CONTROLPLANE=archive",
            "PIPEKICK_CONTROLPLANE=go",
        ];
        assert!(ways.iter().all(|way| refused.contains(way)), "{refused}");
    }
}
