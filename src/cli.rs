//! What was typed: subcommands and flags. Those of `pipekick run` are also read from the environment as `PIPEKICK_…`, and
//! from a file ([`crate::config_file`]). [`crate::config`] turns it into what is valid.

use std::net::SocketAddr;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use pipekick_core::domain::{SharedTitle, Span};

use crate::api::names::{is_label, is_subdomain};
use crate::commands::check::Check;
use crate::commands::release::Release;
use crate::commands::wait::Wait;

/// What was typed cannot be followed; the binary ends with exit code 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadInput(pub String);

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
    #[command(
        after_help = "From the environment, flags without a value take true or false (also 1 and 0, yes and no, on and off)."
    )]
    Run(Box<Run>),
    /// Print the CustomResourceDefinitions, ready for `kubectl apply -f -`.
    Crds(Crds),
    /// Print the reasons that stand in conditions and Events, with their meaning, as a Markdown table.
    Reasons,
    /// Print the metrics that the operator serves, with their meaning, as a Markdown table.
    Metrics,
    /// Print what GitLab's refusals mean and what to do about each, as Markdown tables.
    Troubleshooting,
    /// Print when a cron expression ticks next.
    Next(Next),
    /// Show what a PipelineSchedule would fire, skip, queue, replace and miss, and why, without a cluster. It is
    /// taken as created at --from, and decided on by the very code that the operator runs.
    Simulate(Simulate),
    /// Tell what is missing before anything is fired: the API server, the kinds, the operator's rights, GitLab, tokens. ✔
    /// stands before what is there, ✗ before what is missing, ! before what cannot be known by looking. Exit code 1:
    /// something is missing.
    Check(Check),
    /// Wait for the end of a run. Exit code 0: it came; 1: it comes no more; 2: what was typed cannot be followed; 3: not
    /// within --timeout; 4: nobody can tell, for want of a cluster or of the right to look.
    Wait(Wait),
    /// Take Pipekick's finalizers off objects, before it is uninstalled for good: nobody would do so afterwards, and
    /// objects that have one could not be deleted. Stop the operator first. Exit code 1: an operator is alive, or not all
    /// were released.
    Release(Release),
}

/// How an answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The flags of `pipekick next`.
#[derive(Debug, Args)]
pub struct Next {
    /// Five fields, @daily and the like, or @every 90m, which counts from --from.
    #[arg(value_name = "EXPR", allow_hyphen_values = true)]
    pub expression: String,
    /// IANA name of the zone, such as Europe/Berlin.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub time_zone: String,
    /// Start here, which is not shown itself: RFC 3339. Unset: now.
    #[arg(long, value_name = "RFC3339")]
    pub from: Option<String>,
    /// How many ticks, at most 10000. Unset: 5, or all up to --until.
    #[arg(long, value_name = "N", conflicts_with = "until", value_parser = clap::value_parser!(u16).range(1..=10000))]
    pub count: Option<u16>,
    /// All ticks up to here: RFC 3339.
    #[arg(long, value_name = "RFC3339")]
    pub until: Option<String>,
    /// What becomes of a time that does not exist because clocks are put forward.
    #[arg(long, value_name = "WHAT", default_value = "RunAfter")]
    pub gap: Gap,
    /// What becomes of a time that exists twice because clocks are put back.
    #[arg(long, value_name = "WHAT", default_value = "First")]
    pub fold: Fold,
    /// Namespace and name of the object that H is hashed from.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub name: Option<String>,
    /// How the answer looks: text has the zone's time and UTC; json is an array of instants in UTC.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

/// The flags of `pipekick simulate`.
#[derive(Debug, Args)]
pub struct Simulate {
    /// Manifest of the PipelineSchedule; - is the standard input.
    #[arg(short, long, value_name = "FILE")]
    pub file: std::path::PathBuf,
    /// Start here: RFC 3339.
    #[arg(long, value_name = "RFC3339")]
    pub from: String,
    /// End here: RFC 3339.
    #[arg(long, value_name = "RFC3339")]
    pub until: String,
    /// How long every run takes.
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    pub run_takes: Span,
    /// The operator is down in this time. May be given several times, in their order.
    #[arg(long, value_name = "FROM..TO")]
    pub down: Vec<String>,
    /// How the answer looks.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

/// What becomes of a time that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Gap {
    /// It fires at the first instant after the gap.
    RunAfter,
    /// It does not fire that day.
    Skip,
}

impl From<Gap> for pipekick_core::domain::schedule::Gap {
    fn from(gap: Gap) -> Self {
        match gap {
            Gap::RunAfter => Self::RunAfter,
            Gap::Skip => Self::Skip,
        }
    }
}

/// What becomes of a time that exists twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Fold {
    /// It fires the first time.
    First,
    /// It fires the second time.
    Second,
    /// It fires twice.
    Both,
}

