//! `pipekick check`: what is missing before anything is fired, as `flux check` tells it for Flux.
//!
//! It changes nothing and fires nothing. Whatever cannot be known by looking is told as such.

mod gitlab;
mod kinds;
mod rights;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use clap::builder::BoolishValueParser;
use kube::Client;
use tokio::time::timeout;

use super::say;
use crate::cli;
use crate::cluster::causes::causes;
use crate::cluster::client::{self, DEADLINE};
use rights::Scope;

/// The flags of `pipekick check`.
#[derive(Debug, Args)]
pub struct Check {
    /// GitLab instance of triggers that name none, as pipekick run is given it.
    #[arg(long, env = "PIPEKICK_GITLAB_URL", value_name = "URL", default_value = "https://gitlab.com")]
    pub gitlab_url: String,
    /// Allow GitLab URLs that begin http://.
    #[arg(long, env = "PIPEKICK_ALLOW_HTTP", value_parser = BoolishValueParser::new())]
    pub allow_http: bool,
    /// The operator is to watch these namespaces only, such as shop,billing. Unset: all.
    #[arg(short, long, env = "PIPEKICK_NAMESPACE", value_name = "NAME", value_delimiter = ',', value_parser = cli::namespace)]
    pub namespace: Vec<String>,
    /// The operator is to agree with others on a Lease.
    #[arg(long, env = "PIPEKICK_LEADER_ELECT", value_parser = BoolishValueParser::new())]
    pub leader_elect: bool,
    /// Namespace of that Lease.
    #[arg(
        long,
        env = "PIPEKICK_LEASE_NAMESPACE",
        value_name = "NAME",
        default_value = "pipekick-system",
        value_parser = cli::namespace,
        requires = "leader_elect"
    )]
    pub lease_namespace: String,
    /// Name of that Lease.
    #[arg(
        long,
        env = "PIPEKICK_LEASE_NAME",
        value_name = "NAME",
        default_value = "pipekick",
        value_parser = cli::name,
        requires = "leader_elect"
    )]
    pub lease_name: String,
    /// Whose rights to look at, such as system:serviceaccount:pipekick-system:pipekick; takes the right to impersonate
    /// them. Unset: your own, which are the operator's where this runs in its pod.
    #[arg(long = "as", value_name = "USER")]
    pub user: Option<String>,
    /// A Secret with tokens, to see which of them GitLab accepts. What is in it is told to nobody but GitLab, and as the
    /// operator would: only where the Secret's label and annotations allow it.
    #[arg(long, value_name = "NAMESPACE/NAME", requires = "project")]
    pub secret: Option<String>,
    /// The project that its tokens are for: full path or id.
    #[arg(long, value_name = "PROJECT", requires = "secret")]
    pub project: Option<String>,
}

/// Says line by line what was found.
#[derive(Debug, Default)]
struct Report {
    missing: bool,
}

impl Report {
    /// What is looked at next.
    fn heading(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(say(&format!("► {text}\n"))?)
    }

    /// It is as it should be.
    fn good(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(say(&format!("✔ {text}\n"))?)
    }

    /// Something is missing.
    fn bad(&mut self, text: &str) -> anyhow::Result<()> {
        self.missing = true;
        Ok(say(&format!("✗ {text}\n"))?)
    }

    /// It cannot be known by looking, or matters only to some.
    fn note(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(say(&format!("! {text}\n"))?)
    }
}

/// Looks at everything.
///
/// # Errors
/// What was typed cannot be followed, or nothing can be printed.
pub async fn check(typed: &Check) -> anyhow::Result<ExitCode> {
    let asked = gitlab::Asked::new(typed)?;
    let mut report = Report::default();
    report.heading("the cluster")?;
    let cluster = match reach(&mut report).await? {
        Some(cluster) => {
            kinds::check(&mut report, &cluster).await?;
            check_rights(&mut report, typed, &cluster).await?;
            Some(cluster)
        }
        None => None,
    };
    report.heading("GitLab")?;
    gitlab::check(&mut report, &asked, cluster.as_ref()).await?;
    say(if report.missing { "✗ something is missing\n" } else { "✔ nothing is missing\n" })?;
    Ok(if report.missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The API server, if it answers.
async fn reach(report: &mut Report) -> anyhow::Result<Option<Client>> {
    let cluster = match client::connect().await {
        Ok(cluster) => cluster,
        Err(error) => {
            report.bad(&format!("no API server to connect to: {}", causes(error.as_ref())))?;
            return Ok(None);
        }
    };
    match timeout(DEADLINE, cluster.apiserver_version()).await {
        Ok(Ok(version)) => report.good(&format!("API server: Kubernetes {}", version.git_version))?,
        Ok(Err(error)) => {
            report.bad(&format!("API server: {}", causes(&error)))?;
            return Ok(None);
        }
        Err(_) => {
            report.bad(&format!("API server: no answer within {} s", DEADLINE.as_secs()))?;
            return Ok(None);
        }
    }
    Ok(Some(cluster))
}

async fn check_rights(report: &mut Report, typed: &Check, cluster: &Client) -> anyhow::Result<()> {
    report.heading(&match &typed.user {
        Some(user) => format!("rights of {user}"),
        None => "your rights".into(),
    })?;
    let theirs = match &typed.user {
        Some(user) => client::connect_as(Some(user)).await.context("cannot connect to the Kubernetes API")?,
        None => cluster.clone(),
    };
    let scopes = match &typed.namespace[..] {
        [] => vec![Scope { namespace: None }],
        some => some.iter().map(|name| Scope { namespace: Some(name) }).collect(),
    };
    for scope in scopes {
        rights::check(report, &theirs, &rights::of_operator(), &scope).await?;
    }
    if typed.leader_elect {
        let scope = Scope { namespace: Some(&typed.lease_namespace) };
        rights::check(report, &theirs, &rights::of_elections(&typed.lease_name), &scope).await?;
    }
    Ok(())
}
