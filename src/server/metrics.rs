//! What the operator counts, in OpenMetrics.
//!
//! A metric is a method here, so that its name and its labels are written once. Labels come from closed sets: no
//! object, project or user text ever becomes a label. Gauges of the runtimes are read when Prometheus asks.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use jiff::Timestamp;
use pipekick_core::decide::image_update::CommitAnswer;
use pipekick_core::domain::Answer;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use super::probes::Probes;
use crate::gitlab::BudgetLeft;
use crate::runtime::Handle;

/// Seconds from cause to POST. Created → POST takes some 10 ms on a quiet cluster; beyond a minute it
/// waits for a rate limit or a credential, and the condition says so.
const CAUSE_TO_POST: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

/// Seconds from when a tick should have fired to its child.
const LATENESS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0, 600.0];

/// All metrics. The methods that count take `&self` and no lock that waits for a scrape.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    probes: Arc<Probes>,
    firings: Family<Firing, Counter<u64, AtomicU64>>,
    requests: Family<Request, Counter<u64, AtomicU64>>,
    cause_to_post: Histogram,
    lateness: Histogram,
    leading: Gauge<i64, AtomicI64>,
    unknown_runs: Gauge<i64, AtomicI64>,
    duplicates: Counter<u64, AtomicU64>,
    commits: Family<Firing, Counter<u64, AtomicU64>>,
    committed: Counter<u64, AtomicU64>,
    spans: Family<Firing, Counter<u64, AtomicU64>>,
}

