//! The reasons that stand in conditions: one table, printed into the documentation.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($name:ident: $meaning:literal,)+) => {
        /// Why an object or a run stands where it does, as one word for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Reason {
            $(#[doc = $meaning] $name,)+
            /// Written by a newer operator.
            #[serde(other)]
            Other,
        }

        impl Reason {
            /// Every reason with its meaning, in the order of the documentation.
            pub const ALL: &[(Self, &str)] = &[$((Self::$name, $meaning),)+];

            /// The word as it stands in a condition.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                    Self::Other => "Other",
                }
            }
        }
    };
}

reasons! {
    InternalError: "The operator met a bug while working on this object and goes on with the others. Please report it.",
    NothingAsked: "No cause to fire yet: the first sight was the baseline, or `fireOn` is Request.",
    Waiting: "A cause to fire waits for its turn.",
    Sending: "The intent is recorded and the request is on its way to GitLab.",
    OutcomeUnknown: "A request was sent, or may have been, and its outcome is not known. It is never simply sent again.",
    PipelineCreated: "GitLab created the pipeline.",
    PipelineRunning: "The pipeline exists and is being followed.",
    PipelineFound: "The reply to the request was lost; its pipeline was found by the run's name.",
    DuplicatePipeline: "Two pipelines carry the name of one run: the protocol was broken. Please report it.",
    SentTwice: "The run was sent again without proof that its first request made nothing, as `onUnknown: Refire` or `pipekick.dev/resolve` wanted, and it has more than one pipeline now.",
    NotAdopted: "The pipeline that `pipekick.dev/resolve` named is another one's, does not exist, or could not be looked at; the message says which.",
    PipelineManual: "The pipeline waits for a person to play a manual job.",
    PipelineSucceeded: "The pipeline succeeded.",
    PipelineFailed: "The pipeline failed; the message names the job and GitLab's reason.",
    PipelineRetrying: "Failed jobs of the pipeline are started again, as `retry` in spec or the annotation `pipekick.dev/retry` asks.",
    PipelineRunsAgain: "The pipeline had ended and somebody started jobs of it again in GitLab: it is followed again.",
    RetryRefused: "GitLab does not start the failed jobs again; the message says why.",
    NameRefused: "GitLab does not let the access token name the pipeline. The run goes on without the name of `spec.name`.",
    PipelineNotDeleted: "The pipeline of a run that left the history could not be deleted in GitLab, and is no longer tried; the message says why.",
    PipelineFailedAtBirth: "GitLab stored a pipeline that failed before any job ran, for example for invalid YAML.",
    PipelineCanceled: "The pipeline was cancelled; the message says who asked for it.",
    Canceled: "The run was cancelled before it had a pipeline; nothing is sent for it any more.",
    CancelRequested: "The pipeline is being cancelled; the message says who asked for it.",
    CancelRefused: "GitLab does not let the access token cancel the pipeline; the message says why. It is asked again every 10 minutes.",
    ReplaceBlocked: "A newer cause waits (`concurrencyPolicy: Replace`), and the pipeline under way cannot be cancelled, or does not end; the message says which.",
    LeftRunning: "An object with `deletionPolicy: Cancel` was deleted, and its pipeline could not be cancelled; the message says why. The deletion went on.",
    PipelineSkipped: "GitLab skipped the pipeline.",
    PipelineGone: "The pipeline, or its project, can no longer be found in GitLab.",
    NotFollowed: "The pipeline was created; without an access token its end is not known.",
    CannotFollow: "The pipeline exists, but its state cannot be read; the message says why. Looking goes on.",
    TimedOut: "The run took longer than `timeout`.",
    UpdatingImages: "The pipeline has ended and `imageUpdates` are being made; the message says how far they are.",
    ImagesUpdated: "An image update is done, or all of a run are; the message says what was written, or why nothing had to be.",
    UpdateRefused: "An image update cannot be made; the message names file and line where it can, and says what to do. `pipekick.dev/retry` tries it again.",
    UpdateDelayed: "An image update could not be made just now; the message says why. It is tried again.",
    MergeRequestOpen: "An image update is in a merge request that waits; the message names it and says what for. The run waits no longer.",
    MergeRequestClosed: "The merge request of an image update was closed and not merged. The next run opens another.",
    UpdateCanceled: "An image update was given up before anything was written; the message says why. `pipekick.dev/retry` tries it again.",
    Superseded: "The firing fields changed before the request could be sent; the change is fired instead.",
    Undecided: "Held: nobody can tell whether the lost request made a pipeline. Free it with `pipekick.dev/resolve`.",
    Abandoned: "A person gave the run up with `pipekick.dev/resolve`.",
    FirstSight: "Held by the operator's `--first-sight=Hold`: annotate `pipekick.dev/fire` to fire it.",
    Suspended: "`spec.suspend` is true: nothing is fired.",
    Paused: "The operator runs with `--pause`: nothing is fired.",
    InvalidSpec: "The spec cannot be fired; the message says what to write instead.",
    SecretMissing: "A Secret, or a key in it, does not exist yet. It is looked for again within a minute.",
    SecretNotLabelled: "The Secret lacks the label for this use: `pipekick.dev/credential: \"true\"`, or `pipekick.dev/variables: \"true\"` for values of variables.",
    SecretNotForThisUrl: "The Secret is bound to another GitLab by `pipekick.dev/gitlab-url`, or to the operator's own.",
    SecretNotForThisProject: "The Secret's annotation `pipekick.dev/projects` does not list the project.",
    SecretUnreadable: "The Kubernetes API did not let the operator read the Secret; the message says why.",
    SecretUnusable: "The Secret's value cannot be a token: empty, not text, or too long.",
    ValueMissing: "What a variable's `valueFrom` names does not exist yet. It is looked for again within a minute.",
    ValueUnreadable: "The Kubernetes API did not let the operator read what a variable's `valueFrom` names; the message says why.",
    ValueUnusable: "A value cannot be sent: it is not text, or too long.",
    CaBundleMissing: "What `gitlab.caBundleRef` names does not exist yet. It is looked for again within a minute.",
    CaBundleUnreadable: "The Kubernetes API did not let the operator read what `gitlab.caBundleRef` names; the message says why.",
    CaBundleUnusable: "What `gitlab.caBundleRef` names holds no certificates in PEM.",
    GitLabTooOld: "This GitLab is too old for what the trigger asks; the message says which version it takes. Nothing was sent.",
    PlainHttpRefused: "The GitLab URL is http and the operator was started without `--allow-http`.",
    Unreachable: "GitLab could not be reached: DNS, connection or TLS. Nothing was sent.",
    RateLimited: "GitLab's rate limit is used up; `status.run.attempt.nextAt` says when a run that waits is sent.",
    ReadOnly: "GitLab is read-only for maintenance.",
    NotFoundByTrigger: "GitLab answered 404 to the trigger token: the token is unknown, or belongs to another project, or the project does not exist. GitLab does not say which.",
    TriggerTokenUnknown: "GitLab answered 404 to the trigger token, and the access token sees the project: the trigger token is mistyped, revoked, expired, or of another project.",
    ProjectNotFound: "The project does not exist, or the token may not see it.",
    Unauthorized: "GitLab does not accept the token: unknown, expired or revoked.",
    InsufficientScope: "The token lacks a scope; firing needs `api`, following `read_api`.",
    Forbidden: "The token's user may not do this in the project.",
    RefNotFound: "GitLab knows no branch or tag of this name.",
    RefProtected: "The ref is protected against the user that the token acts for.",
    VariablesRefused: "The project does not let this user set pipeline variables.",
    InputsRefused: "`spec.inputs` does not fit what the CI configuration declares as its `spec:inputs`; the message names the input.",
    NoJobs: "By its rules the pipeline would have no jobs: GitLab created none.",
    NoCiConfig: "The project has no CI configuration on this ref.",
    Scheduled: "The schedule is in order; the message names its next tick.",
    ChildCreated: "A tick of the schedule, or a request, made a PipelineTrigger.",
    TicksMissed: "Ticks of the schedule passed and did not fire; they are counted in `status.missed` and told once.",
    AlreadyRun: "A value of `pipekick.dev/fire` on a schedule came back: its child ran before, and nothing runs twice for one value while its child is still there. Write a value that was not used yet.",
    StillActive: "A tick was dropped: an earlier run of the schedule is active and `concurrencyPolicy` is Forbid.",
    TickQueued: "A tick waits until the active run of the schedule has ended.",
    RunReplaced: "The active run is being cancelled in favour of a newer tick.",
    NameTaken: "The name of a tick's PipelineTrigger belongs to something else, which is left alone.",
    NameNotFree: "The name of a tick's PipelineTrigger still belongs to an earlier schedule of the same name.",
    ChildRefused: "The Kubernetes API refused to create a tick's PipelineTrigger; the message quotes it. Told once when it begins; it is tried again every minute, and at once when spec is edited.",
    ClusterIdUnknown: "Without `--cluster-id` the mark of a schedule in GitLab needs the uid of namespace kube-system, and the operator could not read it; the message says why.",
    CannotKeep: "The pipeline schedule in GitLab cannot be looked at or changed just now; the message says why. It is tried again.",
    CreatedInGitLab: "A pipeline schedule was created in GitLab (`runBy: GitLab`).",
    AdoptedInGitLab: "A pipeline schedule with the object's mark was found in GitLab and taken on: its create's reply was lost, or the object was made anew.",
    UpdatedInGitLab: "The pipeline schedule in GitLab was brought up to date with spec; the message says what differed.",
    DriftRepaired: "Somebody changed the pipeline schedule in GitLab, and it was set right; the message says what differed.",
    NotAsWritten: "GitLab took what was sent and shows something else; the message says what. It is tried again every 10 minutes.",
    DeactivatedByGitLab: "GitLab switched the pipeline schedule off when it was due, since its owner may not run it any more. Activating it there, or an edit of spec, tries again.",
    NoPipelineMade: "GitLab's worker came by for a pipeline schedule and made no pipeline. GitLab says why in its log alone.",
    LeftInGitLab: "A pipeline schedule that is not wanted any more could not be deleted in GitLab; the message says why. It may run on.",
    Refused: "GitLab refused for another reason; the message quotes it.",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl JsonSchema for Reason {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Reason".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // Not an enum: after a downgrade, what a newer operator wrote must still be storable.
        schemars::json_schema!({"type": "string"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_word_everywhere_and_explained() {
        for (reason, meaning) in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
            assert_eq!(reason.to_string(), reason.as_str());
            assert!(meaning.ends_with('.'), "{reason}: {meaning}");
        }
    }

    #[test]
    fn a_reason_of_a_newer_operator_can_be_read() {
        assert_eq!(serde_json::from_str::<Reason>("\"BrandNew\"").unwrap(), Reason::Other);
    }
}
