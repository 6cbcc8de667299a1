//! A run: one firing of a trigger and everything that follows from it. Its record stands in status and is
//! written before anything is sent.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::trace::RunTrace;
use super::update_record::UpdateRecord;
use super::{Digest, FailedJob, FireId, Phase, Pipeline, Reason, Tests};

/// Why a run exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The object was seen for the first time.
    Apply,
    /// A firing field was changed.
    Change,
    /// Somebody asked, with this value of `pipekick.dev/fire`.
    Request(String),
}

impl Cause {
    /// Its word, and the value asked.
    #[must_use]
    pub fn parts(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Apply => ("Apply", None),
            Self::Change => ("Change", None),
            Self::Request(value) => ("Request", Some(value)),
        }
    }
}

/// The word of a cause, as it stands in status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CauseKind {
    /// First sight.
    Apply,
    /// A firing field was changed.
    Change,
    /// The annotation `pipekick.dev/fire`.
    Request,
}

/// Who wanted a run cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CancelCause {
    /// The annotation `pipekick.dev/cancel`.
    Action,
    /// `concurrencyPolicy: Replace`.
    Replace,
    /// `cancelOnTimeout`.
    Timeout,
    /// `deletionPolicy: Cancel`.
    Deletion,
}

/// One key of a Secret in the object's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    pub name: String,
    /// Key in its data.
    pub key: String,
}

/// What kind of object holds a CA bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum BundleKind {
    /// A `ConfigMap`: certificates are no secret.
    ConfigMap,
    /// A Secret, where the bundle stands beside other things.
    Secret,
}

impl BundleKind {
    /// The kind's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

/// One key, in the object's namespace, with the certificates of the CAs that a GitLab's own is signed by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct CaBundleRef {
    /// What holds it.
    pub kind: BundleKind,
    /// Its name.
    pub name: String,
    /// Key in its data.
    pub key: String,
}

/// What a GitLab is asked with, beside firing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Access {
    /// The access token.
    pub token: SecretKeyRef,
    /// Whom to believe that it is this GitLab; the system's CAs without one.
    pub ca_bundle: Option<CaBundleRef>,
}

/// Where a run went: it is followed there whatever spec says later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The GitLab instance.
    pub url: String,
    /// The project, as it was named.
    pub project: String,
    /// The branch or tag, as it was named.
    #[serde(rename = "ref")]
    pub git_ref: String,
    /// The Secret key of the trigger token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<SecretKeyRef>,
    /// The Secret key of the access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<SecretKeyRef>,
    /// The CA bundle that GitLab was believed by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<CaBundleRef>,
}

impl Target {
    /// From now on it is looked at with this, whatever becomes of spec.
    pub fn look_with(&mut self, access: Option<Access>) {
        let (token, ca_bundle) =
            access.map_or((None, None), |Access { token, ca_bundle }| (Some(token), ca_bundle));
        (self.access, self.ca_bundle) = (token, ca_bundle);
    }
}

/// What is known of the last POST of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LastAttempt {
    /// Nothing left this process: no credential, no connection.
    NotSent,
    /// GitLab answered that it made no pipeline.
    Refused,
    /// It was sent, or may have been, and no answer is known.
    Unknown,
    /// A pipeline exists.
    Accepted,
}

/// The POSTs of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// How many were intended; each is recorded before it is sent.
    pub count: u32,
    /// What is known of the last one.
    pub last: LastAttempt,
    /// When the last one was intended.
    pub at: Timestamp,
    /// The operator process that recorded the intent; no other sends it.
    pub by: String,
    /// When the next one is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// Whether the request carried the run's name, so that its pipeline can be told from others.
    #[serde(default)]
    pub marked: bool,
    /// What kept the one before from making a pipeline: it is told once, not at each attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Reason>,
    /// When a look at GitLab first found no pipeline of this run. A second one, a good while later, proves
    /// that there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent_at: Option<Timestamp>,
    /// The same by GitLab's clock, as the answer to that look told it: processes come and go, and their clocks
    /// may be stepped; GitLab's goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent_at_gitlab: Option<Timestamp>,
    /// Whether the run was ever sent again without proof that the request before made nothing, as
    /// `onUnknown: Refire` or `pipekick.dev/resolve` wanted: a second pipeline is no fault then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unproven: bool,
    /// When to look once more whether a second pipeline carries the run's name: after a repeat was accepted, and
    /// after a pipeline was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_at: Option<Timestamp>,
}