/// What became of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanEnd {
    /// The collector took them.
    Exported,
    /// They found no room, or were refused.
    Dropped,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Firing {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: &'static str,
    status: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All of them at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("pipekick");
        let probes = Arc::new(Probes::default());
        let (firings, requests) = (Family::default(), Family::default());
        let cause_to_post = Histogram::new(CAUSE_TO_POST);
        let lateness = Histogram::new(LATENESS);
        let (leading, unknown_runs) = (Gauge::default(), Gauge::default());
        let duplicates = Counter::default();
        let (commits, committed) = (Family::default(), Counter::default());
        let spans = Family::default();
        registry.register(
            "build",
            "The operator's version",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register("firings", "POSTs that start a pipeline, by what became of them", firings.clone());
        registry.register(
            "gitlab_requests",
            "Requests to GitLab, by route and HTTP status; \"none\" without an answer",
            requests.clone(),
        );
        registry.register(
            "cause_to_post_seconds",
            "From what made a run due to the POST that starts its pipeline",
            cause_to_post.clone(),
        );
        registry.register(
            "schedule_lateness_seconds",
            "From when a tick should have fired, its jitter included, to the PipelineTrigger that was created for it",
            lateness.clone(),
        );
        registry.register(
            "leading",
            "1 while this operator works, 0 while it stands by for another",
            leading.clone(),
        );
        registry.register(
            "unknown_runs",
            "Runs of which nobody knows yet whether a pipeline exists",
            unknown_runs.clone(),
        );
        registry.register(
            "duplicate_pipelines",
            "Pipelines seen that carry the name of another one's run; must be 0",
            duplicates.clone(),
        );
        registry.register(
            "commits",
            "Commits of image updates that were sent, by what became of them",
            commits.clone(),
        );
        registry.register(
            "committed_image_updates",
            "Image updates that GitLab answered to have committed; several share a commit",
            committed.clone(),
        );
        registry.register(
            "spans",
            "Spans of runs, by what became of them; only with --otlp-endpoint",
            spans.clone(),
        );
        registry.register_collector(Box::new(Arc::clone(&probes)));
        Self {
            registry,
            probes,
            firings,
            requests,
            cause_to_post,
            lateness,
            leading,
            unknown_runs,
            duplicates,
            commits,
            committed,
            spans,
        }
    }

    /// Shows this runtime's numbers, its objects under `kind`.
    pub fn observe_runtime<R: Send + Sync + 'static>(&self, kind: &'static str, handle: Handle<R>) {
        self.probes.runtime(kind, Box::new(move || handle.stats()));
    }

    /// A POST that starts a pipeline was answered, or was not.
    pub fn fired(&self, answer: &Answer) {
        self.firings.get_or_create(&Firing { outcome: answer.word() }).inc();
    }

    /// A commit of so many image updates was answered, or was not.
    pub fn committed(&self, answer: &CommitAnswer, updates: usize) {
        let outcome = match answer {
            CommitAnswer::Committed { .. } => {
                self.committed.inc_by(u64::try_from(updates).unwrap_or(u64::MAX));
                "committed"
            }
            CommitAnswer::Conflict { .. } => "conflict",
            CommitAnswer::Refused { .. } => "refused",
            CommitAnswer::Throttled { .. } => "throttled",
            CommitAnswer::NotSent { .. } => "not_sent",
            CommitAnswer::Unknown { .. } => "unknown",
        };
        self.commits.get_or_create(&Firing { outcome }).inc();
    }

    /// So many spans were taken by the collector, or given up.
    pub fn spans(&self, end: SpanEnd, spans: u64) {
        let outcome = match end {
            SpanEnd::Exported => "exported",
            SpanEnd::Dropped => "dropped",
        };
        self.spans.get_or_create(&Firing { outcome }).inc_by(spans);
    }

    /// A request to GitLab ended. `route` is a pattern such as `/projects/:id/pipelines`, never a path; without an
    /// answer there is no status.
    pub fn gitlab_request(&self, route: &'static str, status: Option<u16>) {
        let status = status.map_or_else(|| "none".into(), |status| status.to_string());
        self.requests.get_or_create(&Request { route, status }).inc();
    }

    /// So long after its cause a run was POSTed for the first time.
    pub fn cause_to_post(&self, waited: Duration) {
        self.cause_to_post.observe(waited.as_secs_f64());
    }

    /// A tick made its child so long after it should have fired.
    pub fn tick_fired(&self, late: Duration) {
        self.lateness.observe(late.as_secs_f64());
    }

    /// Another pipeline carries the name of a run that has one.
    pub fn duplicate_seen(&self) {
        self.duplicates.inc();
    }

    /// This process works from now on.
    pub fn leads(&self) {
        self.leading.set(1);
    }

    /// How many runs have an unknown outcome now, and when the request of the oldest was recorded.
    pub fn unknown_runs(&self, runs: usize, oldest: Option<Timestamp>) {
        self.unknown_runs.set(i64::try_from(runs).unwrap_or(i64::MAX));
        self.probes.oldest_unknown(oldest);
    }

    /// Shows what is left of GitLab's rate limits.
    pub fn observe_budget(&self, left: impl Fn() -> BudgetLeft + Send + Sync + 'static) {
        self.probes.budget(Box::new(left));
    }

    /// The exposition, as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use pipekick_core::domain::ObjectKey;

    use super::*;
    use crate::runtime::{Sighted, Version};

    #[test]
    fn it_says_what_was_counted_under_the_documented_names() {
        let (metrics, handle) = (Metrics::new(), Handle::<()>::new());
        metrics.observe_runtime("PipelineTrigger", handle.clone());
        metrics.observe_runtime("PipelineSchedule", Handle::<u8>::new());
        metrics.fired(&Answer::Unknown { message: "a timeout".into() });
        metrics.gitlab_request("/projects/:id/pipelines", Some(200));
        metrics.gitlab_request("/projects/:id/pipelines", None);
        metrics.cause_to_post(Duration::from_millis(12));
        metrics.tick_fired(Duration::from_millis(8));
        let ago = crate::clock::now() - jiff::SignedDuration::from_mins(10);
        metrics.unknown_runs(3, Some(ago));
        metrics.observe_budget(|| BudgetLeft { own: Some(0), others: None });
        metrics.committed(&CommitAnswer::Committed { commit: "c".into() }, 7);
        metrics.committed(&CommitAnswer::Conflict { message: "rival".into() }, 7);
        metrics.spans(SpanEnd::Exported, 3);
        metrics.spans(SpanEnd::Dropped, 1);
        let key = ObjectKey { namespace: "ns".into(), name: "x".into() };
        assert!(!handle.put_own(Sighted {
            key,
            uid: "u".into(),
            version: Version::parse("1"),
            record: ().into()
        }));
        let text = metrics.encode();
        for line in [
            concat!("pipekick_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "pipekick_objects{kind=\"PipelineTrigger\"} 0",
            "pipekick_objects{kind=\"PipelineSchedule\"} 0",
            "pipekick_queue_depth{rank=\"firing\"} 0",
            "pipekick_queue_depth{rank=\"bookkeeping\"} 0",
            "pipekick_work_in_flight 0",
            "pipekick_panics_total 0",
            "pipekick_firings_total{outcome=\"unknown\"} 1",
            "pipekick_gitlab_requests_total{route=\"/projects/:id/pipelines\",status=\"200\"} 1",
            "pipekick_gitlab_requests_total{route=\"/projects/:id/pipelines\",status=\"none\"} 1",
            "pipekick_cause_to_post_seconds_bucket{le=\"0.01\"} 0",
            "pipekick_cause_to_post_seconds_bucket{le=\"0.025\"} 1",
            "pipekick_schedule_lateness_seconds_bucket{le=\"0.01\"} 1",
            "pipekick_schedule_lateness_seconds_bucket{le=\"600.0\"} 1",
            "pipekick_unknown_runs 3",
            "pipekick_oldest_unknown_run_seconds 600",
            "pipekick_gitlab_budget{gitlab=\"default\"} 0",
            "pipekick_commits_total{outcome=\"committed\"} 1",
            "pipekick_commits_total{outcome=\"conflict\"} 1",
            "pipekick_committed_image_updates_total 7",
            "pipekick_spans_total{outcome=\"exported\"} 3",
            "pipekick_spans_total{outcome=\"dropped\"} 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("gitlab=\"others\""), "what is not known is not shown: {text}");
        metrics.unknown_runs(0, None);
        assert!(metrics.encode().contains("\npipekick_oldest_unknown_run_seconds 0\n"));
    }
}
