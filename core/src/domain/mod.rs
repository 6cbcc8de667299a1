//! Values: what a word of the API means once it has been parsed. A file is one noun.

pub mod answer;
pub mod author;
pub mod binding;
pub mod digest;
pub mod duration;
pub mod fire_id;
pub mod git_ref;
pub mod gitlab_url;
pub mod gitlab_version;
pub mod image;
pub mod image_update;
pub mod merge_request;
pub mod output;
pub mod pipeline;
pub mod project;
pub mod reason;
pub mod repo_path;
pub mod run;
pub mod schedule;
pub mod shared_title;
pub mod size;
pub mod status;
pub mod template;
pub mod trace;
pub mod trailers;
pub mod trigger;
pub mod update_record;
pub mod value_source;
pub mod variable;

pub use answer::{Answer, Cancelled, Changed, Finding, Lookup, Named, Sighting};
pub use author::{Author, AuthorError};
pub use binding::{CredentialUse, Purpose, SecretBinding};
pub use digest::{Digest, FiringFields};
pub use duration::Span;
pub use fire_id::FireId;
pub use git_ref::GitRef;
pub use gitlab_url::GitLabUrl;
pub use gitlab_version::GitLabVersion;
pub use image::{ImageDigest, ImageError, ImageName, ImageRef, ImageTag};
pub use image_update::ImageUpdate;
pub use merge_request::{
    Label, MergeRequest, MergeRequestFields, MergeRequestRecord, MergeRequestState, MergeRequestTemplate,
    Proposal, Username, Via,
};
pub use output::{Output, OutputError, OutputName, Pick};
pub use pipeline::{FailedJob, Pipeline, PipelineStatus, Report, Tests, YamlErrors};
pub use project::ProjectRef;
pub use reason::Reason;
pub use repo_path::{RepoPath, RepoPathError};
pub use run::{
    Access, Attempt, AttemptKey, BundleKind, CaBundleRef, Cause, LastAttempt, Retry, RetryKey, RetryState,
    Run, SecretKeyRef, Stretch, Target,
};
pub use schedule::{Schedule, ScheduleSpec, ScheduleStatus};
pub use shared_title::SharedTitle;
pub use status::{Condition, Deletion, Phase, TriggerStatus};
pub use template::{Context, Template, TemplateError};
pub use trace::{RunTrace, TraceParent};
pub use trigger::{
    ConcurrencyPolicy, DeletionPolicy, FireOn, ObjectKey, OnUnknown, RetryPolicy, Spec, SpecProblem, Trigger,
};
pub use update_record::{UpdateRecord, UpdateState};
pub use value_source::{FieldPath, Fields, ValueSource};
pub use variable::{Variable, VariableName, VariableType, VariableValue};
