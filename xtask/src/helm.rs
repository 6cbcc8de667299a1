//! Where Helm comes from: the first that serves of
//!
//! ```text
//! HELM → the project's cache → built with Go from sandbox/helm/go.mod
//! ```
//!
//! A `helm` that happens to lie on the path is not taken: what is rendered is committed, and versions differ in it.

#![allow(clippy::disallowed_methods, reason = "times a build for a person to read; decides nothing")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use pipekick_sandbox::controlplane::Sources;

use crate::ci_steps::{line_of, program};
use crate::controlplane::root;

/// As sandbox/helm/go.mod requires it; a test compares them.
const VERSION: &str = "v4.3.1";
const PACKAGE: &str = "helm.sh/helm/v4/cmd/helm";

/// Why there can be no Helm here, if so: contributors need Go for nothing else where the control plane's archive is
/// within reach.
pub fn missing() -> anyhow::Result<Option<&'static str>> {
    let go = || Command::new("go").arg("version").stdin(Stdio::null()).output();
    let there = named().is_some() || cached()?.is_file() || go().is_ok_and(|output| output.status.success());
    Ok((!there).then_some("neither Helm (HELM=/path/to/helm) nor Go to build it with is here"))
}

fn named() -> Option<PathBuf> {
    std::env::var_os("HELM").filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn cached() -> anyhow::Result<PathBuf> {
    Ok(Sources::from_env()?.cache.join(format!("helm-{VERSION}")).join("helm"))
}

/// Finds Helm, and builds it into the cache if it must.
fn locate() -> anyhow::Result<PathBuf> {
    if let Some(helm) = named() {
        return Ok(helm);
    }
    let cached = cached()?;
    if !cached.is_file() {
        build(&cached)?;
    }
    Ok(cached)
}

/// Whole or not at all: it is built beside its place and moved there.
fn build(into: &Path) -> anyhow::Result<()> {
    let dir = into.parent().context("the cache has a directory")?;
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let staging = tempfile::Builder::new().prefix("partial-").tempdir_in(dir)?;
    let built = staging.path().join("helm");
    eprintln!(
        "building Helm {VERSION} with Go, usually 2 to 4 minutes, once (HELM=/path/to/helm uses another)"
    );
    let began = Instant::now();
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-buildvcs=false", "-ldflags", &linker_flags(), "-o"]);
    go.arg(&built).arg(PACKAGE).current_dir(root().join("sandbox/helm")).stdin(Stdio::null());
    go.env("CGO_ENABLED", "0").env("GOWORK", "off").env("GOFLAGS", "-mod=readonly");
    go.env_remove("GOOS").env_remove("GOARCH");
    let status = go.status().context("cannot run go: install it, or set HELM to a Helm that is there")?;
    ensure!(status.success(), "go cannot build Helm ({status}); HELM=/path/to/helm uses one that is there");
    std::fs::rename(&built, into).with_context(|| format!("cannot install {}", into.display()))?;
    eprintln!("built Helm in {} s, in {}", began.elapsed().as_secs(), dir.display());
    Ok(())
}

fn linker_flags() -> String {
    format!("-s -w -X helm.sh/helm/v4/internal/version.version={VERSION}")
}

/// A Helm that knows no configuration, repository or cluster but those that are named to it.
#[derive(Debug)]
pub struct Helm {
    path: PathBuf,
    home: tempfile::TempDir,
    kubeconfig: Option<PathBuf>,
}

impl Helm {
    /// One that renders and lints.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { path: locate()?, home: tempfile::tempdir()?, kubeconfig: None })
    }

    /// One that installs into the cluster of `kubeconfig`.
    pub fn on(self, kubeconfig: &Path) -> Self {
        Self { kubeconfig: Some(kubeconfig.to_owned()), ..self }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = program(&self.path.to_string_lossy(), args);
        for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(name, self.home.path());
        }
        match &self.kubeconfig {
            Some(path) => command.env("KUBECONFIG", path),
            None => command.env_remove("KUBECONFIG"),
        };
        command
    }

    /// Runs it, and gives back what it printed.
    pub fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = self.command(args);
        let line = line_of(&command);
        let output = command.output().with_context(|| format!("cannot run {line}"))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{line}: {}\n{errors}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs it, and gives back why it refused.
    pub fn refused(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = self.command(args);
        let line = line_of(&command);
        let output = command.output().with_context(|| format!("cannot run {line}"))?;
        ensure!(!output.status.success(), "{line}: was not refused");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_mod_requires_the_version_that_the_cache_is_named_after() {
        let go_mod = std::fs::read_to_string(root().join("sandbox/helm/go.mod")).unwrap();
        assert!(go_mod.contains(&format!("helm.sh/helm/v4 {VERSION}")), "{VERSION}");
        assert!(go_mod.contains(&format!("tool {PACKAGE}")));
    }
}
