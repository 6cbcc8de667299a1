//! The control plane built from its Go modules, for machines that reach a module proxy but not GitHub.
//!
//! Versions and checksums are those of `sandbox/controlplane/go.mod` and `go.sum`, which travel inside this
//! program: Go verifies every module against them.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::binaries::Binary;
use super::error::Error;
use super::guard::Guarded;
use super::install::Staging;
use super::log_tail;
use super::progress::Progress;

/// Of Kubernetes; a test compares it with go.mod.
pub(crate) const VERSION: &str = "v1.36.3";
const GO_MOD: &str = include_str!("../../controlplane/go.mod");
const GO_SUM: &str = include_str!("../../controlplane/go.sum");
const POLL: Duration = Duration::from_millis(200);

impl Binary {
    const fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::ApiServer => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::ControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
        }
    }

    /// Measured on two cores, one after the other from an empty build cache: 1:01, 4:48 and 1:45 min.
    const fn usually(self) -> &'static str {
        match self {
            Self::Etcd => "1 to 2 minutes",
            Self::ApiServer => "2 to 8 minutes",
            Self::ControllerManager => "1 to 4 minutes",
        }
    }
}

/// Builds `binaries`, one after the other: each is published when it is done, so an interrupted build resumes there.
pub(crate) async fn install(dir: &Path, binaries: &[Binary], progress: &dyn Progress) -> Result<(), Error> {
    for binary in binaries {
        let name = binary.name();
        progress.installing(&format!(
            "building {name} {} with Go, usually {}, once",
            version(*binary),
            binary.usually()
        ));
        let began = Instant::now();
        let staging = Staging::beside(dir)?;
        build(*binary, staging.path(), |elapsed| {
            progress.so_far(&format!("{name}: {} s", elapsed.as_secs()));
        })
        .await?;
        staging.publish(&[*binary])?;
        progress.installing(&format!(
            "built {name} in {} s, in {}",
            began.elapsed().as_secs(),
            dir.display()
        ));
    }
    Ok(())
}

async fn build(binary: Binary, dir: &Path, so_far: impl Fn(Duration)) -> Result<(), Error> {
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).map_err(Error::io("write", &path))
    };
    write("go.mod", GO_MOD)?;
    write("go.sum", GO_SUM)?;
    let log = dir.join("log");
    let output = File::create(&log).map_err(Error::io("create", &log))?;
    let errors = output.try_clone().map_err(Error::io("open", &log))?;

    installed_go()?;
    let mut command = Guarded::command(Path::new("go"), dir);
    command.args(["build", "-trimpath", "-buildvcs=false", "-ldflags", &linker_flags()]);
    command.args(["-o", binary.name(), binary.package()]).current_dir(dir).stdout(output).stderr(errors);
    command.env("CGO_ENABLED", "0").env("GOWORK", "off").env("GOFLAGS", "-mod=readonly");
    command.env("GOTMPDIR", dir).env_remove("GOOS").env_remove("GOARCH");
    let mut go = Guarded::spawn(&mut command).map_err(|error| Error::Go(error.to_string()))?;

    let began = Instant::now();
    let status = loop {
        if let Some(status) = go.ended().map_err(|error| Error::Go(error.to_string()))? {
            break status;
        }
        so_far(began.elapsed());
        sleep(POLL).await;
    };
    if status.success() {
        return Ok(());
    }
    Err(Error::Go(format!("cannot build {} ({status}): {}", binary.package(), log_tail(&log))))
}

/// Said by itself because it is what is missing most often.
fn installed_go() -> Result<(), Error> {
    let version = Command::new("go").arg("version").stdin(Stdio::null()).output();
    match version {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(Error::Go(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::Go("not installed".to_owned())),
        Err(error) => Err(Error::Go(error.to_string())),
    }
}

/// Without them `kubectl version` shows v0.0.0-master+$Format:%H$.
fn linker_flags() -> String {
    let mut parts = VERSION.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let package = "k8s.io/component-base/version";
    format!(
        "-s -w -X {package}.gitVersion={VERSION} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    )
}

/// As go.mod requires it.
fn version(binary: Binary) -> &'static str {
    let module = match binary {
        Binary::Etcd => "go.etcd.io/etcd/server/v3 ",
        Binary::ApiServer | Binary::ControllerManager => "k8s.io/kubernetes ",
    };
    let line = GO_MOD.lines().find_map(|line| line.trim().strip_prefix(module));
    line.and_then(|rest| rest.split_whitespace().next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_mod_requires_the_version_that_the_binary_reports_and_all_its_parts() {
        assert_eq!(version(Binary::ApiServer), VERSION);
        assert_eq!(version(Binary::Etcd), "v3.6.8");
        let staged: Vec<_> = GO_MOD.lines().filter(|line| line.contains(" => ")).collect();
        assert_eq!(staged.len(), 33);
        for part in staged {
            assert!(part.ends_with(&VERSION.replacen("v1", " v0", 1)), "{part}");
        }
        for binary in [Binary::Etcd, Binary::ApiServer, Binary::ControllerManager] {
            assert!(GO_MOD.contains(&format!("\t{}\n", binary.package())), "{} is a tool", binary.package());
        }
    }

    #[test]
    fn the_version_reaches_the_linker() {
        let expected =
            "-X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36";
        assert!(linker_flags().ends_with(expected));
    }
}
