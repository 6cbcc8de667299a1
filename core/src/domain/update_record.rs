//! Where an image update of a run stands, as status keeps it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image_update::{ImageUpdate, When};
use super::{MergeRequest, MergeRequestRecord, MergeRequestState, Phase, Reason, Via};

//                        ┌── no change ──────────────▶ UpToDate
// Pending → Committing ──┼── 201, or found by name ──▶ Committed
//    ▲          │        ├── by a merge request ─────▶ Open ──▶ Merged, Closed, Superseded
//    │          │        ├── a later pipeline wrote ─▶ Superseded
//    └─ stopped ┘        └── cannot be done ─────────▶ Refused

/// Where one image update of a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum UpdateState {
    /// Waits for its turn, or for GitLab.
    Pending,
    /// A commit may be on its way; recorded before it is sent.
    Committing,
    /// The commit is on the branch.
    Committed,
    /// It is in a merge request, which waits. The run waits no longer.
    Open,
    /// Its merge request was merged.
    Merged,
    /// Its merge request was closed, and not merged.
    Closed,
    /// The file already said so.
    UpToDate,
    /// A later pipeline wrote the same scalar.
    Superseded,
    /// It cannot be done; the message says what to change.
    Refused,
    /// Only told, for `dryRun`.
    DryRun,
    /// It was given up before anything was sent: the run was cancelled, or the entry taken out of spec.
    Canceled,
}

impl UpdateState {
    /// Whether it has no end yet.
    #[must_use]
    pub const fn is_active(self) -> bool {
        match self {
            Self::Pending | Self::Committing => true,
            Self::Committed
            | Self::Open
            | Self::Merged
            | Self::Closed
            | Self::UpToDate
            | Self::Superseded
            | Self::Refused
            | Self::DryRun
            | Self::Canceled => false,
        }
    }
}

/// Files of an update that its record names, at most.
const FILES: usize = 3;

/// What is known of one entry of `spec.imageUpdates`, in one run. Until it has begun it follows spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateRecord {
    /// The project that is written to; unset: the run's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The branch that is written to.
    pub branch: String,
    /// The files that are written to; the first 3.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// After which ends of the pipeline it is made.
    #[serde(default, skip_serializing_if = "is_default")]
    pub when: When,
    /// How it is written.
    #[serde(default, skip_serializing_if = "is_default")]
    pub via: Via,
    /// Where it stands.
    pub state: UpdateState,
    /// Why it waits, where something is missing or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Why it stands there, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The commit that wrote it, on the branch or on the merge request's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The merge request that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_request: Option<MergeRequestRecord>,
    /// With dryRun: what would be written, a line for each value; at most 2 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// Since when a commit of it may be on its way, as recorded by the process that sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The operator process that recorded that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Since when one of an earlier process may be on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl UpdateRecord {
    /// Nothing of it has begun.
    #[must_use]
    pub fn of(update: &ImageUpdate) -> Self {
        let mut files: Vec<String> = Vec::new();
        for file in update.edits.iter().map(|edit| edit.file.to_string()) {
            if files.len() < FILES && !files.contains(&file) {
                files.push(file);
            }
        }
        Self {
            project: update.project.as_ref().map(ToString::to_string),
            branch: update.branch.to_string(),
            files,
            when: update.when,
            via: if update.merge_request.is_some() { Via::MergeRequest } else { Via::Commit },
            state: UpdateState::Pending,
            reason: None,
            message: None,
            commit: None,
            merge_request: None,
            diff: None,
            at: None,
            by: None,
            since: None,
        }
    }

    /// Whether it concerns a run whose pipeline ended so.
    #[must_use]
    pub fn is_due(&self, phase: Phase) -> bool {
        self.state != UpdateState::Pending || phase == Phase::Succeeded || self.when == When::Always
    }

    /// It ends, or goes back to its beginning.
    pub fn settle(&mut self, state: UpdateState, message: Option<String>) {
        (self.state, self.message, self.reason) = (state, message, None);
        (self.at, self.by, self.since) = (None, None, None);
    }

    /// Its merge request was seen.
    pub fn see(&mut self, request: &MergeRequest) {
        let (state, message) = match request.state {
            MergeRequestState::Opened => (UpdateState::Open, Some(request.waits_for())),
            MergeRequestState::Merged => (UpdateState::Merged, None),
            MergeRequestState::Closed => {
                (UpdateState::Closed, Some("it was closed and not merged".to_owned()))
            }
        };
        self.settle(state, message);
        if let Some(record) = &mut self.merge_request {
            record.merge_commit.clone_from(&request.merged_as);
        }
    }

    /// The merge request that it waits for.
    #[must_use]
    pub fn open_request(&self) -> Option<&MergeRequestRecord> {
        self.merge_request.as_ref().filter(|_| self.state == UpdateState::Open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_waited_for_until_it_has_an_end() {
        assert!(UpdateState::Pending.is_active() && UpdateState::Committing.is_active());
        assert!(!UpdateState::Committed.is_active() && !UpdateState::Canceled.is_active());
    }
}
