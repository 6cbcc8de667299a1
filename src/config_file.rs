//! `pipekick run --config FILE`: flags that stand in a file.
//!
//! They become flags again, so that one parser reads them all: what is typed, what stands in the environment and what
//! stands in the file is valid in the same cases and refused in the same words. What is typed goes before the
//! environment, and both go before the file.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory as _, Parser as _};
use serde_json::{Map, Value};

use crate::cli::{BadInput, Cli};

/// The subcommand that takes a file.
const RUN: &str = "run";
/// Its flag that names one.
const CONFIG: &str = "config";

/// What was typed, with what its file adds; ends the process as clap does where the line itself is at fault.
///
/// # Errors
/// The file cannot be read, or adds what cannot be followed.
pub fn parse() -> Result<Cli, BadInput> {
    let line: Vec<OsString> = std::env::args_os().collect();
    let Some((file, run)) = named(&line) else { return Ok(Cli::parse_from(line)) };
    let refused = |why: String| BadInput(format!("--config {}: {why}", file.display()));
    let added =
        std::fs::read_to_string(&file).map_err(anyhow::Error::from).and_then(|text| flags(&text, &run));
    let added = added.map_err(|error| refused(format!("{error:#}")))?;
    Cli::try_parse_from(line.into_iter().chain(added)).map_err(|error| {
        let error = error.to_string();
        refused(error.strip_prefix("error: ").unwrap_or(&error).trim_end().to_owned())
    })
}

/// The file that is named, and what else is known without it: a line may be complete only with what the file adds.
fn named(line: &[OsString]) -> Option<(PathBuf, ArgMatches)> {
    let mut matches = Cli::command().ignore_errors(true).try_get_matches_from(line).ok()?;
    let (name, run) = matches.remove_subcommand()?;
    let file = (name == RUN).then(|| run.get_one::<PathBuf>(CONFIG).cloned())??;
    Some((file, run))
}

/// The flags of a file that are neither typed nor in the environment.
fn flags(text: &str, known: &ArgMatches) -> anyhow::Result<Vec<OsString>> {
    let settings: Map<String, Value> = serde_saphyr::from_str(text)
        .context("write YAML: flags without their dashes, such as gitlab-url: https://gitlab.example.com")?;
    let command = Cli::command();
    let run = command.find_subcommand(RUN).context("run is a subcommand")?;
    let mut flags = Vec::new();
    for (name, value) in settings {
        ensure!(name != CONFIG, "config: a file names no other");
        let flag = run.get_arguments().find(|flag| flag.get_long() == Some(&name));
        let said = flag.and_then(|flag| known.value_source(flag.get_id().as_str()));
        if matches!(said, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            continue;
        }
        let switch = flag.is_some_and(|flag| matches!(flag.get_action(), ArgAction::SetTrue));
        match (switch, value) {
            (true, Value::Bool(true)) => flags.push(format!("--{name}").into()),
            (true, Value::Bool(false)) => {}
            (true, _) => bail!("{name}: write true or false"),
            (false, Value::Array(values)) => {
                for value in values {
                    flags.push(format!("--{name}={}", scalar(&name, &value)?).into());
                }
            }
            (false, value) => flags.push(format!("--{name}={}", scalar(&name, &value)?).into()),
        }
    }
    Ok(flags)
}

fn scalar(name: &str, value: &Value) -> anyhow::Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            bail!("{name}: write a value, as it would be typed behind --{name}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Command;

    /// Every flag of `pipekick run` with a value that is not its default.
    const ALL: &str = "
gitlab-url: https://gitlab.example.com
allow-http: true
first-sight: Hold
pause: true
namespace: [shop, billing]
leader-elect: true
lease-namespace: ops
lease-name: other
lease-duration: 20s
request-deadline: 40s
gitlab-request-limit: 70s
resolution-delay: 2m
cancel-patience: 6m
schedule-interval: 7m
cluster-id: production-1
follow-interval: 8s
shared-commit-title: deploy {{ runs }}
concurrency: 64
health-addr: 127.0.0.1:1
metrics-addr: 127.0.0.1:2
otlp-endpoint: http://otel-collector:4318
otlp-headers-file: /etc/otlp/headers
otlp-ca-file: /etc/otlp/ca.crt
log-level: pipekick=debug,kube=warn
log-format: json
";

    fn line(words: &[&str]) -> Vec<OsString> {
        ["pipekick", "run", "--config", "FILE"].iter().chain(words).map(OsString::from).collect()
    }

    fn read(words: &[&str], text: &str) -> anyhow::Result<String> {
        let line = line(words);
        let (_, known) = named(&line).context("a file is named")?;
        let cli = Cli::try_parse_from(line.into_iter().chain(flags(text, &known)?))?;
        let Command::Run(run) = cli.command else { bail!("run was typed") };
        Ok(format!("{run:?}"))
    }

    #[test]
    fn every_flag_can_stand_in_a_file_and_means_there_what_it_means_when_typed() {
        let settings: Map<String, Value> = serde_saphyr::from_str(ALL).unwrap();
        let command = Cli::command();
        let run = command.find_subcommand(RUN).unwrap();
        let longs = run.get_arguments().filter_map(clap::Arg::get_long);
        let missing: Vec<_> = longs.filter(|name| !settings.contains_key(*name) && *name != CONFIG).collect();
        assert_eq!(missing, [""; 0]);

        let typed: Vec<String> = settings
            .iter()
            .map(|(name, value)| match value {
                Value::Bool(_) => format!("--{name}"),
                Value::Array(_) => format!("--{name}=shop,billing"),
                value => format!("--{name}={}", scalar(name, value).unwrap()),
            })
            .collect();
        let typed: Vec<&str> = typed.iter().map(String::as_str).collect();
        assert_eq!(read(&[], ALL).unwrap(), read(&typed, "{}").unwrap());
        assert_ne!(read(&[], ALL).unwrap(), read(&[], "{}").unwrap());
    }

    #[test]
    fn what_is_typed_goes_before_the_file() {
        let both = read(&["--concurrency", "3", "--pause", "--namespace", "ops"], ALL).unwrap();
        assert!(both.contains("concurrency: 3") && both.contains("namespace: [\"ops\"]"), "{both}");
        let off = read(&["--pause"], "pause: false").unwrap();
        assert!(off.contains("pause: true"), "{off}");
        // Complete only with what the file adds.
        assert!(read(&["--lease-name", "x"], "leader-elect: true").is_ok());
        assert!(read(&["--lease-name", "x"], "{}").is_err());
    }

    #[test]
    fn what_cannot_be_followed_is_told_with_what_to_write() {
        for (text, says) in [
            ("- a", "flags without their dashes"),
            ("gitlab-uri: https://x", "--gitlab-url"),
            ("concurrency: 0", "1..=1024"),
            ("follow-interval: 30", "write it like 90s"),
            ("pause: yes please", "pause: write true or false"),
            ("cluster-id:", "cluster-id: write a value"),
            ("log-level: {pipekick: debug}", "log-level: write a value"),
            ("config: other.yaml", "a file names no other"),
            ("help: true", "--help"),
        ] {
            let why = format!("{:#}", read(&[], text).unwrap_err());
            assert!(why.contains(says), "{text}: {why}");
        }
    }
}
