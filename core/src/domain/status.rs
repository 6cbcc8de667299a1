//! The status of a `PipelineTrigger`: facts (what was decided and happened) and their summary (phase,
//! message, conditions), which [`crate::decide::summary`] derives from the facts alone.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Digest;
use super::run::{HistoryEntry, Place, Run, is_zero};

//           ┌────────────────────────── NotSent, throttled ───────────────────────┐
//           ▼                                                                      │
// Idle → Pending → Firing ─ 201 → Running → Succeeded | Failed | Canceled | Skipped | TimedOut
//                    │ ├─ 201, no access token → Fired                             │
//                    │ ├─ refused → Rejected ── tried again every 10 min ──────────┤
//                    │ └─ anything else → Unknown ─ found → Running                │
//                    └──── (lost) ─────────┘   │ ├─ proven absent ────────────────┘
//                                              │ └─ cannot tell → Held
//
// Running ─ failed → Retrying ─ new jobs → Retrying ─ → Succeeded | Failed …     (spec.retry, pipekick.dev/retry)
// Succeeded | Failed | Canceled | Skipped ─ its pipeline runs again → Running

/// Where a trigger, or a run of it, stands. Idle: nothing was asked yet. Pending: waits to be sent; the message says for
/// what. Firing: the request is on its way. Unknown: it was sent, or may have been, and its outcome is being looked for.
/// Running: the pipeline is followed. Retrying: its failed jobs run again. Succeeded, Failed, Canceled, Skipped: as
/// the pipeline ended. Fired: the pipeline was created and is not followed, for want of an access token. Rejected: GitLab
/// refused, or the spec cannot be fired; no pipeline exists. Held: waits for a person. TimedOut: took longer than timeout.
/// Superseded: replaced by a newer cause. Suspended: spec.suspend is set, or the operator paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Waits to be sent.
    Pending,
    /// The intent is recorded; the request is on its way.
    Firing,
    /// The request was sent, or may have been, and its outcome is not known.
    Unknown,
    /// The pipeline exists and is followed.
    Running,
    /// Failed jobs were started again.
    Retrying,
    /// The pipeline succeeded.
    Succeeded,
    /// The pipeline was created; it is not followed, for want of an access token.
    Fired,
    /// The pipeline failed.
    Failed,
    /// The pipeline was cancelled.
    Canceled,
    /// GitLab skipped the pipeline.
    Skipped,
    /// GitLab refused, or the spec cannot be fired: no pipeline exists.
    Rejected,
    /// Waits for a person.
    Held,
    /// Took longer than `timeout`.
    TimedOut,
    /// Replaced by a newer cause.
    Superseded,
    /// `suspend` is set, or the operator is paused.
    Suspended,
    /// Nothing was asked yet.
    Idle,
}

impl Phase {
    /// Whether a run in this phase is still under way; every other phase is an end.
    #[must_use]
    pub const fn is_active(self) -> bool {
        match self {
            Self::Pending | Self::Firing | Self::Unknown | Self::Running | Self::Retrying => true,
            Self::Succeeded
            | Self::Fired
            | Self::Failed
            | Self::Canceled
            | Self::Skipped
            | Self::Rejected
            | Self::Held
            | Self::TimedOut
            | Self::Superseded
            | Self::Suspended
            | Self::Idle => false,
        }
    }
}

/// A condition's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Not known yet.
    Unknown,
}

/// A Kubernetes condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Ready, Reconciling, Stalled, Fired, Succeeded or ImagesUpdated.
    #[serde(rename = "type")]
    pub kind: String,
    /// True, False or Unknown.
    pub status: Truth,
    /// A word for programs; all of them stand in the documentation.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// When `status` last changed.
    pub last_transition_time: Timestamp,
    /// The generation of spec that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// An annotation value that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Handled {
    /// The annotation's value.
    pub value: String,
    /// How it was answered.
    pub answer: Answered,
}

