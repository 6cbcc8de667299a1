//! What the spans of a run say: one for the run, from when it was due to its outcome, and one below it for each POST.
//!
//! Everything is read from the run's record, names included, so that it does not matter which process tells. A run that
//! goes on after its end (a refused one is tried again, a pipeline is run again) was told by then; what comes of that is a
//! span below.
//!
//! What stands here stands in log lines too: no variable, no token, no URL of GitLab's.

use jiff::Timestamp;

use crate::domain::trace::{Again, SpanId, TraceId};
use crate::domain::{
    Answer, AttemptKey, FireId, GitLabUrl, ObjectKey, Phase, Reason, Run, RunTrace, TraceParent,
};

/// Something that took time, as a collector of traces is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSpan {
    /// What it is, in a few words that many share.
    pub name: &'static str,
    /// Whether it is a request to somebody else.
    pub is_request: bool,
    /// The trace it belongs to.
    pub trace: TraceId,
    /// Its own name.
    pub id: SpanId,
    /// The span it is a part of.
    pub parent: Option<SpanId>,
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// What is to be known of it.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

impl Attribute {
    fn count(number: impl TryInto<i64>) -> Self {
        Self::Number(number.try_into().unwrap_or(i64::MAX))
    }

    fn text(text: &(impl ToString + ?Sized)) -> Self {
        Self::Text(text.to_string())
    }
}

/// A POST that was answered, or was not.
#[derive(Debug, Clone, Copy)]
pub struct Post<'a> {
    /// The write of its intent.
    pub key: &'a AttemptKey,
    /// The path of GitLab's API, as a pattern.
    pub route: &'static str,
    /// The HTTP status, if an answer came.
    pub status: Option<u16>,
    /// What it came to.
    pub answer: &'a Answer,
    /// When it was sent.
    pub start: Timestamp,
    /// When that was known.
    pub end: Timestamp,
}

/// The context that a run hands on: others put their spans below the run's.
#[must_use]
pub fn context(run: &Run) -> TraceParent {
    let RunNames { trace, span, parent: _, sampled } = names(run);
    TraceParent { trace, span, sampled }
}

struct RunNames {
    trace: TraceId,
    span: SpanId,
    parent: Option<SpanId>,
    sampled: bool,
}

fn names(run: &Run) -> RunNames {
    let fire_id = run.fire_id.as_str();
    let span = SpanId::of(&["span", fire_id]);
    let asked = run.trace.as_ref().and_then(|trace| trace.parent.as_ref()?.parse::<TraceParent>().ok());
    match asked {
        Some(TraceParent { trace, span: parent, sampled }) => {
            RunNames { trace, span, parent: Some(parent), sampled }
        }
        None => RunNames { trace: TraceId::of(&["trace", fire_id]), span, parent: None, sampled: true },
    }
}

/// The span of a run that has ended. `tick` is the one that a schedule made the object for.
///
/// None where who began the trace does not want it told, and where nothing is new: a refusal that stays one.
#[must_use]
pub fn of_run(key: &ObjectKey, tick: Option<Timestamp>, run: &Run) -> Option<TraceSpan> {
    let RunNames { trace, span, parent, sampled } = names(run);
    if !sampled {
        return None;
    }
    let end = run.finished_at?;
    let (due_at, again) = match &run.trace {
        Some(RunTrace { due_at, parent: _, again }) => (*due_at, *again),
        None => (run.intended_at, None),
    };
    let told = TraceSpan {
        name: "pipeline run",
        is_request: false,
        trace,
        id: span,
        parent,
        // Only the first run of a child is its tick's.
        start: tick.filter(|_| run.seq == 1).map_or(due_at, |tick| tick.min(due_at)),
        end,
        attributes: attributes_of(key, run),
        error: failure(run),
    };
    match again {
        None => Some(told),
        Some(Again { since: _, after: Phase::Rejected }) if run.phase == Phase::Rejected => None,
        Some(Again { since, after: _ }) => Some(TraceSpan {
            name: "pipeline run, again",
            id: SpanId::of(&["again", run.fire_id.as_str(), &since.as_nanosecond().to_string()]),
            parent: Some(span),
            start: since,
            ..told
        }),
    }
}