impl From<Fold> for pipekick_core::domain::schedule::Fold {
    fn from(fold: Fold) -> Self {
        match fold {
            Fold::First => Self::First,
            Fold::Second => Self::Second,
            Fold::Both => Self::Both,
        }
    }
}

/// `0.0.0.0:8080`, or `:8080`, which means the same.
fn address(text: &str) -> Result<SocketAddr, String> {
    let whole = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    whole.parse().map_err(|_| "write an IP address and a port, such as 0.0.0.0:8080 or [::1]:8080".into())
}

/// The name of a namespace.
///
/// # Errors
/// No namespace can have this name.
pub fn namespace(text: &str) -> Result<String, &'static str> {
    is_label(text).then(|| text.to_owned()).ok_or("write the name of a namespace, such as shop")
}

/// The name of an object.
///
/// # Errors
/// No object can have this name.
pub fn name(text: &str) -> Result<String, &'static str> {
    is_subdomain(text).then(|| text.to_owned()).ok_or("write a name in lower case, such as pipekick")
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
    /// Take flags from this file too: YAML, each without its dashes, such as gitlab-url: https://gitlab.example.com. What is
    /// typed, or stands in the environment, goes before it.
    #[arg(long, env = "PIPEKICK_CONFIG", value_name = "FILE")]
    pub config: Option<std::path::PathBuf>,
    /// GitLab instance of triggers that name none; Secrets without pipekick.dev/gitlab-url are sent only there.
    #[arg(long, env = "PIPEKICK_GITLAB_URL", value_name = "URL", default_value = "https://gitlab.com")]
    pub gitlab_url: String,
    /// Allow GitLab URLs that begin http://. Tokens then travel unencrypted: for sandboxes only.
    #[arg(long, env = "PIPEKICK_ALLOW_HTTP", value_parser = BoolishValueParser::new())]
    pub allow_http: bool,
    /// What to do with triggers seen for the first time.
    #[arg(long, env = "PIPEKICK_FIRST_SIGHT", value_name = "WHAT", default_value = "Fire")]
    pub first_sight: FirstSight,
    /// Fire nothing; pipelines under way are followed to their end.
    #[arg(long, env = "PIPEKICK_PAUSE", value_parser = BoolishValueParser::new())]
    pub pause: bool,
    /// Watch these namespaces only, such as shop,billing; rights in them are enough then. May be given several times.
    /// Unset: all. Schedules with runBy: GitLab need --cluster-id beside it.
    #[arg(long, env = "PIPEKICK_NAMESPACE", value_name = "NAME", value_delimiter = ',')]
    pub namespace: Vec<String>,
    /// Of several operators let one work and the others stand by, ready to take over. It is for saving work: that
    /// nothing fires twice does not rest on it.
    #[arg(long, env = "PIPEKICK_LEADER_ELECT", value_parser = BoolishValueParser::new())]
    pub leader_elect: bool,
    /// Namespace of the Lease by which they agree. Unset: the one that this operator runs in.
    #[arg(long, env = "PIPEKICK_LEASE_NAMESPACE", value_name = "NAME", requires = "leader_elect", value_parser = namespace)]
    pub lease_namespace: Option<String>,
    /// Name of that Lease. Unset: pipekick.
    #[arg(long, env = "PIPEKICK_LEASE_NAME", value_name = "NAME", requires = "leader_elect", value_parser = name)]
    pub lease_name: Option<String>,
    /// A leader that was silent for so long is followed by the next one, from 3s to 5m. Unset: 15s. A leader that cannot
    /// renew the Lease for two thirds of it ends its process.
    #[arg(long, env = "PIPEKICK_LEASE_DURATION", value_name = "DURATION", requires = "leader_elect")]
    pub lease_duration: Option<Span>,
    /// Longest a request to GitLab may take, from 1s to 5m.
    #[arg(long, env = "PIPEKICK_REQUEST_DEADLINE", value_name = "DURATION", default_value = "30s")]
    pub request_deadline: Span,
    /// GitLab gives a request up after this long, from 1s to 10m. Its own default is 60s; change it only if yours was
    /// changed.
    #[arg(long, env = "PIPEKICK_GITLAB_REQUEST_LIMIT", value_name = "DURATION", default_value = "60s")]
    pub gitlab_request_limit: Span,
    /// A request takes effect within this time, and shows in GitLab's lists, or never: up to 1h, and not less than
    /// --request-deadline and --gitlab-request-limit together, which is the default (90s). Longer is safer, shorter is
    /// quicker: a request whose reply was lost is sent again only after two looks this far apart found no pipeline of it.
    #[arg(long, env = "PIPEKICK_RESOLUTION_DELAY", value_name = "DURATION")]
    pub resolution_delay: Option<Span>,
    /// A pipeline that was asked to be cancelled ends within this time, or it is told that it does not: from 1s to 1h. A
    /// schedule in GitLab whose object was deleted is deleted there within it, or it is told that it was left.
    #[arg(long, env = "PIPEKICK_CANCEL_PATIENCE", value_name = "DURATION", default_value = "5m")]
    pub cancel_patience: Span,
    /// How often a schedule that GitLab runs (runBy: GitLab) is held against its spec when nothing else happens, from 1s
    /// to 1d.
    #[arg(long, env = "PIPEKICK_SCHEDULE_INTERVAL", value_name = "DURATION", default_value = "5m")]
    pub schedule_interval: Span,
    /// Tells this cluster from others in the descriptions of GitLab's schedules (runBy: GitLab). Unset: the uid of
    /// namespace kube-system. A rebuilt cluster that is given the old id finds its schedules again.
    #[arg(long, env = "PIPEKICK_CLUSTER_ID", value_name = "ID")]
    pub cluster_id: Option<String>,
    /// Shortest time between two looks at a running pipeline; it grows to a tenth of the pipeline's age.
    #[arg(long, env = "PIPEKICK_FOLLOW_INTERVAL", value_name = "DURATION", default_value = "5s")]
    pub follow_interval: Span,
    /// First line of a commit with the image updates of several runs, a template in which {{ runs }} is their number. Each
    /// run has a line of its own below it.
    #[arg(
        long,
        env = "PIPEKICK_SHARED_COMMIT_TITLE",
        value_name = "TEMPLATE",
        default_value = SharedTitle::USUAL
    )]
    pub shared_commit_title: String,
    /// Triggers worked on at the same time, from 1 to 1024.
    #[arg(long, env = "PIPEKICK_CONCURRENCY", value_name = "N", default_value = "256", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,
    /// Where /livez and /readyz are served. Port 0 takes a free one and logs it.
    #[arg(long, env = "PIPEKICK_HEALTH_ADDR", value_name = "ADDRESS", default_value = "0.0.0.0:8081", value_parser = address)]
    pub health_addr: SocketAddr,
    /// Where /metrics is served. Port 0 takes a free one and logs it.
    #[arg(long, env = "PIPEKICK_METRICS_ADDR", value_name = "ADDRESS", default_value = "0.0.0.0:8080", value_parser = address)]
    pub metrics_addr: SocketAddr,
    /// Tell the spans of runs to the collector of traces at this base URL, by OTLP over HTTP with Protobuf, such as
    /// http://otel-collector:4318; /v1/traces is added. Unset: none are told.
    #[arg(long, env = "PIPEKICK_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// File with headers for the collector, one a line, such as Authorization: Bearer TOKEN. It is read for each request,
    /// and wants https, or --allow-http.
    #[arg(long, env = "PIPEKICK_OTLP_HEADERS_FILE", value_name = "FILE", requires = "otlp_endpoint")]
    pub otlp_headers_file: Option<std::path::PathBuf>,
    /// PEM file with the CAs by which the collector is believed. Unset: those of the image.
    #[arg(long, env = "PIPEKICK_OTLP_CA_FILE", value_name = "FILE", requires = "otlp_endpoint")]
    pub otlp_ca_file: Option<std::path::PathBuf>,
    /// What is logged, as tracing's filter: info, debug, pipekick=debug,kube=warn.
    #[arg(long, env = "PIPEKICK_LOG_LEVEL", value_name = "FILTER", default_value = "info")]
    pub log_level: String,
    /// How log lines look.
    #[arg(long, env = "PIPEKICK_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}