impl Attempt {
    /// Whether the POST before this one was lost too.
    #[must_use]
    pub fn is_lost_again(&self) -> bool {
        self.trouble == Some(Reason::OutcomeUnknown)
    }
}

/// Names one POST by the write of its intent. What a process knows of a POST is filed under it.
///
/// Run and number are not enough: an intent whose write was lost and the one written in its place have both
/// in common, and what is known of the one (nothing was sent) must never be taken for the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AttemptKey {
    /// The run.
    pub fire_id: FireId,
    /// The number of the POST in that run, from 1.
    pub count: u32,
    /// When the intent was written.
    pub at: Timestamp,
    /// Who wrote it.
    pub by: String,
}

/// How far the newest retry of a run's pipeline has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RetryState {
    /// It waits for `nextAt`.
    Waiting,
    /// Its request was sent, or may have been, and no new job has been seen yet.
    Unknown,
    /// Failed jobs run again, or have.
    Started,
    /// GitLab does not start them again.
    Refused,
}

/// How often the failed jobs of a run's pipeline were started again, and what is known of the last time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// How often failed jobs were started again. Counted when new jobs are seen after a request was recorded,
    /// whoever made them.
    pub count: u32,
    /// How far the newest retry has come.
    pub state: RetryState,
    /// When the request is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// Ids of the jobs (the newest 5) that had failed when the request was recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub job_ids: Vec<u64>,
    /// When the last request was recorded, before it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The operator process that recorded it; no other sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Requests recorded for the newest retry, those not counted that GitLab put off. Those before the last one had no
    /// effect.
    #[serde(default)]
    pub tries: u32,
    /// How often the newest retry was put off: GitLab had no time for it, or could not be reached.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub put_off: u32,
    /// The value of `pipekick.dev/retry` that asked for it, rather than `spec.retry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
}

/// Names one request to start failed jobs again by the write of its intent, as [`AttemptKey`] does for a POST.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RetryKey {
    /// The run.
    pub fire_id: FireId,
    /// When the intent was written.
    pub at: Timestamp,
    /// Who wrote it.
    pub by: String,
}

/// Names a stretch of a pipeline's life as its run tells it: under way, waiting for a retry, ended, run again.
/// What was seen in one stretch says nothing of the next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stretch {
    /// The pipeline.
    pub pipeline_id: u64,
    /// How often its failed jobs were started again.
    pub retries: u32,
    /// When they are, next.
    pub next_at: Option<Timestamp>,
    /// When that was last recorded.
    pub retry_at: Option<Timestamp>,
    /// When it was seen to run again after its end.
    pub resumed_at: Option<Timestamp>,
    /// When its end was seen.
    pub finished_at: Option<Timestamp>,
}

