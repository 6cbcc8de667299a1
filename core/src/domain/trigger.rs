//! A `PipelineTrigger` as the decision sees it: parsed once, at the border.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    CaBundleRef, FiringFields, GitLabUrl, GitRef, ImageUpdate, Output, ProjectRef, SecretKeyRef, Span,
    TriggerStatus, Variable,
};

/// Namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What fires by itself. Apply (when unset): the first sight of this object, and every change of a firing
/// field. Change: changes only; the first sight is the baseline. Request: nothing. Asking with the annotation
/// pipekick.dev/fire works in every mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FireOn {
    /// The first sight of the object, and every change of a firing field.
    #[default]
    Apply,
    /// Every change of a firing field after the first sight.
    Change,
    /// Nothing.
    Request,
}

/// What to do when a request was sent, its reply was lost, and nobody can tell whether it made a pipeline. Hold (when
/// unset): wait for a person, so that there is at most one pipeline; the annotation pipekick.dev/resolve frees it.
/// Refire: send it again, so that there is at least one. With an access token that may read the project's pipelines and
/// their variables it is looked up, and this rarely matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnUnknown {
    /// Wait for a person: at most one pipeline.
    #[default]
    Hold,
    /// Send it again: at least one pipeline.
    Refire,
}

/// What to do with a new cause (a change of a firing field, or a request) while a run is under way. Wait (when unset):
/// it is fired when that run has ended. Replace: that run's pipeline is cancelled, and the new cause is fired once it has
/// ended; needs gitlab.accessTokenRef. Either way causes that wait collapse into the newest (status.waiting), and a run
/// whose outcome is unknown is waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    /// It waits for the end of the run.
    #[default]
    Wait,
    /// The run is cancelled for it.
    Replace,
}

/// What becomes of a pipeline under way when this object is deleted. Orphan (when unset): it goes on in GitLab. Cancel:
/// it is cancelled; the finalizer pipekick.dev/cancel-pipeline holds the object until GitLab has taken the request, at most
/// for the operator's --cancel-patience (5m), or about a minute where the Secret is gone too; an Event tells what may go
/// on. Needs gitlab.accessTokenRef.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It goes on.
    #[default]
    Orphan,
    /// It is cancelled.
    Cancel,
}

/// How failed jobs are started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often in one run.
    pub limit: u32,
    /// Before the first time; it doubles with each.
    pub backoff: Span,
}

/// A spec with nothing left to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The GitLab instance; the operator's default already filled in.
    pub url: GitLabUrl,
    /// The project.
    pub project: ProjectRef,
    /// The branch or tag.
    pub git_ref: GitRef,
    /// The trigger token, if one is named.
    pub trigger_token: Option<SecretKeyRef>,
    /// The access token, if one is named. At least one of the two is.
    pub access_token: Option<SecretKeyRef>,
    /// Whose certificates are believed; the system's CAs without one.
    pub ca_bundle: Option<CaBundleRef>,
    /// Variables in the order of their names.
    pub variables: Vec<Variable>,
    /// What a new cause does to a run under way.
    pub concurrency_policy: ConcurrencyPolicy,
    /// What becomes of its pipeline when the object is deleted.
    pub deletion_policy: DeletionPolicy,
    /// Inputs of the pipeline, by name.
    pub inputs: BTreeMap<String, Value>,
    /// What jobs find under `.payload` of `TRIGGER_PAYLOAD`; only with a trigger token.
    pub payload: Option<Value>,
    /// How long a run may be active, from `firedAt`.
    pub timeout: Option<Span>,
    /// Whether a run that takes longer has its pipeline cancelled.
    pub cancel_on_timeout: bool,
    /// How many earlier runs are kept.
    pub history_limit: usize,
    /// What to do when nothing can be looked up.
    pub on_unknown: OnUnknown,
    /// Whether and how failed jobs are started again.
    pub retry: Option<RetryPolicy>,
    /// The name each pipeline is given.
    pub name: Option<String>,
    /// Whether the pipeline of a run that leaves the history is deleted in GitLab.
    pub history_deletes_pipelines: bool,
    /// How long after the end of its run the object deletes itself.
    pub ttl_after_finished: Option<Span>,
    /// What is read from jobs' artifacts for image updates.
    pub outputs: Vec<Output>,
    /// What is written into repositories when the pipeline has ended.
    pub image_updates: Vec<ImageUpdate>,
}

/// A spec that cannot be fired, in a sentence that says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecProblem(pub String);

/// Everything of one object that a decision needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// Namespace and name.
    pub key: ObjectKey,
    /// The object's uid: a re-created object is another one.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// Since when it is being deleted, by the API server's clock.
    pub deleted_at: Option<Timestamp>,
    /// Its finalizers.
    pub finalizers: Vec<String>,
    /// Whether `metadata.generateName` made its name: nobody applies it again under that name.
    pub generated: bool,
    /// The value of `pipekick.dev/fire`.
    pub fire: Option<String>,
    /// The value of `pipekick.dev/resolve`.
    pub resolve: Option<String>,
    /// The value of `pipekick.dev/cancel`.
    pub cancel: Option<String>,
    /// The value of `pipekick.dev/retry`.
    pub retry: Option<String>,
    /// What fires it; known even where the rest of spec cannot be fired.
    pub fire_on: FireOn,
    /// Whether it is suspended.
    pub suspend: bool,
    /// The firing fields as written.
    pub firing: FiringFields,
    /// The parsed spec, or what is wrong with it.
    pub spec: Result<Spec, SpecProblem>,
    /// The status that was read with the object.
    pub status: TriggerStatus,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unset_means_apply_and_hold() {
        assert_eq!((FireOn::default(), OnUnknown::default()), (FireOn::Apply, OnUnknown::Hold));
    }

    #[test]
    fn a_key_reads_namespace_and_name() {
        let key = ObjectKey { namespace: "shop".into(), name: "checkout".into() };
        assert_eq!(key.to_string(), "shop/checkout");
    }
}