/// The span of one POST of a run.
#[must_use]
pub fn of_post(key: &ObjectKey, run: &Run, post: &Post<'_>) -> Option<TraceSpan> {
    let RunNames { trace, span, parent: _, sampled } = names(run);
    let Post { key: AttemptKey { fire_id, count, at, by }, route, status, answer, start, end } = *post;
    if !sampled {
        return None;
    }
    let mut attributes = common(key, run, fire_id);
    attributes.push(("pipekick.attempt", Attribute::count(*count)));
    attributes.push(("pipekick.outcome", Attribute::text(answer.word())));
    attributes.push(("http.request.method", Attribute::text("POST")));
    attributes.push(("http.route", Attribute::text(route)));
    attributes.extend(status.map(|status| ("http.response.status_code", Attribute::count(status))));
    if let Answer::Accepted(pipeline) = answer {
        attributes.push(("cicd.pipeline.run.id", Attribute::text(&pipeline.id)));
    }
    Some(TraceSpan {
        name: "POST pipeline",
        is_request: true,
        trace,
        id: SpanId::of(&["post", fire_id.as_str(), &count.to_string(), &at.as_nanosecond().to_string(), by]),
        parent: Some(span),
        start,
        end,
        attributes,
        error: match answer {
            Answer::Accepted(_) => None,
            Answer::FailedAtBirth { message } | Answer::Unknown { message } => Some(message.clone()),
            Answer::Refused { reason, message }
            | Answer::Throttled { reason, message, until: _ }
            | Answer::NotSent { reason, message } => Some(because(*reason, message)),
        },
    })
}

fn common(key: &ObjectKey, run: &Run, fire_id: &FireId) -> Vec<(&'static str, Attribute)> {
    let ObjectKey { namespace, name } = key;
    let mut attributes = vec![
        ("pipekick.fire_id", Attribute::text(fire_id)),
        ("k8s.namespace.name", Attribute::text(namespace)),
        ("pipekick.trigger", Attribute::text(name)),
        ("pipekick.run", Attribute::count(run.seq)),
        ("pipekick.project", Attribute::text(&run.target.project)),
        ("vcs.ref.head.name", Attribute::text(&run.target.git_ref)),
    ];
    // As it was parsed: whatever else a text could hold is left out.
    let url = run.target.url.parse::<GitLabUrl>().ok();
    attributes.extend(url.map(|url| ("pipekick.gitlab", Attribute::text(url.authority()))));
    attributes
}

fn attributes_of(key: &ObjectKey, run: &Run) -> Vec<(&'static str, Attribute)> {
    let mut attributes = common(key, run, &run.fire_id);
    attributes.push(("pipekick.cause", Attribute::Text(format!("{:?}", run.cause))));
    attributes.push(("pipekick.outcome", Attribute::Text(format!("{:?}", run.phase))));
    attributes.extend(run.reason.map(|reason| ("pipekick.reason", Attribute::text(&reason))));
    let attempts = run.attempt.as_ref().map_or(0, |attempt| attempt.count);
    attributes.push(("pipekick.attempts", Attribute::count(attempts)));
    let retries = run.retry.as_ref().map_or(0, |retry| retry.count);
    attributes.push(("pipekick.retries", Attribute::count(retries)));
    let pipeline = run.pipeline.as_ref();
    attributes.extend(pipeline.map(|pipeline| ("cicd.pipeline.run.id", Attribute::text(&pipeline.id))));
    attributes
}

fn because(reason: Reason, message: &str) -> String {
    format!("{reason}: {message}")
}

/// Why a run that has ended did not do what it was for.
fn failure(run: &Run) -> Option<String> {
    let failed = match run.phase {
        Phase::Failed | Phase::Rejected | Phase::TimedOut => true,
        // Nothing failed yet where it only waits to be asked.
        Phase::Held => run.reason != Some(Reason::FirstSight),
        Phase::Succeeded
        | Phase::Fired
        | Phase::Canceled
        | Phase::Skipped
        | Phase::Superseded
        | Phase::Suspended
        | Phase::Idle
        | Phase::Pending
        | Phase::Firing
        | Phase::Unknown
        | Phase::Running
        | Phase::Retrying => false,
    };
    let message = run.message.as_deref().unwrap_or_default();
    failed.then(|| run.reason.map_or_else(|| message.to_owned(), |reason| because(reason, message)))
}
