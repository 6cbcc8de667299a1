//! What is valid: the operator's settings, checked once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Error, anyhow, bail, ensure};
use pipekick_core::decide::lease;
use pipekick_core::decide::trigger::{FirstSight, Policy};
use pipekick_core::domain::schedule::ClusterId;
use pipekick_core::domain::{FireId, GitLabUrl, SharedTitle, Span};

use crate::api::names::is_label;
use crate::cli;
use crate::gitlab::{CaBundle, Trust};
use crate::otlp::{self, Headers, OtlpEndpoint};

/// The operator's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// GitLab of triggers that name none.
    pub gitlab_url: GitLabUrl,
    /// Whether plain http may be spoken.
    pub allow_http: bool,
    /// What decisions need to know.
    pub policy: Policy,
    /// The namespaces to watch, each once; all where none is named.
    pub namespaces: BTreeSet<String>,
    /// How one of several operators is chosen; without it, this one works in any case.
    pub election: Option<Election>,
    /// Time between two looks at a schedule that GitLab runs.
    pub schedule_interval: Duration,
    /// What tells this cluster from others, if it was given.
    pub cluster_id: Option<ClusterId>,
    /// Shortest time between two looks at a pipeline.
    pub follow_interval: Duration,
    /// First line of a commit of several runs.
    pub shared_commit_title: SharedTitle,
    /// Objects worked on at the same time.
    pub concurrency: usize,
    /// Address of the health endpoints.
    pub health_addr: SocketAddr,
    /// Address of the metrics endpoint.
    pub metrics_addr: SocketAddr,
    /// Where spans of runs are told, if anywhere.
    pub otlp: Option<otlp::Settings>,
}

/// How one of several operators is chosen.
#[derive(Debug, Clone)]
pub struct Election {
    /// Namespace of the Lease; the operator's own without it.
    pub namespace: Option<String>,
    /// Name of the Lease.
    pub name: String,
    /// How long a leader may be silent.
    pub policy: lease::Policy,
}

impl Config {
    /// Checks what was typed. `writer` is this process, as it signs its intents.
    ///
    /// # Errors
    /// Names the flag and what to write instead.
    pub fn new(typed: &cli::Run, writer: String) -> anyhow::Result<Self> {
        // Parsed here, not by clap, which would repeat a password that somebody wrote into it.
        let gitlab_url: GitLabUrl = typed.gitlab_url.parse().context("--gitlab-url")?;
        ensure!(
            typed.allow_http || gitlab_url.is_https(),
            "--gitlab-url {gitlab_url}: plain http would send tokens unencrypted; use https, or --allow-http in a sandbox"
        );
        let otlp = typed.otlp_endpoint.as_deref().map(|to| otlp(to, typed, &writer)).transpose()?;
        let request_deadline = between(typed.request_deadline, 1, 300).context("--request-deadline")?;
        Ok(Self {
            gitlab_url,
            allow_http: typed.allow_http,
            policy: Policy {
                first_sight: match typed.first_sight {
                    cli::FirstSight::Fire => FirstSight::Fire,
                    cli::FirstSight::Hold => FirstSight::Hold,
                },
                paused: typed.pause,
                writer,
                request_deadline,
                resolution_delay: resolution_delay(typed)?,
                cancel_patience: between(typed.cancel_patience, 1, 3600).context("--cancel-patience")?,
                traced: otlp.is_some(),
            },
            namespaces: namespaces(&typed.namespace)?,
            election: typed.leader_elect.then(|| election(typed)).transpose()?,
            schedule_interval: between(typed.schedule_interval, 1, 86_400).context("--schedule-interval")?,
            cluster_id: typed.cluster_id.as_deref().map(str::parse).transpose().context("--cluster-id")?,
            follow_interval: between(typed.follow_interval, 1, 3600).context("--follow-interval")?,
            shared_commit_title: typed.shared_commit_title.parse().context("--shared-commit-title")?,
            concurrency: usize::from(typed.concurrency),
            health_addr: typed.health_addr,
            metrics_addr: typed.metrics_addr,
            otlp,
        })
    }
}

fn namespaces(typed: &[String]) -> anyhow::Result<BTreeSet<String>> {
    if let Some(wrong) = typed.iter().find(|name| !is_label(name)) {
        bail!(
            "--namespace {wrong:?}: write the name of a namespace, and several with commas between: shop,billing"
        );
    }
    Ok(typed.iter().cloned().collect())
}

fn otlp(endpoint: &str, typed: &cli::Run, writer: &str) -> anyhow::Result<otlp::Settings> {
    let endpoint: OtlpEndpoint = endpoint.parse().context("--otlp-endpoint")?;
    if let Some(file) = &typed.otlp_headers_file {
        ensure!(
            typed.allow_http || endpoint.is_https(),
            "--otlp-endpoint {endpoint}: plain http would send the headers of --otlp-headers-file unencrypted; use https, or \
             --allow-http in a sandbox"
        );
        Headers::of(file).read().map_err(Error::msg).context("--otlp-headers-file")?;
    }
    let bundle = |file: &PathBuf| {
        let pem = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        CaBundle::parse(&pem).map_err(|why| anyhow!("{} is no CA bundle: {why}", file.display()))
    };
    let trust = typed.otlp_ca_file.as_ref().map(bundle).transpose().context("--otlp-ca-file")?;
    Ok(otlp::Settings {
        endpoint,
        headers: typed.otlp_headers_file.clone(),
        trust: trust.map_or(Trust::System, Trust::Bundle),
        instance: writer.to_owned(),
    })
}

