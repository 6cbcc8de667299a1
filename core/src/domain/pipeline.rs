//! A GitLab pipeline as far as a run tells of it.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// GitLab's pipeline status. `Other` is one that a newer GitLab may add; it is treated as still running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PipelineStatus {
    /// Just made, nothing was processed yet.
    Created,
    /// Waits for a resource group.
    WaitingForResource,
    /// Its environment is being prepared.
    Preparing,
    /// Waits for an external callback.
    WaitingForCallback,
    /// Jobs wait for a runner.
    Pending,
    /// At least one job runs.
    Running,
    /// Every job that may not fail succeeded.
    Success,
    /// A job failed, or the pipeline could not be made.
    Failed,
    /// Jobs are being stopped; `Canceled` follows.
    Canceling,
    /// It was cancelled.
    Canceled,
    /// Nothing had to run.
    Skipped,
    /// Blocked: a person must play a job.
    Manual,
    /// Blocked: a delayed job waits for its time.
    Scheduled,
    /// Not known to this build.
    Other(String),
}

impl PipelineStatus {
    /// From GitLab's word for it.
    #[must_use]
    pub fn from_gitlab(text: &str) -> Self {
        match text {
            "created" => Self::Created,
            "waiting_for_resource" => Self::WaitingForResource,
            "preparing" => Self::Preparing,
            "waiting_for_callback" => Self::WaitingForCallback,
            "pending" => Self::Pending,
            "running" => Self::Running,
            "success" => Self::Success,
            "failed" => Self::Failed,
            "canceling" => Self::Canceling,
            "canceled" => Self::Canceled,
            "skipped" => Self::Skipped,
            "manual" => Self::Manual,
            "scheduled" => Self::Scheduled,
            other => Self::Other(other.chars().take(64).collect()),
        }
    }

    /// GitLab's word for it.
    #[must_use]
    pub fn as_str(&self) -> &str {
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
            Self::Other(text) => text,
        }
    }

    /// Whether GitLab calls it complete. A complete pipeline can still be run again by a person.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Canceled | Self::Skipped)
    }
}

impl fmt::Display for PipelineStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for PipelineStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for PipelineStatus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::from_gitlab(&text))
    }
}

impl JsonSchema for PipelineStatus {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PipelineStatus".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // Not an enum: a status that a newer GitLab adds must still be storable.
        schemars::json_schema!({"type": "string"})
    }
}

/// The GitLab pipeline of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pipeline {
    /// GitLab's id of the pipeline, unique in the GitLab instance.
    pub id: u64,
    /// Its number within the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iid: Option<u64>,
    /// The project's numeric id; it stays when the project is renamed or moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<u64>,
    /// The branch or tag it runs on, as GitLab stores it.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub git_ref: Option<String>,
    /// The commit it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha: Option<String>,
    /// GitLab's status when the run's phase last changed; it is not updated at every step on the way.
    pub status: PipelineStatus,
    /// What made it, in GitLab's words: `trigger` or `api`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Its page in GitLab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_url: Option<String>,
    /// When GitLab made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When its first job started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// How long it ran, in seconds, as GitLab counts it (waiting is left out).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<u64>,
    /// Its name in GitLab, set by `workflow:name` or by `spec.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How much of the code its tests cover, in percent, as GitLab tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<String>,
    /// When GitLab last changed it. Only for comparing looks; it is not stored.
    #[serde(skip)]
    pub updated_at: Option<Timestamp>,
    /// Why GitLab could not make jobs of the CI configuration. It becomes a message, and is not stored beside it.
    #[serde(skip)]
    pub yaml_errors: Option<YamlErrors>,
}

/// Why GitLab could not make jobs of a CI configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum YamlErrors {
    /// In its words, without the values that were sent.
    Told(String),
    /// There are words, which may quote the value of a Secret.
    Untold,
}

/// A failed job of a failed pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedJob {
    /// GitLab's id of the job; a retry gives it another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The job's name in `.gitlab-ci.yml`.
    pub name: String,
    /// Its stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Why it failed, in GitLab's words, such as `script_failure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// Its page, with the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_url: Option<String>,
}

/// The test reports of a pipeline, summed up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tests {
    /// All test cases.
    pub total: u64,
    /// Those that passed.
    pub success: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that were skipped.
    pub skipped: u64,
    /// Those that could not be run.
    pub error: u64,
}

/// What a pipeline has to show beside itself, at its end or where it waits for a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// At most 5, newest first; empty unless the pipeline failed.
    pub failed_jobs: Vec<FailedJob>,
    /// Names of the jobs that wait for a person; empty unless the pipeline is blocked by them.
    pub manual_jobs: Vec<String>,
    /// Its test reports; `None` where it has none, or they may not be read.
    pub tests: Option<Tests>,
    /// Ids of the pipelines that its trigger jobs started, at most 20, oldest first.
    pub downstream: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_keeps_its_word_and_unknown_ones_are_kept_too() {
        let words = "created waiting_for_resource preparing waiting_for_callback pending running success failed \
                     canceling canceled skipped manual scheduled brand_new";
        for word in words.split_whitespace() {
            assert_eq!(PipelineStatus::from_gitlab(word).as_str(), word);
        }
        assert!(!PipelineStatus::from_gitlab("brand_new").is_complete());
        assert!(!PipelineStatus::Manual.is_complete() && !PipelineStatus::Canceling.is_complete());
    }
}