/// One firing and what followed from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Number of the run, from 1; actions such as `pipekick.dev/resolve` name it.
    pub seq: u64,
    /// The run's name. It travels with the request, and a lost pipeline is found again by it.
    pub fire_id: FireId,
    /// Why it was fired: Apply, Change or Request.
    pub cause: CauseKind,
    /// The value of `pipekick.dev/fire` that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// How many causes that waited before it, and were never fired themselves, it answers too.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub collapsed: u32,
    /// Digest of the firing fields it was fired for.
    pub digest: Digest,
    /// Where it was sent.
    pub target: Target,
    /// Where the run itself stands; `status.phase` is the object's.
    pub phase: Phase,
    /// Why it stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Where the run stands, and why, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The POSTs sent for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// When the intent was recorded, before anything was sent.
    pub intended_at: Timestamp,
    /// The same by GitLab's clock, where an earlier answer of it had told the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intended_at_gitlab: Option<Timestamp>,
    /// When GitLab accepted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fired_at: Option<Timestamp>,
    /// Since when its pipeline is to be cancelled. Recorded before GitLab is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_requested_at: Option<Timestamp>,
    /// Who wanted that: Action (pipekick.dev/cancel), Replace (concurrencyPolicy), Timeout (cancelOnTimeout)
    /// or Deletion (deletionPolicy).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_requested_by: Option<CancelCause>,
    /// When its end was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// When its pipeline was seen to run again after its end; `timeout` counts from then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_at: Option<Timestamp>,
    /// The name its pipeline is given, by `spec.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Why GitLab did not let the pipeline be named; that does not fail the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_refused: Option<Reason>,
    /// Retries of its failed pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Its pipeline in GitLab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<Pipeline>,
    /// Other pipelines that carry the run's name, at most 10 of them. There should be none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub duplicates: Vec<u64>,
    /// Jobs that failed, newest first, at most 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_jobs: Vec<FailedJob>,
    /// The pipeline's test reports, summed up at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<Tests>,
    /// Ids of the pipelines that its trigger jobs started, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub downstream: Vec<u64>,
    /// What becomes of `spec.imageUpdates`, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_updates: Vec<UpdateRecord>,
    /// For its spans, where the operator exports them (--otlp-endpoint).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<RunTrace>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(super) const fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Run {
    /// Whether it still waits for something: no other run starts beside it.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.phase.is_active() || self.is_updating()
    }

    /// Whether its pipeline has ended in a way that leaves something to run again.
    #[must_use]
    pub fn has_ended_pipeline(&self) -> bool {
        let ended = matches!(self.phase, Phase::Succeeded | Phase::Failed | Phase::Canceled | Phase::Skipped);
        let gone = matches!(self.reason, Some(Reason::PipelineGone | Reason::PipelineFailedAtBirth));
        ended && !gone && self.pipeline.is_some()
    }

    /// Whether its pipeline has ended, and image updates are still to be made for that end.
    #[must_use]
    pub fn is_updating(&self) -> bool {
        let open = |update: &UpdateRecord| update.state.is_active() && update.is_due(self.phase);
        self.has_ended_pipeline() && self.image_updates.iter().any(open)
    }

    /// Since when its pipeline is to be cancelled, and who wanted it.
    #[must_use]
    pub fn cancel_request(&self) -> Option<(Timestamp, CancelCause)> {
        self.cancel_requested_at.zip(self.cancel_requested_by)
    }

    /// The name of its last POST, if one was intended.
    #[must_use]
    pub fn attempt_key(&self) -> Option<AttemptKey> {
        let Attempt { count, at, by, .. } = self.attempt.as_ref()?;
        Some(AttemptKey { fire_id: self.fire_id.clone(), count: *count, at: *at, by: by.clone() })
    }

    /// The name of the last request to start failed jobs again, if one was recorded.
    #[must_use]
    pub fn retry_key(&self) -> Option<RetryKey> {
        let retry = self.retry.as_ref()?;
        Some(RetryKey { fire_id: self.fire_id.clone(), at: retry.at?, by: retry.by.clone()? })
    }

    /// The stretch of its pipeline's life that this record tells of, if it has a pipeline.
    #[must_use]
    pub fn stretch(&self) -> Option<Stretch> {
        let retry = self.retry.as_ref();
        Some(Stretch {
            pipeline_id: self.pipeline.as_ref()?.id,
            retries: retry.map_or(0, |retry| retry.count),
            next_at: retry.and_then(|retry| retry.next_at),
            retry_at: retry.and_then(|retry| retry.at),
            resumed_at: self.resumed_at,
            finished_at: self.finished_at,
        })
    }

    /// The record that stays in history.
    #[must_use]
    pub fn to_history(&self) -> HistoryEntry {
        HistoryEntry {
            seq: self.seq,
            fire_id: self.fire_id.clone(),
            cause: self.cause,
            request: self.request.clone(),
            digest: self.digest.clone(),
            phase: self.phase,
            pipeline_id: self.pipeline.as_ref().map(|p| p.id),
            place: self.pipeline.as_ref().map(|pipeline| Place {
                url: self.target.url.clone(),
                project: self.target.project.clone(),
                project_id: pipeline.project_id,
                access: self.target.access.clone(),
                ca_bundle: self.target.ca_bundle.clone(),
            }),
            fired_at: self.fired_at,
            finished_at: self.finished_at,
        }
    }
}

