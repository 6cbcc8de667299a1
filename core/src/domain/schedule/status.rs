//! The status of a `PipelineSchedule`: facts that a restart must know, and their summary.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::PipelineStatus;
use crate::domain::run::Place;
use crate::domain::status::{Condition, Handled};

/// A child whose run is active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActiveChild {
    /// Name of the PipelineTrigger.
    pub name: String,
    /// Its uid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// Ticks that did not fire: too late, dropped by concurrencyPolicy or missedRuns, or their name was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Missed {
    /// How many since the object was created. Of one stretch of downtime at most 1000 are counted.
    pub count: u64,
    /// The newest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
}

impl Missed {
    fn is_zero(&self) -> bool {
        let Self { count, last } = self;
        *count == 0 && last.is_none()
    }
}

/// The annotation values that were answered, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleHandled {
    /// The newest value of the annotation pipekick.dev/fire that was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fire: Option<Handled>,
    /// What is known of the children that such values made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
}

impl ScheduleHandled {
    fn is_empty(&self) -> bool {
        let Self { fire, asked } = self;
        fire.is_none() && asked.is_none()
    }
}

/// The children that values of pipekick.dev/fire made, as far as they were told: a value that comes back tells its
/// child no second time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Asked {
    /// Name of the one that was told last.
    pub child: String,
    /// When the youngest of them was created.
    pub created: Timestamp,
}

/// A create that was sent, or may have been, and of which nothing is known yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Creating {
    /// When it was recorded, before it was sent.
    pub at: Timestamp,
    /// Which operator process recorded it.
    pub by: String,
}

/// The newest pipeline of a schedule in GitLab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastPipeline {
    /// GitLab's id of the pipeline.
    pub id: u64,
    /// Its status when it was last looked at.
    pub status: PipelineStatus,
    /// Its page in GitLab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_url: Option<String>,
    /// When GitLab made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
}

/// What was found changed in GitLab and set right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drift {
    /// When it was set right.
    pub time: Timestamp,
    /// What differed. Values of variables are not told.
    pub message: String,
}

/// The pipeline schedule in GitLab that is kept equal to spec (runBy: GitLab).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InGitLab {
    /// Where it is.
    pub place: Place,
    /// The uid of the object that it was made for: what a backup brings back into another object does not count.
    pub uid: String,
    /// GitLab's id of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_id: Option<u64>,
    /// Its page in GitLab, where spec names the project by its path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_url: Option<String>,
    /// As whom it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Whether GitLab runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// A create of which nothing is known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creating: Option<Creating>,
    /// The generation of spec that it was last seen equal to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equal_at: Option<i64>,
    /// The newest pipeline it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_pipeline: Option<LastPipeline>,
    /// What was last found changed in GitLab and set right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_drift: Option<Drift>,
    /// Since when it is known that GitLab switched it off. An edit of spec tries again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deactivated_at: Option<Timestamp>,
    /// Since when it is to be deleted there, because spec names another project now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving_since: Option<Timestamp>,
}

/// What Pipekick knows and did. Written by the operator alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleStatus {
    /// The generation of spec that this status speaks of; -1 until the operator has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the schedule stands, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The schedules as they are followed, every H resolved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolved_schedules: Vec<String>,
    /// Digest of schedules, zone, dst and suspend as they were decided on last: a difference is an edit or a resume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_clock: Option<String>,
    /// The newest tick that was dealt with, whether it fired or not. No tick up to it fires again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_tick: Option<Timestamp>,
    /// The last time schedule, zone, dst or suspend were changed. No tick up to it fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The tick that waits for an active run to end (concurrencyPolicy Queue and Replace).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_tick: Option<Timestamp>,
    /// Since when it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_since: Option<Timestamp>,
    /// The children whose runs are active.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub active: Vec<ActiveChild>,
    /// How many they are; unset where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub active_count: Option<u32>,
    /// The last tick that made a child. With runBy: GitLab, when GitLab made the last pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Timestamp>,
    /// When a child last succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_successful_time: Option<Timestamp>,
    /// When the next tick fires, its jitter included; unset while suspended. With runBy: GitLab, when GitLab's worker will
    /// pick the schedule up: some minutes after its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Timestamp>,
    /// Ticks that did not fire.
    #[serde(default, skip_serializing_if = "Missed::is_zero")]
    pub missed: Missed,
    /// Annotation values that were answered, and how.
    #[serde(default, skip_serializing_if = "ScheduleHandled::is_empty")]
    pub last_handled: ScheduleHandled,
    /// The pipeline schedule in GitLab (runBy: GitLab).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gitlab: Option<InGitLab>,
    /// Ready, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_untouched_status_reads_and_writes_as_little_as_the_schema_gives() {
        let fresh: ScheduleStatus = serde_json::from_str("{\"observedGeneration\": -1}").unwrap();
        assert_eq!(serde_json::to_value(&fresh).unwrap(), serde_json::json!({"observedGeneration": -1}));
        assert_eq!(serde_json::to_value(ScheduleStatus::default()).unwrap(), serde_json::json!({}));
    }

    #[test]
    fn what_was_answered_before_children_were_kept_beside_it_is_read_and_written_as_it_was() {
        let old = serde_json::json!({"lastHandled": {"fire": {"value": "now", "answer": "Fired"}}});
        let status: ScheduleStatus = serde_json::from_value(old.clone()).unwrap();
        assert_eq!(status.last_handled.asked, None);
        assert_eq!(serde_json::to_value(&status).unwrap(), old);
    }
}
