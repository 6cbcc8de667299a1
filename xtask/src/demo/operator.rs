//! The operator: the real binary, built and run as a process of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use pipekick_sandbox::controlplane::Guarded;
use serde::Deserialize;

/// Of its log, in an error.
const TAIL_LINES: usize = 12;

/// Builds it, with cargo's own output for all to see, and tells where it is.
pub fn build() -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--package", "pipekick", "--bin", "pipekick"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(crate::controlplane::root())
        .stderr(Stdio::inherit());
    without(&mut command, tells_of_a_package);
    let output = command.output().context("cannot run cargo")?;
    ensure!(output.status.success(), "the operator could not be built: {}", output.status);
    executable(&String::from_utf8_lossy(&output.stdout)).context("cargo did not tell where the operator is")
}

/// The last executable that cargo reports.
fn executable(messages: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
    }
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter_map(|message| message.executable)
        .next_back()
}

/// The running operator. It ends when this is dropped, or when this process ends in any other way.
pub struct Operator {
    guarded: Guarded,
    log: PathBuf,
}

impl Operator {
    /// Starts it, with its log in `dir`.
    pub fn start(binary: &Path, kubeconfig: &Path, gitlab: &str, dir: &Path) -> anyhow::Result<Self> {
        let log = dir.join("operator.log");
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        // The guard removes its directory at the end: one of its own, for the log goes with the control plane's.
        let scratch = dir.join("operator");
        fs::create_dir(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
        let mut command = Guarded::command(binary, &scratch);
        command
            .args(["run", "--gitlab-url", gitlab, "--allow-http"])
            .args(["--health-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"])
            // Pipelines here take seconds: the usual five between two looks would hide them.
            .args(["--follow-interval", "1s"])
            .env("KUBECONFIG", kubeconfig)
            .stdout(output.try_clone()?)
            .stderr(output);
        without(&mut command, is_for_others);
        let guarded =
            Guarded::spawn(&mut command).with_context(|| format!("cannot start {}", binary.display()))?;
        Ok(Self { guarded, log })
    }

    /// Its log; it goes when the control plane stops.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// An error, if it is no longer running.
    pub fn check(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.guarded.ended()? {
            bail!("the operator ended by itself: {status}. The end of its log:\n{}", self.log_tail());
        }
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Puts the log where it outlives the demo.
    pub fn keep_log(&self) -> anyhow::Result<PathBuf> {
        let file = tempfile::Builder::new().prefix("pipekick-operator-").suffix(".log").tempfile()?;
        let (_, path) = file.keep()?;
        fs::copy(&self.log, &path)?;
        Ok(path)
    }
}

/// Takes the variables that `unwanted` names out of what a command inherits.
fn without(command: &mut Command, unwanted: fn(&str) -> bool) {
    for (name, _) in std::env::vars_os() {
        if unwanted(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
}

/// Set by `cargo run` for us. Build scripts watch these, ring's for one, and would run again at each change of hands.
fn tells_of_a_package(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix))
}

/// What the user has set is meant for another operator; and everything here is on loopback, without a proxy.
fn is_for_others(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name.starts_with("PIPEKICK_") || name.ends_with("_PROXY")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_is_found_among_what_cargo_reports() {
        let messages = r#"{"reason":"compiler-artifact","executable":null}
not json
{"reason":"compiler-artifact","executable":"/t/debug/pipekick"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/t/debug/pipekick")));
        assert_eq!(executable(""), None);
    }

    #[test]
    fn settings_of_another_operator_and_proxies_are_kept_away() {
        for (name, others) in
            [("PIPEKICK_PAUSE", true), ("https_proxy", true), ("PATH", false), ("SSL_CERT_FILE", false)]
        {
            assert_eq!(is_for_others(name), others, "{name}");
        }
    }
}