/// How an annotation was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Answered {
    /// A run was started for it.
    Fired,
    /// A child of the schedule ran for this value before and is still there: nothing is run twice for one value.
    AlreadyRun,
    /// It stood there when the object was first seen, and `fireOn` (or `--first-sight=Hold`) does not fire that.
    Recorded,
    /// A newer request came while it waited; one run answers both.
    Collapsed,
    /// The object is suspended or the operator paused: dropped.
    Suspended,
    /// The run is sent again.
    Refired,
    /// The run was given up.
    Abandoned,
    /// The pipeline was taken as the run's.
    Adopted,
    /// It names another run, or one that is not to be resolved.
    Ignored,
    /// The value says nothing that can be done.
    Invalid,
    /// There is no such pipeline in the run's project.
    NotFound,
    /// The run was cancelled; nothing had come of it, and nothing is sent any more.
    Canceled,
    /// The run's pipeline is being cancelled; how that goes stands in the run. To a request to retry: so nothing is
    /// started again.
    Canceling,
    /// The pipeline's failed jobs are started again.
    Retried,
    /// The run has no pipeline that failed by its jobs, or it runs again already.
    NothingFailed,
    /// Without an access token nothing can be done about the pipeline.
    NotFollowed,
    /// GitLab refused; an Event and the run's message say why.
    Refused,
    /// A run of the schedule is still active and its concurrencyPolicy is Forbid: dropped.
    Forbidden,
    /// GitLab runs the schedule (runBy: GitLab): play it there.
    RunByGitLab,
    /// The pipeline is another one's: of another ref or source, or it carries another run's name.
    NotItsOwn,
}

/// The annotation values that were answered, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastHandled {
    /// The newest value of the annotation pipekick.dev/fire that was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fire: Option<Handled>,
    /// The newest value of the annotation pipekick.dev/resolve that was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolve: Option<Handled>,
    /// The newest value of the annotation pipekick.dev/cancel that was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Handled>,
    /// The newest value of the annotation pipekick.dev/retry that was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Handled>,
}

impl LastHandled {
    fn is_empty(&self) -> bool {
        let Self { fire, resolve, cancel, retry } = self;
        fire.is_none() && resolve.is_none() && cancel.is_none() && retry.is_none()
    }
}

/// A cause that waits for the end of the run under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// Since when one waits.
    pub since: Timestamp,
    /// Digest of the firing fields, where they differ from those decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The value of `pipekick.dev/fire`, where it asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// How many others were seen to wait, and were replaced by this one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub collapsed: u32,
}

/// A pipeline that left the history and is to be deleted in GitLab, by `historyDeletesPipelines`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deletion {
    /// GitLab's id of the pipeline.
    pub pipeline_id: u64,
    /// Where it is.
    pub place: Place,
    /// Requests that GitLab neither followed nor refused.
    #[serde(default)]
    pub tries: u32,
    /// When the next one is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
}

/// What Pipekick knows and did. Written by the operator alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TriggerStatus {
    /// The generation of spec that this status speaks of; -1 until the operator has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Digest of the firing fields last decided on: fired, or taken as the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_digest: Option<Digest>,
    /// Where the trigger stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Where the trigger stands, and why, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Annotation values that were answered, and how.
    #[serde(default, skip_serializing_if = "LastHandled::is_empty")]
    pub last_handled: LastHandled,
    /// The current or last run.
    // Boxed: a trigger without one, and a crowd of those may wait, has no room for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Box<Run>>,
    /// The cause that waits for the run to end, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// Earlier runs, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,
    /// Pipelines of runs that left the history, until GitLab has deleted them or refused to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deletions: Vec<Deletion>,
    /// Ready, Reconciling, Stalled, Fired, Succeeded, ImagesUpdated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl TriggerStatus {
    /// The run that is under way, if one is.
    #[must_use]
    pub fn active_run(&self) -> Option<&Run> {
        self.run.as_deref().filter(|run| run.is_active())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_untouched_status_reads_and_writes_as_little_as_the_schema_gives() {
        let fresh: TriggerStatus = serde_json::from_str("{\"observedGeneration\": -1}").unwrap();
        assert_eq!((fresh.observed_generation, fresh.active_run()), (Some(-1), None));
        assert_eq!(serde_json::to_value(&fresh).unwrap(), serde_json::json!({"observedGeneration": -1}));
        assert_eq!(serde_json::to_value(TriggerStatus::default()).unwrap(), serde_json::json!({}));
    }

    #[test]
    fn a_condition_reads_as_kubernetes_writes_it() {
        let stored = serde_json::json!({
            "type": "Ready", "status": "False", "reason": "RefNotFound", "message": "m",
            "lastTransitionTime": "2026-11-01T12:00:00Z", "observedGeneration": 3,
        });
        let condition: Condition = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(serde_json::to_value(condition).unwrap(), stored);
    }
}
