//! Numbers that are asked for when Prometheus asks, rather than kept up to date.

use std::fmt::{self, Debug};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::clock;
use crate::gitlab::BudgetLeft;
use crate::runtime::{Rank, Stats};

/// The numbers of a runtime.
type Runtime = Box<dyn Fn() -> Stats + Send + Sync>;
/// What is left of GitLab's rate limits.
type Budget = Box<dyn Fn() -> BudgetLeft + Send + Sync>;

/// What is asked at each scrape.
#[derive(Default)]
pub(super) struct Probes(Mutex<Asked>);

#[derive(Default)]
struct Asked {
    runtimes: Vec<(&'static str, Runtime)>,
    budget: Option<Budget>,
    oldest_unknown: Option<Timestamp>,
}

impl Probes {
    /// Asks a runtime, whose objects are of this kind.
    pub(super) fn runtime(&self, kind: &'static str, runtime: Runtime) {
        self.lock().runtimes.push((kind, runtime));
    }

    /// Asks for what is left of GitLab's rate limits.
    pub(super) fn budget(&self, budget: Budget) {
        self.lock().budget = Some(budget);
    }

    /// Since when the oldest unknown outcome is unknown.
    pub(super) fn oldest_unknown(&self, since: Option<Timestamp>) {
        self.lock().oldest_unknown = since;
    }

    fn lock(&self) -> MutexGuard<'_, Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().runtimes.iter().map(|(kind, _)| kind)).finish()
    }
}

impl Collector for Probes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let asked = self.lock();
        let stats: Vec<(&str, Stats)> =
            asked.runtimes.iter().map(|(kind, runtime)| (*kind, runtime())).collect();
        let left = asked.budget.as_ref().map(|budget| budget()).unwrap_or_default();
        let age = asked.oldest_unknown.map(|since| clock::now().duration_since(since).as_secs().max(0));
        drop(asked);
        let waiting = |rank: Rank| stats.iter().map(|(_, stats)| stats.waiting[rank as usize]).sum();
        let in_flight: usize = stats.iter().map(|(_, stats)| stats.in_flight).sum();
        let panics: u64 = stats.iter().map(|(_, stats)| stats.panics).sum();

        gauges(
            &mut encoder,
            ("objects", "Objects that are known."),
            stats.iter().map(|(kind, stats)| ([("kind", *kind)], stats.objects)),
        )?;
        gauges(
            &mut encoder,
            ("queue_depth", "Objects that wait for a worker."),
            Rank::ALL.into_iter().map(|rank| ([("rank", rank.as_str())], waiting(rank))),
        )?;
        single(
            &mut encoder,
            ("work_in_flight", "Objects that are being worked on."),
            &ConstGauge::new(signed(in_flight)),
        )?;
        single(
            &mut encoder,
            ("panics", "Panics that were caught; each is a bug."),
            &ConstCounter::new(panics),
        )?;
        single(
            &mut encoder,
            (
                "oldest_unknown_run_seconds",
                "How long ago the request was recorded of which nobody has known longest whether it made a pipeline; 0 without any.",
            ),
            &ConstGauge::new(age.unwrap_or_default()),
        )?;
        let BudgetLeft { own, others } = left;
        let told = [("default", own), ("others", others)].into_iter();
        gauges(
            &mut encoder,
            (
                "gitlab_budget",
                "Requests that GitLab still takes before its rate limit, for the credential with the least; not shown while GitLab tells nothing of one.",
            ),
            told.filter_map(|(which, left)| Some(([("gitlab", which)], left?))),
        )
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn single(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    metric: &impl EncodeMetric,
) -> Result<(), fmt::Error> {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn gauges<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    values: impl Iterator<Item = ([(&'a str, &'a str); 1], usize)>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(signed(value)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