/// Where the pipeline of an earlier run is: it is deleted there whatever spec says later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The GitLab instance.
    pub url: String,
    /// The project, as it was named.
    pub project: String,
    /// The project's numeric id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<u64>,
    /// The Secret key of the access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<SecretKeyRef>,
    /// The CA bundle that GitLab was believed by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<CaBundleRef>,
}

/// An earlier run, compact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Number of the run.
    pub seq: u64,
    /// The run's name.
    pub fire_id: FireId,
    /// Why it was fired.
    pub cause: CauseKind,
    /// The value of `pipekick.dev/fire` that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Digest of the firing fields it was fired for.
    pub digest: Digest,
    /// How it ended.
    pub phase: Phase,
    /// GitLab's id of its pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_id: Option<u64>,
    /// Where the pipeline is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// When GitLab accepted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fired_at: Option<Timestamp>,
    /// When its end was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_told_by_the_name_of_its_kind() {
        assert_eq!(
            [BundleKind::ConfigMap, BundleKind::Secret].map(BundleKind::as_str),
            ["ConfigMap", "Secret"]
        );
    }

    #[test]
    fn a_cause_is_told_by_its_word_and_the_value_asked() {
        assert_eq!(Cause::Apply.parts(), ("Apply", None));
        assert_eq!(Cause::Change.parts(), ("Change", None));
        assert_eq!(Cause::Request("v".into()).parts(), ("Request", Some("v")));
        for (kind, word) in
            [(CauseKind::Apply, "Apply"), (CauseKind::Change, "Change"), (CauseKind::Request, "Request")]
        {
            assert_eq!(serde_json::to_value(kind).unwrap(), word);
        }
    }

    #[test]
    fn a_run_reads_back_as_it_was_stored_and_history_keeps_what_tells_it_apart() {
        let stored = serde_json::json!({
            "seq": 12, "fireId": "7hq2m0v6x5t1c9", "cause": "Request", "request": "deploy", "digest": "v1:ab",
            "target": {"url": "https://gitlab.example.com", "project": "shop/checkout", "ref": "main",
                       "access": {"name": "gitlab", "key": "access"}},
            "phase": "Running", "reason": "PipelineRunning", "message": "under way",
            "attempt": {"count": 2, "last": "Accepted", "marked": true, "at": "2026-11-01T12:00:00Z", "by": "me"},
            "intendedAt": "2026-11-01T12:00:00Z", "firedAt": "2026-11-01T12:00:01Z",
            "pipeline": {"id": 700, "ref": "main", "status": "running"},
        });
        let run: Run = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(serde_json::to_value(&run).unwrap(), stored);
        let key = run.attempt_key().unwrap();
        assert_eq!((key.fire_id.as_str(), key.count), ("7hq2m0v6x5t1c9", 2));
        let kept = serde_json::json!({
            "seq": 12, "fireId": "7hq2m0v6x5t1c9", "cause": "Request", "request": "deploy", "digest": "v1:ab",
            "phase": "Running", "pipelineId": 700, "firedAt": "2026-11-01T12:00:01Z",
            "place": {"url": "https://gitlab.example.com", "project": "shop/checkout",
                      "access": {"name": "gitlab", "key": "access"}},
        });
        assert_eq!(serde_json::to_value(run.to_history()).unwrap(), kept);
        assert_eq!(Run { attempt: None, ..run }.attempt_key(), None);
    }
}
