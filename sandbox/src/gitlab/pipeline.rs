//! A pipeline and its jobs, as stored. What time does to them is in `progress.rs`, what the API shows in `entity.rs`.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::script::{JobPlay, Play};

/// The thirteen statuses of pipelines; jobs use a part of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Created,
    WaitingForResource,
    Preparing,
    WaitingForCallback,
    Pending,
    Running,
    Success,
    Failed,
    Canceling,
    Canceled,
    Skipped,
    Manual,
    Scheduled,
}

impl Status {
    pub const ALL: [Self; 13] = [
        Self::Created,
        Self::WaitingForResource,
        Self::Preparing,
        Self::WaitingForCallback,
        Self::Pending,
        Self::Running,
        Self::Success,
        Self::Failed,
        Self::Canceling,
        Self::Canceled,
        Self::Skipped,
        Self::Manual,
        Self::Scheduled,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::WaitingForResource => "waiting_for_resource",
            Self::Preparing => "preparing",
            Self::WaitingForCallback => "waiting_for_callback",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Canceling => "canceling",
            Self::Canceled => "canceled",
            Self::Skipped => "skipped",
            Self::Manual => "manual",
            Self::Scheduled => "scheduled",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Complete, until a retry.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Canceled | Self::Skipped)
    }

    pub(crate) fn is_cancelable(self) -> bool {
        match self {
            Self::Created
            | Self::Preparing
            | Self::Pending
            | Self::Running
            | Self::WaitingForCallback
            | Self::WaitingForResource
            | Self::Scheduled => true,
            Self::Success
            | Self::Failed
            | Self::Canceling
            | Self::Canceled
            | Self::Skipped
            | Self::Manual => false,
        }
    }
}

/// Who or what asked for a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Push,
    Web,
    Trigger,
    Schedule,
    Api,
    External,
    Pipeline,
    Chat,
    Webide,
    MergeRequestEvent,
    ExternalPullRequestEvent,
    ParentPipeline,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Web => "web",
            Self::Trigger => "trigger",
            Self::Schedule => "schedule",
            Self::Api => "api",
            Self::External => "external",
            Self::Pipeline => "pipeline",
            Self::Chat => "chat",
            Self::Webide => "webide",
            Self::MergeRequestEvent => "merge_request_event",
            Self::ExternalPullRequestEvent => "external_pull_request_event",
            Self::ParentPipeline => "parent_pipeline",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Push,
            Self::Web,
            Self::Trigger,
            Self::Schedule,
            Self::Api,
            Self::External,
            Self::Pipeline,
            Self::Chat,
            Self::Webide,
            Self::MergeRequestEvent,
            Self::ExternalPullRequestEvent,
            Self::ParentPipeline,
        ]
        .into_iter()
        .find(|source| source.as_str() == text)
    }
}

/// How a job gets a variable: as itself, or as the path of a file that holds it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VariableType {
    #[default]
    EnvVar,
    File,
}

/// A variable of one pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variable {
    pub variable_type: VariableType,
    pub key: String,
    pub value: String,
    pub raw: bool,
}

impl Variable {
    pub(crate) fn new(variable_type: VariableType, key: &str, value: String) -> Self {
        Self { variable_type, key: key.to_owned(), value, raw: false }
    }
}

#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) id: u64,
    pub(crate) iid: u64,
    pub(crate) sha: String,
    pub(crate) git_ref: String,
    pub(crate) tag: bool,
    pub(crate) source: Source,
    pub(crate) user: u64,
    pub(crate) name: Option<String>,
    pub(crate) yaml_errors: Option<String>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) status: Status,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    /// The schedule that made it; none when that is deleted.
    pub(crate) schedule: Option<u64>,
    /// How many pipelines stand above it.
    pub(crate) depth: u8,
    pub(crate) play: Arc<Play>,
    pub(crate) phase: Phase,
    pub(crate) jobs: Vec<Job>,
}

/// Where a pipeline stands in its play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Holds the `step`-th opening status until then.
    Opening { step: usize, until: Timestamp },
    /// Its jobs decide.
    Jobs,
    /// Nothing will move it: it was born failed, or seeded as it is.
    Still,
}

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: u64,
    /// Index into the play's jobs.
    pub(crate) part: usize,
    pub(crate) attempt: usize,
    /// A later attempt took its place.
    pub(crate) retried: bool,
    pub(crate) status: Status,
    pub(crate) created_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    /// When a running or canceling job ends; none if it never does by itself.
    pub(crate) ends: Option<Timestamp>,
    /// Only a bridge's.
    pub(crate) downstream: Downstream,
}

/// What a bridge has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Downstream {
    NotYet,
    Made {
        project: u64,
        pipeline: u64,
    },
    /// The creation chain said no.
    Refused,
}

impl Pipeline {
    pub(crate) fn part(&self, job: &Job) -> &JobPlay {
        &self.play.jobs[job.part]
    }

    /// What the job left behind; none if it left nothing or did not succeed.
    pub(crate) fn artifacts(&self, job: &Job) -> Option<&BTreeMap<String, String>> {
        let left = &self.part(job).artifacts;
        (job.status == Status::Success && !left.is_empty()).then_some(left)
    }

    pub(crate) fn is_bridge(&self, job: &Job) -> bool {
        self.part(job).triggers.is_some()
    }

    /// Seconds in which a job of it ran, once it has ended; the time between jobs does not count.
    pub(crate) fn duration(&self) -> Option<i64> {
        let whole = self.started_at.zip(self.finished_at)?;
        let latest = self.jobs.iter().filter(|job| !job.retried);
        let mut spans: Vec<_> = latest.filter_map(|job| job.started_at.zip(job.finished_at)).collect();
        if spans.is_empty() {
            return Some(whole.1.duration_since(whole.0).as_secs());
        }
        spans.sort_unstable();
        let mut ran = SignedDuration::ZERO;
        let mut counted = spans[0].0;
        for (start, end) in spans {
            let new = start.max(counted);
            if end > new {
                ran += end.duration_since(new);
                counted = end;
            }
        }
        Some(ran.as_secs())
    }
}