fn election(typed: &cli::Run) -> anyhow::Result<Election> {
    let duration = typed.lease_duration.unwrap_or(Span::from_secs(15));
    Ok(Election {
        namespace: typed.lease_namespace.clone(),
        name: typed.lease_name.clone().unwrap_or_else(|| "pipekick".into()),
        policy: lease::Policy { duration: between(duration, 3, 300).context("--lease-duration")? },
    })
}

/// What is given, or the shortest that is safe: a request that we have given up may sit in GitLab's queue until then.
fn resolution_delay(typed: &cli::Run) -> anyhow::Result<Duration> {
    let (deadline, limit) = (typed.request_deadline, typed.gitlab_request_limit);
    let limit_secs = between(limit, 1, 600).context("--gitlab-request-limit")?.as_secs();
    let least = Span::from_secs(deadline.as_secs() + limit_secs);
    let delay = typed.resolution_delay.unwrap_or(least);
    ensure!(
        delay >= least,
        "--resolution-delay {delay} is shorter than --request-deadline {deadline} and --gitlab-request-limit {limit} \
         together: GitLab could act on a request after it was taken for lost, and a run would be sent twice. Write {least} \
         or more; if your GitLab gives requests up sooner, say so by --gitlab-request-limit"
    );
    between(delay, 1, 3600).context("--resolution-delay")
}

fn between(span: Span, min: u64, max: u64) -> anyhow::Result<Duration> {
    ensure!(
        (min..=max).contains(&span.as_secs()),
        "{span} is out of bounds: write {} to {}",
        Span::from_secs(min),
        Span::from_secs(max)
    );
    Ok(span.into())
}

/// A name for this process that no other one has: hashed from what differs between any two.
#[must_use]
pub fn writer_name(hostname: &str, pid: u32, nonce: &str) -> String {
    let id = FireId::hash(&[hostname, &pid.to_string(), nonce]);
    let host: String = hostname.chars().take(63).collect();
    format!("{host}-{}", &id[..8])
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn config(flags: &[&str]) -> anyhow::Result<Config> {
        let typed = cli::Cli::try_parse_from(["pipekick", "run"].iter().chain(flags))?;
        let cli::Command::Run(run) = typed.command else { panic!("run was typed") };
        Config::new(&run, "writer".into())
    }

    #[test]
    fn what_a_collector_is_told_with_is_checked_at_the_start() {
        assert!(config(&[]).unwrap().otlp.is_none(), "nothing is told unless somebody wants it");
        assert!(config(&["--otlp-endpoint=http://collector:4318"]).unwrap().policy.traced);
        let headers = std::env::temp_dir().join(format!("pipekick-config-{}", std::process::id()));
        std::fs::write(&headers, "Authorization: Bearer canary\n").unwrap();
        let file = |flag: &str| format!("{flag}={}", headers.display());
        let (named, ca) = (file("--otlp-headers-file"), file("--otlp-ca-file"));
        assert!(config(&["--otlp-endpoint=https://c", &named]).is_ok());
        assert!(config(&["--otlp-endpoint=http://c", &named, "--allow-http"]).is_ok());
        for (flags, says) in [
            (&["--otlp-endpoint=collector:4318"][..], "--otlp-endpoint: not a URL"),
            (&["--otlp-endpoint=http://c", &named], "plain http would send the headers"),
            (&["--otlp-endpoint=https://c", "--otlp-headers-file=/nowhere"], "cannot read /nowhere"),
            (&["--otlp-endpoint=https://c", &ca], "is no CA bundle"),
            (&["--otlp-endpoint=https://c", "--otlp-ca-file=/nowhere"], "cannot read /nowhere"),
            (&[&named], "--otlp-endpoint"),
        ] {
            let error = format!("{:#}", config(flags).unwrap_err());
            assert!(error.contains(says) && !error.contains("canary"), "{flags:?}: {error}");
        }
        std::fs::remove_file(&headers).unwrap();
    }

    #[test]
    fn the_resolution_delay_is_never_shorter_than_a_request_can_live() {
        let secs = |flags: &[&str]| config(flags).unwrap().policy.resolution_delay.as_secs();
        assert_eq!(secs(&[]), 90);
        assert_eq!(secs(&["--request-deadline=5m"]), 360, "unset, it goes with the deadline");
        assert_eq!(secs(&["--request-deadline=2s", "--gitlab-request-limit=1s"]), 3);
        assert_eq!(secs(&["--resolution-delay=90s"]), 90);
        assert_eq!(secs(&["--resolution-delay=10m"]), 600);
        for (flags, says) in [
            (&["--leader-elect", "--lease-duration=2s"][..], "--lease-duration"),
            (&["--lease-duration=15s"], "--leader-elect"),
            (&["--resolution-delay=89s"][..], "Write 1m30s or more"),
            (&["--resolution-delay=90s", "--request-deadline=31s"], "Write 1m31s or more"),
            (&["--resolution-delay=90s", "--gitlab-request-limit=2m"], "Write 2m30s or more"),
            (&["--resolution-delay=61m"], "--resolution-delay"),
            (&["--gitlab-request-limit=0s"], "--gitlab-request-limit"),
            (&["--gitlab-request-limit=11m"], "--gitlab-request-limit"),
            (&["--request-deadline=6m"], "--request-deadline"),
        ] {
            let error = format!("{:#}", config(flags).unwrap_err());
            assert!(error.contains(says), "{flags:?}: {error}");
        }
    }
}
