//! What was typed: subcommands and flags, each also readable from the environment as `PIPEKICK_…`.
//! [`crate::config`] turns it into what is valid.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use pipekick_core::domain::Span;

/// Kicks off GitLab CI pipelines from Kubernetes: once, on time, and tells how it went.
#[derive(Debug, Parser)]
#[command(name = "pipekick", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator. It finds its cluster by KUBECONFIG, or as a pod by its service account.
    Run(Run),
    /// Print the CustomResourceDefinitions, ready for `kubectl apply -f -`.
    Crds(Crds),
    /// Print the reasons that stand in conditions and Events, with their meaning, as a Markdown table.
    Reasons,
}

/// Print the CustomResourceDefinitions.
#[derive(Debug, Args)]
pub struct Crds {
    /// Write one file a kind into this directory instead of printing.
    #[arg(long, value_name = "DIR")]
    pub output_dir: Option<std::path::PathBuf>,
}

/// What to do with an object seen for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum FirstSight {
    /// As its fireOn says.
    Fire,
    /// Hold it until asked by annotation: for a cluster restored from a backup, where every object is new.
    Hold,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text.
    Text,
    /// One line of JSON.
    Json,
}

/// The flags of `pipekick run`.
#[derive(Debug, Args)]
pub struct Run {
    /// GitLab instance of triggers that name none; Secrets without pipekick.dev/gitlab-url are sent only there.
    #[arg(long, env = "PIPEKICK_GITLAB_URL", value_name = "URL", default_value = "https://gitlab.com")]
    pub gitlab_url: String,
    /// Allow GitLab URLs that begin http://. Tokens then travel unencrypted: for sandboxes only.
    #[arg(long, env = "PIPEKICK_ALLOW_HTTP")]
    pub allow_http: bool,
    /// What to do with triggers seen for the first time.
    #[arg(long, env = "PIPEKICK_FIRST_SIGHT", value_name = "WHAT", default_value = "Fire")]
    pub first_sight: FirstSight,
    /// Fire nothing; pipelines under way are followed to their end.
    #[arg(long, env = "PIPEKICK_PAUSE")]
    pub pause: bool,
    /// Watch this namespace only.
    #[arg(long, env = "PIPEKICK_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
    /// Longest a request to GitLab may take, from 1s to 5m.
    #[arg(long, env = "PIPEKICK_REQUEST_DEADLINE", value_name = "DURATION", default_value = "30s")]
    pub request_deadline: Span,
    /// GitLab acts on a request within this time or never. Longer is safer, shorter is quicker: a request whose
    /// reply was lost is sent again only after two looks this far apart found no pipeline of it.
    #[arg(long, env = "PIPEKICK_RESOLUTION_DELAY", value_name = "DURATION", default_value = "90s")]
    pub resolution_delay: Span,
    /// A pipeline that was asked to be cancelled ends within this time, or it is told that it does not: from 1s to 1h.
    #[arg(long, env = "PIPEKICK_CANCEL_PATIENCE", value_name = "DURATION", default_value = "5m")]
    pub cancel_patience: Span,
    /// Shortest time between two looks at a running pipeline; it grows to a tenth of the pipeline's age.
    #[arg(long, env = "PIPEKICK_FOLLOW_INTERVAL", value_name = "DURATION", default_value = "5s")]
    pub follow_interval: Span,
    /// Triggers worked on at the same time, from 1 to 1024.
    #[arg(long, env = "PIPEKICK_CONCURRENCY", value_name = "N", default_value = "256", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,
    /// Where /livez and /readyz are served. Port 0 takes a free one and logs it.
    #[arg(long, env = "PIPEKICK_HEALTH_ADDR", value_name = "ADDRESS", default_value = "0.0.0.0:8081")]
    pub health_addr: SocketAddr,
    /// Where /metrics is served. Port 0 takes a free one and logs it.
    #[arg(long, env = "PIPEKICK_METRICS_ADDR", value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub metrics_addr: SocketAddr,
    /// What is logged, as tracing's filter: info, debug, pipekick=debug,kube=warn.
    #[arg(long, env = "PIPEKICK_LOG_LEVEL", value_name = "FILTER", default_value = "info")]
    pub log_level: String,
    /// How log lines look.
    #[arg(long, env = "PIPEKICK_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}
