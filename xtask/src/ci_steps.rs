//! A list of steps, each timed and told; the house's commands are made of it.

#![allow(clippy::disallowed_methods, reason = "times processes for a person to read; decides nothing")]

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::controlplane::root;

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// As it should; with a word on what was found, if there is one.
    Passed(String),
    /// It could not be done here, for this reason.
    Skipped(String),
    /// It went wrong, for this reason.
    Failed(String),
}

/// Steps that were taken, in order.
#[derive(Debug, Default)]
pub struct Steps(Vec<(String, Duration, End)>);

impl Steps {
    /// Takes a step: prints its name before and its time after. Gives back whether to go on.
    pub fn take(&mut self, name: &str, step: impl FnOnce() -> anyhow::Result<End>) -> bool {
        eprintln!("\n==> {name}");
        let began = Instant::now();
        let end = step().unwrap_or_else(|error| End::Failed(format!("{error:#}")));
        let took = began.elapsed();
        let went_on = !matches!(end, End::Failed(_));
        eprintln!("<== {name}: {}, {}", told(&end), seconds(took));
        self.0.push((name.to_owned(), took, end));
        went_on
    }

    /// How long all of them took.
    fn total(&self) -> Duration {
        self.0.iter().map(|(_, took, _)| *took).sum()
    }

    /// One line about all of them; an error if one failed.
    pub fn summary(&self, what: &str) -> anyhow::Result<()> {
        let count = |wanted: fn(&End) -> bool| self.0.iter().filter(|(_, _, end)| wanted(end)).count();
        let failed = count(|end| matches!(end, End::Failed(_)));
        let skipped = count(|end| matches!(end, End::Skipped(_)));
        let word = if failed == 0 { "ok" } else { "FAILED" };
        let mut line =
            format!("{what}: {word}, {} of {} steps passed", self.0.len() - failed - skipped, self.0.len());
        if skipped > 0 {
            line.push_str(&format!(", {skipped} skipped"));
        }
        line.push_str(&format!(", {}", seconds(self.total())));
        if failed == 0 {
            eprintln!("\n{line}");
            return Ok(());
        }
        anyhow::bail!("{line}")
    }

    /// Every step with its time, as a table.
    pub fn table(&self) {
        let width = self.0.iter().map(|(name, _, _)| name.len()).max().unwrap_or_default();
        eprintln!();
        for (name, took, end) in &self.0 {
            eprintln!("{name:width$}  {:>8}  {}", seconds(*took), told(end));
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn told(end: &End) -> String {
    match end {
        End::Passed(word) if word.is_empty() => "passed".into(),
        End::Passed(word) => format!("passed: {word}"),
        End::Skipped(why) => format!("SKIPPED: {why}"),
        End::Failed(why) => format!("FAILED: {why}"),
    }
}

/// A program in the repository's root, without standard input.
pub fn program(name: &str, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(name);
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command
}

/// The cargo that runs us.
pub fn cargo(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = program(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()), args);
    // Set for us by `cargo run`. Passed on, they would make the crates that look at them build anew.
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(name);
        }
    }
    command
}

/// Runs it, its output passing through.
pub fn run(mut command: Command) -> anyhow::Result<End> {
    let line = line_of(&command);
    eprintln!("$ {line}");
    let status = command.status().with_context(|| format!("cannot run {line}"))?;
    ensure!(status.success(), "{line}: {status}");
    Ok(End::Passed(String::new()))
}

/// Runs it and gives back what it printed; standard error passes through.
pub fn output(mut command: Command) -> anyhow::Result<String> {
    let line = line_of(&command);
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot run {line}"))?;
    ensure!(output.status.success(), "{line}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// As one would type it.
pub fn line_of(command: &Command) -> String {
    let name = std::path::Path::new(command.get_program());
    let name = name.file_name().unwrap_or(command.get_program()).to_string_lossy();
    command.get_args().fold(name.into_owned(), |line, arg| format!("{line} {}", arg.to_string_lossy()))
}
